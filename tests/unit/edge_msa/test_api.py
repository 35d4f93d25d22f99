from __future__ import annotations

import inspect
import logging
import pkgutil
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_msa as em
from edge_msa.console import print_progress, report_progress
from edge_msa.workflows.api import api, called_by_command, in_python_terms, next_step
from tests.unit.edge_msa.toy_runs import SMALL, write_dataset, write_teacher

FUNCTIONS = sorted(name for name in em.__all__ if name.islower() and name not in {"errors", "__version__"})
PUBLIC = """
BackendUnavailableError Benchmark DataError EdgeMsaError Evaluation ExplanationPage ExportedBundle ExportedPrograms
Extraction FailedSegment FittedCascade GateFailedError GraphInspection Inspection LayerProfile LiveMeasurement
ModelBenchmark PeerBenchmark Pipeline PipelineResult Predictions PretrainedCard PretrainedModels Progress
RecognizerBenchmark ReportComparison ReportPage ReportReplay ReproductionResult Run RunError RunUsageError SearchResult
SignedBundle SigningKey StreamBenchmark StreamPage StudentComparison SweepResult TrainingError UsageError Utterance
__version__ bench bench_almt bench_asr bench_layers bench_live bench_long_windows bench_models bench_peers
bench_runtime bench_selfcheck bench_streams bench_students bench_training calibrate cascade compare compare_reports
convert_data describe_pretrained devices distill distill_text encode_data errors evaluate explain export
export_programs extract_features get_pretrained import_almt inspect inspect_data keygen list_pretrained load_run
predict prune_vocabulary push_bundle replay_report report report_stream reproduce save_data search sensitivity sign
sweep_text train train_text
"""


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


@pytest.fixture
def teacher(data: str, tmp_path: Path) -> Path:
    return write_teacher(tmp_path / "teacher", data)


