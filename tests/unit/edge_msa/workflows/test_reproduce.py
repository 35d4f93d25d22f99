from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.artifacts.requests import allow_replacing
from edge_msa.artifacts.runs import load_run
from edge_msa.cli import run
from edge_msa.config.recipes import hrlf_preset
from edge_msa.data.dataset import Dataset
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.errors import DataError, RunUsageError, UsageError
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.evaluation.reproduction.prediction_cache import INFO_NAME, PREDICTIONS_NAME
from edge_msa.evaluation.reproduction.published import PaperName
from edge_msa.evaluation.reproduction.record import NAME, Reproduction
from edge_msa.evaluation.reproduction.variants import find_ablations
from edge_msa.workflows.reproduce import ReproductionResult, distinct_variants, reproduce

TINY = "[hrlf]\nd = 8\nheads = 2\n[almt]\ntokens = 2\nfusion_depth = 1\nbatch_size = 32\n"


def small() -> Dataset:
    return dataclasses.replace(generate_dataset(SyntheticConfig(train=48, valid=24, test=24)), name="small")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "small.npz"
    write_archive(small(), path)
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def predicted_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which the name of each run is added when it predicts the test split."""
    names: list[str] = []

    def record(run: Any, context: Any) -> Any:
        names.append(run.path.name)
        return run_predictor(run, context)

    monkeypatch.setattr("edge_msa.workflows.reproduce.run_predictor", record)
    return names


def call(archive: Path, recipe: Path, folder: Path, **changes: Any) -> Reproduction:
    return call_api(archive, recipe, folder, **changes).record


def call_api(archive: Path, recipe: Path, folder: Path, **changes: Any) -> ReproductionResult:
    options: dict[str, Any] = {"seeds": 2, "epochs": 1, "recipe": recipe, "device": "cpu"}
    model = changes.pop("model", "hrlf")
    return reproduce(model, data=str(archive), output_dir=folder, **{**options, **changes})


@pytest.mark.usefixtures("printing")
def test_each_training_predicts_test_once(
    archive: Path, recipe: Path, tmp_path: Path, predicted_runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = call(archive, recipe, tmp_path)
    assert predicted_runs == ["hrlf-full-seed0", "hrlf-full-seed1"]
    assert call(archive, recipe, tmp_path) == first
    assert capsys.readouterr().out.count("is up to date") == 2
    noisy = call(archive, recipe, tmp_path, noise=True)
    assert len(predicted_runs) == 2
    assert dataclasses.replace(noisy, noise=False) == first
    call(archive, recipe, tmp_path, seeds=3)
    assert predicted_runs[2:] == ["hrlf-full-seed2"]


def test_another_recipe_makes_another_training(
    archive: Path, recipe: Path, tmp_path: Path, predicted_runs: list[str]
) -> None:
    call(archive, recipe, tmp_path, seeds=1)
    with pytest.raises(RunUsageError, match="differs: epochs 1 -> 2"):
        call(archive, recipe, tmp_path, seeds=1, epochs=2)
    with allow_replacing("any"):
        call(archive, recipe, tmp_path, seeds=1, epochs=2)
    assert predicted_runs == ["hrlf-full-seed0"] * 2
    assert load_run(tmp_path / "hrlf-full-seed0").info.recipe["epochs"] == 2


@pytest.mark.usefixtures("printing")
def test_a_kill_before_prediction_keeps_the_training(
    archive: Path, recipe: Path, tmp_path: Path, predicted_runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call(archive, recipe, tmp_path, seeds=1)
    (tmp_path / "hrlf-full-seed0" / INFO_NAME).unlink()
    capsys.readouterr()
    call(archive, recipe, tmp_path, seeds=1)
    assert "up to date" in capsys.readouterr().out
    assert len(predicted_runs) == 2


@pytest.mark.usefixtures("printing")
def test_the_record_contains_the_printed_numbers(archive: Path, recipe: Path, tmp_path: Path) -> None:
    result = call_api(archive, recipe, tmp_path, ablations=True, noise=True, seeds=1)
    record = result.record
    assert Reproduction.from_json(json.loads((tmp_path / NAME).read_text(encoding="utf-8"))) == record
    assert Reproduction.from_json(json.loads(json.dumps(result.to_json()))) == record
    names = ["full", "without-frf", "without-hmi", "without-hal", "task-kl", "published"]
    assert [variant.name for variant in record.variants] == names
    assert load_run(tmp_path / "hrlf-without-hmi-seed0").info.recipe["hmi"] == 0
    made = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert made == {NAME, "dropped-frames.png", "ablations.png", "noise.png"}
    call(archive, recipe, tmp_path, seeds=1)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {
        NAME,
        "dropped-frames.png",
    }


@pytest.fixture(scope="module")
def reproduced(archive: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> ReproductionResult:
    """Return the reproduction of HRLF with one seed. Tests must not change its folder."""
    return call_api(archive, recipe, tmp_path_factory.mktemp("reproduced") / "out", seeds=1, paper="mosei", task="mosi")


def test_predictions_and_metrics_are_cached_in_the_run(reproduced: ReproductionResult) -> None:
    record, folder = reproduced.record, reproduced.path.parent / "hrlf-full-seed0"
    info = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
    mae = record.full.conditions["la dropped 0.5"]["mae"].values[0]
    assert info["metrics"]["la dropped 0.5"]["mae"] == pytest.approx(mae)
    with np.load(folder / PREDICTIONS_NAME) as arrays:
        assert all(len(arrays[name]) == 24 for name in arrays.files)
        assert len(arrays.files) == len(info["conditions"]) == len(record.full.conditions)


def test_without_frames_all_subsets_predict_the_same(reproduced: ReproductionResult) -> None:
    conditions = reproduced.record.full.conditions
    errors = [metrics["mae"].mean for key, metrics in conditions.items() if key.endswith("dropped 1")]
    assert len(errors) == 7
    assert errors == pytest.approx([errors[0]] * 7, rel=1e-5)


def test_each_ablation_of_almt_has_its_own_recipe(archive: Path) -> None:
    tables = {"tokens": 2, "fusion_depth": 1}
    ablations = find_ablations("almt", "none")
    variants = dict(distinct_variants("almt", tables, str(archive), 1, small(), ablations))
    names = "full without-ahl without-language scales-1 scales-2 tokens-4 tokens-8 tokens-16 concatenation"
    assert list(variants) == names.split()
    assert len({repr(chosen) for _, chosen in variants.values()}) == len(variants)


@pytest.mark.usefixtures("printing")
def test_almt_is_reproduced_with_the_preset_of_the_paper(
    archive: Path, recipe: Path, tmp_path: Path, predicted_runs: list[str]
) -> None:
    result = call_api(archive, recipe, tmp_path, model="almt", seeds=1, paper="mosei", task="mosi")
    record = result.record
    assert predicted_runs == ["almt-full-seed0"]
    assert record.model == "almt"
    assert record.recipe["fusion_depth"] == 1  # the recipe file takes precedence
    assert any("preset mosei" in note for note in record.notes)
    assert "ALMT, paper" in str(result)


@pytest.mark.case("E2")
@pytest.mark.parametrize(
    ("paper", "preset"), [("mosei", "paper-mosei"), ("none", "paper-mosi"), ("sims", "paper-mosi")]
)
def test_hrlf_as_published_is_the_literal_preset(archive: Path, paper: PaperName, preset: str) -> None:
    ablations = find_ablations("hrlf", paper)
    variants = dict(distinct_variants("hrlf", {"d": 8, "heads": 2}, str(archive), None, small(), ablations))
    assert variants["published"][1] == hrlf_preset(preset)
    assert variants["without-hal"][1] == variants["full"][1].model_copy(update={"hal": 0.0})
    literal = dict(distinct_variants("hrlf", {"preset": preset}, str(archive), None, small(), ablations))
    assert "published" not in literal  # it is the full method


@pytest.mark.case("E2")
def test_note_says_which_preset_is_hrlf_as_published(reproduced: ReproductionResult) -> None:
    assert any("HRLF as published is the preset paper-mosei" in note for note in reproduced.record.notes)


def without(dataset: Dataset, split: str) -> Dataset:
    return dataclasses.replace(dataset, splits={name: item for name, item in dataset.splits.items() if name != split})


def test_data_without_test_is_refused_before_training(recipe: Path, tmp_path: Path) -> None:
    write_archive(without(small(), "test"), tmp_path / "short.npz")
    with pytest.raises(DataError, match="no test split"):
        call(tmp_path / "short.npz", recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fewer_than_one_seed_is_refused(archive: Path, recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seeds must be at least 1, got 0"):
        call(archive, recipe, tmp_path / "out", seeds=0)


def test_a_folder_with_other_files_is_unchanged(archive: Path, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunUsageError, match=r"contains thesis\.tex, .*Nothing was changed"):
        call(archive, recipe, tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        call(archive, recipe, tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_reproduction_is_unchanged(archive: Path, recipe: Path, tmp_path: Path) -> None:
    call(archive, recipe, tmp_path / "out", seeds=1)
    before = load_run(tmp_path / "out" / "hrlf-full-seed0").digest
    with pytest.raises(RunUsageError, match="does not belong to a reproduction of almt"):
        call(archive, recipe, tmp_path / "out", model="almt")
    write_archive(generate_dataset(SyntheticConfig(train=40, valid=24, test=24)), tmp_path / "other.npz")
    with pytest.raises(RunUsageError, match="other data"):
        call(tmp_path / "other.npz", recipe, tmp_path / "out")
    assert load_run(tmp_path / "out" / "hrlf-full-seed0").digest == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--model hrlf --data {data} --output-dir {out} --seeds 0", "--seeds"),
        ("--model hrlf --data {data} --output-dir {out} --paper meld", "--paper"),
        ("--model bert --data {data} --output-dir {out}", "bert"),
        ("--model hrlf --data {data} --output-dir {out} --paper iemocap", "must be emotions for --paper iemocap"),
        ("--model hrlf --data {data} --output-dir {out} --device tpu", "auto, cpu, cuda"),
        ("--model hrlf --data {data}x --output-dir {out}", "Did you mean"),
        ("--model hrlf --data {data}", "--output-dir"),
    ],
)
def test_invalid_options_give_a_one_line_error(
    options: str, words: str, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = options.format(data=archive, out=tmp_path / "out").split()
    assert run(["reproduce", *arguments]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note:")]
    assert len(error) == 1
    assert words in error[0]
    assert re.match("edge-msa: ", error[0])
    assert not (tmp_path / "out").exists()
