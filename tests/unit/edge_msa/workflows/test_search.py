from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_msa.architecture_search import trial_runner
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.cli import run
from edge_msa.config.students import StudentRecipe
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.errors import TrainingError, UsageError
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.distillation.setup import DistillationSetup
from edge_msa.training.text.load import load_text_input
from edge_msa.workflows import search
from edge_msa.workflows.distill import distill_on_setup
from edge_msa.workflows.text import train_text
from edge_msa_runtime.bundle.loader import open_bundle

RECIPE = """
[hrlf]
epochs = 1
robust_epochs = 1
d = 8
heads = 2
[student]
epochs = 1
width = 8
blocks = 1
hidden = 8
[pipeline]
num_samples = 16
max_drop = 100
[search.space]
width = [4, 6]
precision = ["fp16"]
"""
BROKEN = 6
"""Width whose training diverges in these tests."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "words.npz"
    dataset = generate_dataset(SyntheticConfig(train=96, valid=32, test=8)).without(["audio", "vision"])
    write_archive(dataclasses.replace(dataset, name="words"), path)
    return path


@pytest.fixture(scope="module")
def command(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("search")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    arguments = ["search", "--target", "laptop-x86", "--data", str(data), "--recipe", str(recipe), "--trials", "9"]
    return [*arguments, "--num-samples", "64", "--seeds", "2", "--output-dir", str(folder / "out"), "--json"]


def split_without_test(dataset: Dataset, name: SplitName) -> Split:
    assert name != "test", "The search used the test split."
    return dataset.splits[name]


def diverge_if_broken(setup: DistillationSetup, recipe: StudentRecipe, *arguments: Any, **named: Any) -> Run:
    if recipe.width == BROKEN:
        raise TrainingError("the loss is nan\nin epoch 1")
    return distill_on_setup(setup, recipe, *arguments, **named)


@pytest.mark.slow
def test_a_search_writes_answer_bundles_and_page(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Dataset, "split", split_without_test)
    monkeypatch.setattr(search, "distill_on_setup", diverge_if_broken)
    monkeypatch.setattr(trial_runner, "RUNS_PER_ROUND", 5)
    assert run(command) == 0
    out, err = capsys.readouterr()
    record = json.loads(out.splitlines()[-1])
    folder = Path(command[command.index("--output-dir") + 1])
    # The default recipe, whose width is outside the space, and the two points of the space.
    assert "The search space has only 3 points" in err
    widths = [trial["params"].get("width") for trial in record["trials"]]
    assert widths[0] is None
    assert sorted(widths[1:]) == [4, 6]
    failed = [trial for trial in record["trials"] if trial["error"] is None]
    assert {trial["params"]["width"] for trial in failed} == {BROKEN}
    assert {trial["failure"] for trial in failed} == {"the loss is nan in epoch 1"}
    assert record["answer"]["text"] in out
    assert len(record["errors"][str(record["default"])]) == 2
    assert set(record["bundles"]) == {str(number) for number in {*record["pareto"], record["default"]}}
    for path in record["bundles"].values():
        assert open_bundle(path).manifest.precision["openvino"] == "fp16"
    page = (folder / "search.html").read_text()
    assert "the test split was not used" in page
    assert record["answer"]["text"].replace("'", "&#39;") in page
    (archive,) = folder.glob("data-*.npz")
    subset = open_dataset(str(archive))
    assert {name: len(split) for name, split in subset.splits.items()} == {"train": 64, "valid": 32}

    assert run(command) == 0
    again = capsys.readouterr().out
    assert "== " not in again.replace("== teacher", "")
    assert json.loads(again.splitlines()[-1]) == record


TEXT_RECIPE: dict[str, Any] = {
    "text": {
        "width": 8,
        "hidden": 8,
        "tokens": 2,
        "transfer": {"epochs": 1, "learning_rate": 1e-3},
        "final": {"epochs": 1, "learning_rate": 1e-3},
    },
    "search": {"space": {"layers": [1, 2], "prune.heads": [0.0, 0.5], "precision": ["fp32"]}},
    "pipeline": {"num_samples": 8, "max_drop": 100.0},
}


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.csv"
    texts = [("i love it", 2), ("not at all", -2), ("i love it all", 1), ("i not it", -1)]
    rows = [f"{text},{mode},{label}" for mode in ("train", "valid", "test") for text, label in texts * 3]
    path.write_text("\n".join(["text,mode,label", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def text_teacher(transcripts: Path, toy_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = {"text": {**TEXT_RECIPE["text"], "max_tokens": 16}}
    folder = tmp_path_factory.mktemp("text") / "teacher"
    return train_text(transcripts, encoder=toy_encoder, output_dir=folder, recipe=recipe, task="mosi").path


@pytest.mark.slow
def test_a_search_with_a_text_teacher_prunes_its_encoder(
    transcripts: Path, text_teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "RUNS_PER_ROUND", 5)
    options: dict[str, Any] = {"target": "laptop-x86", "trials": 9, "seeds": 1, "task": "mosi"}
    result = search.search(
        transcripts, teacher=text_teacher, output_dir=tmp_path / "out", recipe=TEXT_RECIPE, **options
    )
    points = {(row["layers"], row["prune.heads"]) for row in result.rows}
    assert points == {(1, 0.0), (1, 0.5), (2, 0.0), (2, 0.5)}
    (default,) = [row for row in result.rows if row["default"]]
    assert (default["layers"], default["prune.heads"]) == (2, 0.0)
    for trial in result.record.trials:
        run_dir = tmp_path / "out" / "students" / str(trial.student) / "calibrated"
        encoder = load_text_input(load_run(run_dir)).text_encoder
        assert isinstance(encoder, TransformerTextEncoder)
        assert encoder.layers == trial.params["layers"]
        assert encoder.widths is not None
        pruned = trial.params["prune.heads"] == 0.5
        assert sum(encoder.widths.heads) == encoder.layers * (1 if pruned else 2)


def test_dimensions_that_do_not_fit_a_text_teacher_are_rejected(
    transcripts: Path, text_teacher: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"target": "laptop-x86", "trials": 1, "teacher": text_teacher, "task": "mosi"}
    for space, message in (
        ({"layers": [3]}, r"search\.space\.layers must be from 1 to 2, got 3"),
        ({"width": [4], "depth": [1]}, "Unknown field 'depth' in search.space"),
        ({"prune.heads": [1.0]}, r"search\.space\.prune\.heads must be below 1, got 1\.0"),
    ):
        recipe = TEXT_RECIPE | {"search": {"space": space}}
        with pytest.raises(UsageError, match=message):
            search.search(transcripts, output_dir=tmp_path / "out", recipe=recipe, **options)


def run_rejected(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


def replace_option(command: list[str], name: str, value: object) -> list[str]:
    at = command.index(name) + 1
    return [*command[:at], str(value), *command[at + 1 :]]


def test_a_target_of_another_kind_is_rejected(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, line = run_rejected(replace_option(command, "--target", "jetson"), capsys)
    assert code == 4
    assert "This machine cannot measure latencies for jetson-orin-nano" in line


def test_a_folder_with_other_files_is_not_changed(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    code, line = run_rejected(replace_option(command, "--output-dir", tmp_path), capsys)
    assert code == 2
    assert "contains thesis.tex" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[search.space]\nwidht = [8]", "Unknown field 'widht' in search.space. Did you mean 'width'?"),
        ("[search.space]\nwidth = [0, 8]", "search.space.width must be at least 1, got 0."),
        ("[search.space]\nwidth = ['a']", "search.space.width must be an integer, got 'a'."),
        ("[search]\nspce = 1", "Unknown key 'spce' in [search]. Available: space."),
        ("[search]\nspace = 1", "search.space must be a table, got 1."),
    ],
)
def test_an_invalid_space_is_rejected(
    table: str, message: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(table)
    arguments = replace_option(
        replace_option(command, "--recipe", tmp_path / "recipe.toml"), "--output-dir", tmp_path / "out"
    )
    code, line = run_rejected(arguments, capsys)
    assert code == 2
    assert message in line


def test_a_folder_without_a_run_is_not_a_teacher(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [*replace_option(command, "--output-dir", tmp_path / "out"), "--teacher", str(tmp_path / "empty")]
    code, line = run_rejected(arguments, capsys)
    assert code == 2
    assert "is not a run folder" in line


def test_without_optuna_the_error_says_how_to_install_it(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, line = run_rejected(command, capsys)
    assert code == 4
    assert line.endswith("pip install 'edge-msa[search]'")