def test_the_public_names_are_these() -> None:
    assert sorted(em.__all__) == sorted(PUBLIC.split())
    assert set(em.__all__) <= set(dir(em))
    for name in em.__all__:
        assert getattr(em, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = em.trian  # type: ignore[attr-defined]


def test_the_import_loads_no_package_that_takes_long() -> None:
    script = (
        "import sys; before = set(sys.modules); import edge_msa; "
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['edge_msa']"


def test_no_module_has_the_name_of_a_function() -> None:
    """Importing such a module would replace the function in the package."""
    modules = {module.name for module in pkgutil.iter_modules(em.__path__)}
    assert modules & set(em.__all__) == {"errors"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_what_a_function_acts_on_is_positional(name: str) -> None:
    parameters = list(inspect.signature(getattr(em, name)).parameters.values())
    positional = [item for item in parameters if item.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert len(positional) <= (2 if name in {"load_run", "compare_reports"} else 1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_documented(name: str) -> None:
    function = getattr(em, name)
    doc = inspect.getdoc(function) or ""
    if "are those of `bench`" in doc:
        return
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^    {parameter}: ", doc, re.MULTILINE), parameter


def call(function: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """Return the message of the UsageError or RunError that a call raises."""
    with pytest.raises((em.UsageError, em.RunError)) as caught:
        function(*arguments, **named)
    message = str(caught.value)
    assert "\n" not in message
    assert "--" not in message, "the message names an option of the command line"
    return message


class DataFrame:
    """Looks like a table of pandas."""

    shape = (2, 2)


@pytest.mark.parametrize(
    ("value", "actual"),
    [
        (None, "got None"),
        (DataFrame(), "got a DataFrame"),
        (np.ones(3), "got a ndarray"),
        (42, "got 42"),
        ("", "got ''"),
    ],
)
def test_data_that_is_not_a_path_is_refused(value: Any, actual: str, tmp_path: Path) -> None:
    message = call(em.train, value, output_dir=tmp_path / "run")
    assert message.startswith("data must be the path of a feature file, or 'synthetic', ")
    assert actual in message
    assert not (tmp_path / "run").exists()


def test_misuse_is_reported_in_one_line(data: str, teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "does not exist" in call(em.train, tmp_path / "none.pkl", output_dir=out)
    assert "does not exist" in call(em.load_run, "nowhere")
    assert "recipe must be a TOML file or a mapping of settings, got 42." in call(
        em.train, data, output_dir=out, recipe=42
    )
    assert "Did you mean 'epochs'?" in call(em.train, data, output_dir=out, recipe={"epoch": 5})
    assert "hrlf.epochs must be an integer, got '5'." in call(em.train, data, output_dir=out, recipe={"epochs": "5"})
    assert "unknown table [hrfl]. Did you mean 'hrlf'?" in call(
        em.train, data, output_dir=out, recipe={"hrfl": {"epochs": 5}}
    )
    assert "model must be one of hrlf, almt, got 'hrl'. Did you mean 'hrlf'?" in call(
        em.train, data, output_dir=out, model="hrl"
    )
    assert "seed must be at least 0, got -1." in call(em.train, data, output_dir=out, seed=-1)
    assert "teachers must be a run, or a list of runs, got an empty list." in call(em.distill, [], output_dir=out)
    assert "got a teacher run. Pass a run of edge-msa distill or calibrate." in call(
        em.export, teacher, target="laptop-x86", output_dir=out
    )
    assert "got a teacher run. Pass a run of edge-msa distill." in call(em.calibrate, teacher, output_dir=out)
    assert "target must be the name of a device" in call(em.export, teacher, target=None, output_dir=out)
    assert "run must be a run or the path of its folder, got 5." in call(em.train, data, output_dir=out, text_model=5)
    assert "on_progress must be a function or None, got 3." in call(em.train, data, output_dir=out, on_progress=3)
    assert "split must be one of train, valid, test, got 'tset'. Did you mean 'test'?" in call(
        em.evaluate, teacher, split="tset"
    )
    assert "would overwrite an input" in call(em.convert_data, data, output=data, overwrite=True)
    (tmp_path / "x.json").touch()
    assert "Pass overwrite=True to replace it" in call(em.evaluate, teacher, output=tmp_path / "x.json")
    assert "Unknown key 'dat' in [pipeline]. Did you mean 'data'?" in call(em.Pipeline, recipe={"pipeline": {"dat": 1}})
    assert not out.exists()


def test_a_bundle_is_not_a_teacher(data: str, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    message = call(em.distill, tmp_path / "bundle", data=data, output_dir=tmp_path / "out")
    assert "is a bundle, not a run" in message


def test_a_replaced_run_needs_overwrite(data: str, teacher: Path, tmp_path: Path) -> None:
    first = em.distill(teacher, data=data, output_dir=tmp_path / "student", recipe=SMALL)
    message = call(em.distill, teacher, data=data, output_dir=tmp_path / "student", recipe=SMALL, seed=1)
    assert "differs: seed 0 -> 1. Pass overwrite=True to replace it" in message
    second = em.distill(teacher, data=data, output_dir=tmp_path / "student", recipe=SMALL, seed=1, overwrite=True)
    assert (first.info.seed, second.info.seed) == (0, 1)


def test_a_folder_with_the_recipe_is_not_replaced(data: str, teacher: Path) -> None:
    recipe = teacher / "recipe.toml"
    recipe.write_text("epochs = 1")
    options: dict[str, Any] = {"recipe": recipe, "output_dir": teacher, "overwrite": True}
    text = Path(data).with_suffix(".csv")
    messages = [
        call(em.train, data, **options),
        call(em.distill, "other-teacher", **options),
        call(em.train_text, text, encoder="wordpieces", **options),
        call(em.distill_text, "other-teacher", transcripts=text, **options),
    ]
    for message in messages:
        assert f"contains the input '{recipe}'" in message
    stated = {"features": recipe, "output_dir": teacher, "overwrite": True}
    assert f"contains the input '{recipe}'" in call(em.train, data, **stated)
    assert f"contains the input '{recipe}'" in call(em.export, teacher / "run", target="laptop-x86", **stated)
    assert (teacher / "run.json").is_file()


def test_options_are_arguments_in_the_errors_of_functions() -> None:
    assert in_python_terms("Pass --data FILE.") == "Pass data='FILE'."
    assert in_python_terms("Omit --text-model. Pass --no-clip-labels.") == "Omit text_model. Pass clip_labels=False."
    assert in_python_terms("Pass --text-encoder table.") == "Pass text_encoder='table'."
    assert in_python_terms("Omit --compile and --ssh-option.") == "Omit compiled=True and ssh_options."
    command = "Run: edge-msa calibrate RUN --output-dir X."
    assert in_python_terms(f"Pass --overwrite. {command}") == f"Pass overwrite=True. {command}"


def test_settings_without_a_table_belong_to_the_model(data: str, teacher: Path, tmp_path: Path) -> None:
    flat = em.distill(teacher, data=data, output_dir=tmp_path / "student", recipe=SMALL["student"])
    lines = "".join(f"{name} = {value}\n" for name, value in SMALL["student"].items())
    (tmp_path / "flat.toml").write_text(lines)
    (tmp_path / "table.toml").write_text(f"[student]\n{lines}")
    seen: list[em.Progress] = []
    for recipe in (SMALL, tmp_path / "flat.toml", str(tmp_path / "table.toml")):
        again = em.distill(teacher, data=data, output_dir=tmp_path / "student", recipe=recipe, on_progress=seen.append)
        assert again.digest == flat.digest
    assert seen == [], "the student was trained again"


def test_a_call_is_silent_and_reports_every_epoch(
    data: str, teacher: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[em.Progress] = []
    recipe = {**SMALL["student"], "epochs": 3}
    run = em.distill(teacher, data=data, output_dir=tmp_path / "student", recipe=recipe, on_progress=seen.append)
    assert capfd.readouterr() == ("", "")
    epochs = [item for item in seen if item.step == "student: epoch"]
    assert [(item.done, item.total) for item in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert all("\n" not in item.text for item in seen)
    metric = f"{run.metrics['validation_metric']:.3f} (mean over subsets)"
    assert repr(run).startswith(f"<Run student, validation MAE {metric}, ")
    assert len(run.log) == 3
    em.distill(teacher, data=data, output_dir=tmp_path / "loud", recipe=recipe, verbose=True)
    assert "student epoch 3/3" in capfd.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_call_continues_where_it_stopped(
    error: type[BaseException], data: str, teacher: Path, tmp_path: Path
) -> None:
    def interrupt(progress: em.Progress) -> None:
        if progress.done == 2:
            raise error("stop")

    recipe = {**SMALL["student"], "epochs": 4}
    options: dict[str, Any] = {"data": data, "recipe": recipe}
    with pytest.raises(error, match="stop"):
        em.distill(teacher, output_dir=tmp_path / "student", on_progress=interrupt, **options)
    assert not (tmp_path / "student").exists()
    seen: list[int] = []
    run = em.distill(
        teacher, output_dir=tmp_path / "student", on_progress=lambda item: seen.append(item.done), **options
    )
    assert seen == [3, 4]
    whole = em.distill(teacher, output_dir=tmp_path / "whole", **options)
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(run.weights[name], value)


def test_two_threads_do_not_mix_their_messages(capfd: pytest.CaptureFixture[str]) -> None:
    barrier = threading.Barrier(2)

    @api
    def work(name: str, *, verbose: bool = False, on_progress: Any = None) -> None:
        del verbose, on_progress
        barrier.wait(10)
        for number in range(20):
            print_progress(f"{name} {number}")
            report_progress(name, number, 20, name)
        barrier.wait(10)

    seen: dict[str, set[str]] = {"a": set(), "b": set()}
    threads = [
        threading.Thread(
            target=work,
            args=(name,),
            kwargs={"verbose": name == "a", "on_progress": lambda item, name=name: seen[name].add(item.step)},
        )
        for name in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == {"a": {"a"}, "b": {"b"}}
    assert capfd.readouterr().err.splitlines() == [f"a {number}" for number in range(20)]


def test_notes_of_a_silent_call_go_to_logging(
    data: str, teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="edge_msa"):
        em.distill(teacher, data=data, output_dir=tmp_path / "student", recipe=SMALL)
    assert any("does not beat a constant" in record.message for record in caplog.records)


def test_only_the_outermost_function_of_a_command_suggests_the_next_one() -> None:
    @api
    def inner() -> str | None:
        return next_step("edge-msa x")

    @api
    def outer() -> tuple[str | None, str | None]:
        return next_step("edge-msa y"), inner()

    assert outer() == (None, None)
    with called_by_command():
        assert outer() == ("edge-msa y", None)


def test_tables_need_pandas_only_for_a_data_frame(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inspection = em.inspect_data(data)
    assert [row["modality"] for row in inspection.rows[:3]] == ["language", "audio", "vision"]
    pytest.importorskip("pandas")
    assert inspection.to_pandas().shape == (9, len(inspection.rows[0]))
    assert str(inspection).startswith("all ")
    assert repr(inspection).startswith("<Inspection of all (mosi): samples train 12")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"Run: pip install 'edge-msa\[pandas\]'"):
        inspection.to_pandas()
