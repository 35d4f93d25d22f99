"""A whole search on tiny data, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_msa.artifacts.runs import Run
from edge_msa.cli import run
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.data.synthetic.generator import SyntheticConfig, synthetic_dataset
from edge_msa.errors import TrainingError
from edge_msa.search import trial_runner
from edge_msa.training.distillation.setup import DistillationSetup
from edge_msa.workflows.distill import student_run
from edge_msa_runtime.bundle.reader import open_bundle

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
precision = ["int8"]
"""
BROKEN = 6
"""The width whose training diverges in these tests."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "words.npz"
    dataset = synthetic_dataset(SyntheticConfig(train=96, valid=32, test=8)).without(["audio", "vision"])
    write_archive(dataclasses.replace(dataset, name="words"), path)
    return path


@pytest.fixture(scope="module")
def command(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("search")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE)
    given = ["search", "--target", "laptop-x86", "--data", str(data), "--recipe", str(recipe), "--trials", "9"]
    return [*given, "--train-samples", "64", "--seeds", "2", "--output-dir", str(folder / "out"), "--json"]


def guarded(dataset: Dataset, name: SplitName) -> Split:
    assert name != "test", "a search read the test split"
    return dataset.splits[name]


def diverging(setup: DistillationSetup, recipe: StudentRecipe, *arguments: Any, **named: Any) -> Run:
    if recipe.width == BROKEN:
        raise TrainingError("the loss is nan\nin epoch 1")
    return student_run(setup, recipe, *arguments, **named)


def test_a_search_ends_with_the_answer_bundles_and_a_page(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Dataset, "split", guarded)
    monkeypatch.setattr(trial_runner, "student_run", diverging)
    monkeypatch.setattr(trial_runner, "BLOCK_RUNS", 5)
    assert run(command) == 0
    out, err = capsys.readouterr()
    found = json.loads(out.splitlines()[-1])
    folder = Path(command[command.index("--output-dir") + 1])
    # The default, which has a width that the space has not, and the space's two points.
    assert "the space has 3 points" in err
    tried = [point["params"].get("width") for point in found["points"]]
    assert tried[0] is None
    assert sorted(tried[1:]) == [4, 6]
    failed = [point for point in found["points"] if point["error"] is None]
    assert {point["params"]["width"] for point in failed} == {BROKEN}
    assert {point["reason"] for point in failed} == {"the loss is nan in epoch 1"}
    assert found["answer"]["text"] in out
    assert len(found["errors"][str(found["baseline"])]) == 2
    assert set(found["bundles"]) == {str(number) for number in {*found["pareto"], found["baseline"]}}
    for path in found["bundles"].values():
        assert open_bundle(path).manifest.precision["openvino"] == "int8"
    page = (folder / "search.html").read_text()
    assert "the test split was not read" in page
    assert found["answer"]["text"].replace("'", "&#39;") in page
    (part,) = folder.glob("data-*.npz")
    kept = open_dataset(str(part))
    assert {name: len(split) for name, split in kept.splits.items()} == {"train": 64, "valid": 32}

    assert run(command) == 0
    again = capsys.readouterr().out
    assert "== " not in again.replace("== teacher", "")
    assert json.loads(again.splitlines()[-1]) == found


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = run(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    return code, line


def replaced(command: list[str], name: str, value: object) -> list[str]:
    at = command.index(name) + 1
    return [*command[:at], str(value), *command[at + 1 :]]


def test_a_target_of_another_kind_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, line = refused(replaced(command, "--target", "jetson"), capsys)
    assert code == 4
    assert "latencies of jetson-orin-nano cannot be measured here" in line


def test_a_folder_of_something_else_is_left_alone(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    code, line = refused(replaced(command, "--output-dir", tmp_path), capsys)
    assert code == 2
    assert "holds thesis.tex" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[search.space]\nwidht = [8]", "search.space: unknown field 'widht' (did you mean 'width'?)"),
        ("[search.space]\nwidth = [0, 8]", "student.width is 0; it must be at least 1"),
        ("[search.space]\nwidth = ['a']", "search.space.width is 'a'; it must be of type int"),
        ("[search]\nspce = 1", "search: unknown key 'spce'; it takes: space"),
        ("[search]\nspace = 1", "search.space is 1; it must be a table"),
    ],
)
def test_a_space_that_the_recipe_cannot_be_is_refused(
    table: str, message: str, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(table)
    given = replaced(replaced(command, "--recipe", tmp_path / "recipe.toml"), "--output-dir", tmp_path / "out")
    code, line = refused(given, capsys)
    assert code == 2
    assert message in line


def test_a_teacher_that_is_none_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*replaced(command, "--output-dir", tmp_path / "out"), "--teacher", str(tmp_path)]
    code, line = refused(given, capsys)
    assert code == 2
    assert "is not a run folder" in line


def test_without_optuna_the_line_that_installs_it_is_told(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, line = refused(command, capsys)
    assert code == 4
    assert line.endswith("pip install 'edge-msa[search]'")
