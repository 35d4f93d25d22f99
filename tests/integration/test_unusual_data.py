"""Unusual data: models train on it, their metrics are finite, and evaluations list what was skipped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_msa.artifacts.runs import load_run
from edge_msa.data.dataset import SPLITS, Dataset, FloatArray, Frames, Split, SplitName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS, Task
from tests.locations import SHARED_DATA

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]

DIMS = {"language": 5, "audio": 4, "vision": 3}
ICT = SHARED_DATA / "ict_mmmo.npz"
RECIPE = """
[hrlf]
epochs = 1
robust_epochs = 1
d = 4
heads = 2
[almt]
epochs = 1
tokens = 2
robust = true
[student]
epochs = 1
width = 4
blocks = 1
hidden = 4
"""


def make_dataset(
    task: Task = MOSI,
    counts: Sequence[int] = (12, 6, 6),
    *,
    lacking: Mapping[SplitName, Sequence[str]] | None = None,
    labels: FloatArray | None = None,
    length: int = 4,
    scale: float = 1.0,
) -> Dataset:
    """Return a dataset with random frames.

    Args:
        task: Task of the labels.
        counts: Number of samples per split.
        lacking: Modalities that a split lacks.
        labels: Labels of every sample (default: random ones).
        length: Number of frames per sample.
        scale: Factor on the frames.
    """
    generator = np.random.default_rng(0)

    def split(name: SplitName, count: int) -> Split:
        modalities = {
            modality: Frames(
                np.ones((count, length), np.bool_),
                (scale * generator.normal(size=(count, length, dim))).astype(np.float32),
            )
            for modality, dim in DIMS.items()
            if modality not in (lacking or {}).get(name, ())
        }
        shape = (count,) if task.is_score else (count, task.outputs)
        drawn = generator.uniform(-1, 1, shape) if task.is_score else generator.integers(0, 2, shape)
        chosen = drawn if labels is None else np.broadcast_to(labels, shape)
        ids = tuple(f"{name}-{row}" for row in range(count))
        return Split(ids, ids, np.array(chosen, np.float32), modalities)

    splits = {name: split(name, count) for name, count in zip(SPLITS, counts, strict=True)}
    return Dataset("unusual", task, splits, "digest")


@dataclass(frozen=True)
class Workspace:
    """A folder for data and runs, and the commands that write them."""

    folder: Path
    edge_msa: Command

    def write(self, dataset: Dataset, name: str) -> Path:
        """Write the dataset to a file and return its path."""
        write_archive(dataset, self.folder / name)
        return self.folder / name

    def train(self, data: Path, model: str) -> tuple[Path, Path]:
        """Train a teacher, distill a student, and return both runs."""
        recipe = self.folder / "recipe.toml"
        recipe.write_text(RECIPE)
        common = ("--data", data, "--recipe", recipe, "--device", "cpu")
        teacher, student = self.folder / model, self.folder / f"{model}-student"
        for line in (
            ("train", "--model", model, *common, "--output-dir", teacher),
            ("distill", "--teacher", teacher, *common, "--output-dir", student),
        ):
            result = self.edge_msa(*line)
            assert result.code == 0, result.err
        return teacher, student

    def evaluate(self, path: Path, data: Path) -> dict[str, Any]:
        """Return the evaluation of a run or a bundle."""
        result = self.edge_msa("evaluate", path, "--data", data, "--json")
        assert result.code == 0, result.err
        evaluation: dict[str, Any] = json.loads(result.out.splitlines()[-1])
        return evaluation


@pytest.fixture
def workspace(tmp_path: Path, edge_msa: Command) -> Workspace:
    return Workspace(tmp_path, edge_msa)


ONLY_HAPPY = np.array([0, 1, 0, 0], np.float32)
UNUSUAL = {
    "no language": make_dataset(lacking=dict.fromkeys(SPLITS, ("language",))),
    "vision only": make_dataset(lacking=dict.fromkeys(SPLITS, ("language", "audio"))),
    "no vision in validation": make_dataset(lacking={"valid": ("vision",)}),
    "one sample": make_dataset(counts=(1, 1, 1)),
    "two samples": make_dataset(counts=(2, 1, 1)),
    "single frames": make_dataset(length=1),
    "large values": make_dataset(scale=1e29),
    "tiny values": make_dataset(scale=1e-30),
    "a constant score": make_dataset(REGRESSION, labels=np.full(1, 7, np.float32)),
    "a constant at a class boundary": make_dataset(SIMS, labels=np.zeros(1, np.float32)),
    "emotions that never occur": make_dataset(EMOTIONS, labels=ONLY_HAPPY),
    "one sample of emotions": make_dataset(EMOTIONS, counts=(1, 1, 1)),
}


@pytest.mark.parametrize("model", ["hrlf", "almt"])
@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_data_is_trained_on_and_evaluated(name: str, model: str, workspace: Workspace) -> None:
    data = workspace.write(UNUSUAL[name], "data.npz")
    for run in workspace.train(data, model):
        evaluation = workspace.evaluate(run, data)
        for metrics in evaluation["by_subset"].values():
            assert np.isfinite(list(metrics.values())).all()


@pytest.mark.parametrize("model", ["hrlf", "almt"])
@pytest.mark.parametrize("lacks", list(DIMS))
def test_a_modality_without_training_data_is_not_in_the_model(lacks: str, model: str, workspace: Workspace) -> None:
    data = workspace.write(make_dataset(lacking={"train": (lacks,)}), "data.npz")
    for run in workspace.train(data, model):
        assert set(load_run(run).info.config["dims"]) == set(DIMS) - {lacks}
        evaluation = workspace.evaluate(run, data)
        assert sorted(evaluation["skipped_subsets"]) == sorted(
            subset for subset in ("l", "a", "v", "la", "lv", "av", "lav") if lacks[0] in subset
        )
        assert f"{lacks}: ignored, the model was trained without it" in evaluation["notes"]


@pytest.mark.slow
def test_a_bundle_ignores_that_modality_as_well(workspace: Workspace) -> None:
    data = workspace.write(make_dataset(lacking={"train": ("language",)}), "data.npz")
    _, student = workspace.train(data, "hrlf")
    bundle = workspace.folder / "bundle"
    line = ("export", "--target", "laptop", student, "--precision", "fp32", "--max-drop", "100")
    assert workspace.edge_msa(*line, "--allow-worse-than-constant", "--output-dir", bundle).code == 0
    of_bundle, of_run = workspace.evaluate(bundle, data), workspace.evaluate(student, data)
    assert set(of_bundle["by_subset"]) == {"a", "v", "av"}
    assert of_bundle["by_subset"]["av"]["mae"] == pytest.approx(of_run["by_subset"]["av"]["mae"], rel=1e-4)
    assert of_bundle["skipped_subsets"] == of_run["skipped_subsets"]


@pytest.mark.parametrize("model", ["hrlf", "almt"])
def test_ict_mmmo_has_no_language_for_training(model: str, workspace: Workspace) -> None:
    if not ICT.exists():
        pytest.skip(f"{ICT} is not available")
    for run in workspace.train(ICT, model):
        evaluation = workspace.evaluate(run, ICT)
        assert set(evaluation["by_subset"]) == {"a", "v", "av"}
        assert set(evaluation["skipped_subsets"]) == {"l", "la", "lv", "lav"}


def test_a_run_keeps_its_task_on_its_training_data(workspace: Workspace) -> None:
    data = workspace.write(make_dataset(MOSI), "data.npz")
    line = ("train", "--data", data, "--task", "sims", "--epochs", "1", "--device", "cpu")
    assert workspace.edge_msa(*line, "--output-dir", workspace.folder / "teacher").code == 0
    assert workspace.evaluate(workspace.folder / "teacher", data)["task"] == "sims"
    other = workspace.write(dataclasses.replace(make_dataset(MOSI), name="other"), "other.npz")
    assert workspace.evaluate(workspace.folder / "teacher", other)["task"] == "mosi"


def test_too_large_values_are_refused_before_training(workspace: Workspace) -> None:
    data = workspace.write(make_dataset(scale=1e31), "data.npz")
    result = workspace.edge_msa("train", "--data", data, "--output-dir", workspace.folder / "run")
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert "within ±1e+30" in line
