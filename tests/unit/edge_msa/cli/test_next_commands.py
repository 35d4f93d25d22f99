from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import edge_msa as em
from edge_msa.cli import run
from edge_msa.cli.next_commands import suggest_next
from edge_msa.workflows.text import _next_command
from tests.unit.edge_msa.cli.commands import LEAVES, find_context


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "my bundle-laptop"
    path.mkdir()
    (path / "manifest.json").touch()
    return path


@pytest.mark.parametrize("command", LEAVES)
def test_suggested_commands_can_be_parsed(command: str, bundle: Path) -> None:
    (bundle.parent / "bundle-laptop").mkdir()
    (bundle.parent / "a-seed0").mkdir()
    values: dict[str, Any] = {
        "path": bundle,
        "bundles": [bundle],
        "output_dir": bundle.parent,
        "output": Path("page.html"),
        "data": "my data.pkl",
        **dict.fromkeys(("file", "run", "model"), Path("x y")),
    }
    suggestion = suggest_next(command, values)
    if suggestion is None:
        return
    program, *words = shlex.split(suggestion)
    if program == "python":
        assert words == ["-m", "webbrowser", "page.html"]
        return
    assert program == "edge-msa"
    name = (
        next(item for item in sorted(LEAVES, key=len, reverse=True) if words[: len(item.split())] == item.split())
        if words[0] != "bench"
        else "bench bundle"
    )
    rest = words[1:] if name == "bench bundle" else words[len(name.split()) :]
    context = find_context(name)
    context.command.make_context(name, rest, parent=context.parent)


def test_a_bundle_is_measured_after_an_evaluation_and_a_run_is_explained(bundle: Path) -> None:
    values = {"path": bundle, "data": None}
    assert suggest_next("evaluate", values) == f"edge-msa bench '{bundle}'"
    run_values = {"path": Path("teacher"), "data": "mosi.pkl"}
    expected = "edge-msa explain teacher --data mosi.pkl --output explanation.html"
    assert suggest_next("evaluate", run_values) == expected


HEADER = "text,score,split"
ROWS = ("so good,2.5,train", "so bad,-2,valid", "well,0.1,test")


def write_table(folder: Path, *lines: str) -> Path:
    path = folder / "talk.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def make_archive(folder: Path, *splits: str, label: float | None = 1.0) -> Path:
    utterances = {split: [em.Utterance(split, label, audio=np.ones((2, 3)))] for split in splits}
    return em.save_data(cast("Any", utterances), output=folder / "mine.npz", task="mosi")


def test_after_inspecting_transcripts_a_text_model_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path, HEADER, *ROWS)
    assert run(["data", "inspect", str(table)]) == 0
    words = f"edge-msa text train --transcripts {table} --encoder wordpieces"
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {words} --output-dir words"
    assert run(["data", "inspect", str(table), "--task", "regression"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {words} --task regression --output-dir words"


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("text,score", "so good,2.5", "so bad,-2"), "talk has no valid split. Available: train. Add a column `split`"),
        ((HEADER, *ROWS[1:]), "talk has no train split. Available: valid, test. Pass a file with samples in it."),
        ((HEADER, ROWS[0], "so bad,,valid"), "The valid split of talk has no labels, which a text model cannot learn"),
    ],
)
def test_inspecting_transcripts_says_what_is_missing_for_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...], problem: str
) -> None:
    assert run(["data", "inspect", str(write_table(tmp_path, *lines)), "--task", "mosi"]) == 0
    out, err = capsys.readouterr()
    assert "next:" not in out
    assert problem in err


def test_the_training_of_transcripts_without_a_split_says_what_to_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = str(write_table(tmp_path, "text,score", "so good,2.5", "so bad,-2"))
    command = ["text", "train", "--transcripts", table, "--encoder", "wordpieces", "--output-dir", str(tmp_path / "w")]
    assert run(command) == 1
    assert "Add a column `split` to the table, with train, valid or test in every line." in capsys.readouterr().err
    assert run(["train", "--data", table, "--output-dir", str(tmp_path / "t")]) == 1
    error = capsys.readouterr().err
    assert "has only text, no frames of audio or vision." in error
    assert "edge-msa text train --transcripts FILE" in error
    assert "which are not used" not in error
    assert "own-video" in error


def test_a_file_without_valid_gets_the_command_that_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = str(make_archive(tmp_path, "train"))
    problem = "mine has no valid split. Available: train. To draw it at random from the training videos, run edge-msa"
    for command in (["data", "inspect", archive], ["train", "--data", archive, "--output-dir", str(tmp_path / "t")]):
        run(command)
        out, err = capsys.readouterr()
        assert "next:" not in out
        assert f"{problem} data convert FILE --output OUTPUT.npz --draw-splits" in err


def test_a_file_that_can_train_gets_the_training_and_one_without_labels_the_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = make_archive(tmp_path, "train", "valid")
    assert run(["data", "inspect", str(archive)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: edge-msa train --data {archive} --output-dir teacher"
    archive.unlink()
    make_archive(tmp_path, "train", "valid", label=None)
    assert run(["data", "inspect", str(archive)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"next: edge-msa predict MODEL --data {archive} --output predictions.csv"


def test_a_bundle_of_own_data_is_evaluated_on_this_data(bundle: Path) -> None:
    assert suggest_next("inspect", {"path": bundle}) == f"edge-msa evaluate '{bundle}' --data FILE"


def test_a_pipeline_names_the_bundle_that_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bundle-jetson", "bundle-laptop"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    values: dict[str, Any] = {"output_dir": tmp_path, "data": "mosi.pkl"}
    assert suggest_next("pipeline", values) is None
    monkeypatch.setattr("edge_msa.benchmark.machine.can_run", lambda path: path.name == "bundle-laptop")
    assert suggest_next("pipeline", values) == f"edge-msa evaluate {tmp_path}/bundle-laptop --data mosi.pkl"
    assert (
        suggest_next("pipeline", {**values, "data": None}) == f"edge-msa evaluate {tmp_path}/bundle-laptop --data FILE"
    )


@pytest.mark.parametrize("command", ["devices show", "config show", "predict"])
def test_commands_whose_output_is_a_file_suggest_nothing(command: str) -> None:
    assert suggest_next(command, {"model": Path("x"), "output": None}) is None


def test_a_command_ends_with_the_next_one_unless_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: edge-msa devices show laptop-x86"
    assert run(["devices", "-q"]) == 0
    assert "next:" not in capsys.readouterr().out


def test_after_a_text_model_of_a_corpus_with_frames_its_teacher_is_trained() -> None:
    def corpora(dims: dict[str, int]) -> Any:
        return SimpleNamespace(target=SimpleNamespace(dims=dims), sources=("clips.npz",))

    expected = "edge-msa train --data clips.npz --text-model words --output-dir teacher"
    assert _next_command(Path("words"), corpora({"audio": 44})) == expected
    assert _next_command(Path("words"), corpora({})) == "edge-msa calibrate words --output-dir calibrated"


@pytest.mark.parametrize(
    ("values", "opens"),
    [
        ({"output": Path("report.html")}, True),
        ({"output": Path("report.csv")}, False),
        ({"output": Path("report.html"), "compare": True}, False),
        ({"output": Path("report.html"), "replay": True}, False),
    ],
)
def test_only_a_written_page_of_a_report_is_opened(values: dict[str, Any], *, opens: bool) -> None:
    assert (suggest_next("report", values) is not None) == opens
