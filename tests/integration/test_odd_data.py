"""Data sets that lack what others have: they train, and what is said of them is true."""

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


def odd_dataset(
    task: Task = MOSI,
    counts: Sequence[int] = (12, 6, 6),
    *,
    lacking: Mapping[SplitName, Sequence[str]] | None = None,
    labels: FloatArray | None = None,
    length: int = 4,
    scale: float = 1.0,
) -> Dataset:
    """Random frames; `lacking` modalities by split; the same `labels` (or row of them) for every sample."""
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
        own = drawn if labels is None else np.broadcast_to(labels, shape)
        ids = tuple(f"{name}-{row}" for row in range(count))
        return Split(ids, ids, np.array(own, np.float32), modalities)

    splits = {name: split(name, count) for name, count in zip(SPLITS, counts, strict=True)}
    return Dataset("odd", task, splits, "digest")


@dataclass(frozen=True)
class Bench:
    """A folder to train in."""

    folder: Path
    edge_msa: Command

    def stored(self, dataset: Dataset, name: str) -> Path:
        """The dataset as a file."""
        write_archive(dataset, self.folder / name)
        return self.folder / name

    def teach(self, data: Path, model: str) -> tuple[Path, Path]:
        """A teacher and its student, both trained without a complaint."""
        recipe = self.folder / "recipe.toml"
        recipe.write_text(RECIPE)
        common = ("--data", data, "--recipe", recipe, "--device", "cpu")
        teacher, student = self.folder / model, self.folder / f"{model}-student"
        for line in (
            ("train", "--model", model, *common, "--output-dir", teacher),
            ("distill", "--teacher", teacher, *common, "--output-dir", student),
        ):
            ran = self.edge_msa(*line)
            assert ran.code == 0, ran.err
        return teacher, student

    def evaluated(self, path: Path, data: Path) -> dict[str, Any]:
        """What `evaluate` measures."""
        ran = self.edge_msa("evaluate", path, "--data", data, "--json")
        assert ran.code == 0, ran.err
        found: dict[str, Any] = json.loads(ran.out.splitlines()[-1])
        return found


@pytest.fixture
def bench(tmp_path: Path, edge_msa: Command) -> Bench:
    return Bench(tmp_path, edge_msa)


NEVER = np.array([0, 1, 0, 0], np.float32)
ODD = {
    "no language": odd_dataset(lacking=dict.fromkeys(SPLITS, ("language",))),
    "vision alone": odd_dataset(lacking=dict.fromkeys(SPLITS, ("language", "audio"))),
    "no vision in validation": odd_dataset(lacking={"valid": ("vision",)}),
    "one sample": odd_dataset(counts=(1, 1, 1)),
    "two samples": odd_dataset(counts=(2, 1, 1)),
    "frames alone": odd_dataset(length=1),
    "large values": odd_dataset(scale=1e29),
    "tiny values": odd_dataset(scale=1e-30),
    "a constant score": odd_dataset(REGRESSION, labels=np.full(1, 7, np.float32)),
    "a constant on the edge": odd_dataset(SIMS, labels=np.zeros(1, np.float32)),
    "emotions that never occur": odd_dataset(EMOTIONS, labels=NEVER),
    "one sample of emotions": odd_dataset(EMOTIONS, counts=(1, 1, 1)),
}


@pytest.mark.parametrize("model", ["hrlf", "almt"])
@pytest.mark.parametrize("name", ODD)
def test_odd_data_is_trained_on_and_measured(name: str, model: str, bench: Bench) -> None:
    data = bench.stored(ODD[name], "odd.npz")
    for run in bench.teach(data, model):
        found = bench.evaluated(run, data)
        for metrics in found["by_subset"].values():
            assert np.isfinite(list(metrics.values())).all()


@pytest.mark.parametrize("model", ["hrlf", "almt"])
@pytest.mark.parametrize("lacks", list(DIMS))
def test_a_modality_that_training_never_had_is_no_part_of_a_model(lacks: str, model: str, bench: Bench) -> None:
    data = bench.stored(odd_dataset(lacking={"train": (lacks,)}), "odd.npz")
    for run in bench.teach(data, model):
        assert set(load_run(run).info.config["dims"]) == set(DIMS) - {lacks}
        found = bench.evaluated(run, data)
        assert sorted(found["skipped_subsets"]) == sorted(
            subset for subset in ("l", "a", "v", "la", "lv", "av", "lav") if lacks[0] in subset
        )
        assert f"{lacks}: ignored, the model was trained without it" in found["notes"]


def test_a_bundle_leaves_it_unread_too(bench: Bench) -> None:
    data = bench.stored(odd_dataset(lacking={"train": ("language",)}), "odd.npz")
    _, student = bench.teach(data, "hrlf")
    bundle = bench.folder / "bundle"
    line = ("export", "--target", "laptop", "--model", student, "--precision", "fp32", "--max-drop", "100")
    assert bench.edge_msa(*line, "--output-dir", bundle).code == 0
    found, own = bench.evaluated(bundle, data), bench.evaluated(student, data)
    assert set(found["by_subset"]) == {"a", "v", "av"}
    assert found["by_subset"]["av"]["mae"] == pytest.approx(own["by_subset"]["av"]["mae"], abs=1e-4)
    assert found["skipped_subsets"] == own["skipped_subsets"]


@pytest.mark.parametrize("model", ["hrlf", "almt"])
def test_ict_mmmo_whose_training_has_no_language(model: str, bench: Bench) -> None:
    if not ICT.exists():
        pytest.skip(f"{ICT} is absent")
    for run in bench.teach(ICT, model):
        found = bench.evaluated(run, ICT)
        assert set(found["by_subset"]) == {"a", "v", "av"}
        assert set(found["skipped_subsets"]) == {"l", "la", "lv", "lav"}


def test_a_run_keeps_its_task_on_its_own_data(bench: Bench) -> None:
    data = bench.stored(odd_dataset(MOSI), "odd.npz")
    line = ("train", "--data", data, "--task", "sims", "--epochs", "1", "--device", "cpu")
    assert bench.edge_msa(*line, "--output-dir", bench.folder / "teacher").code == 0
    assert bench.evaluated(bench.folder / "teacher", data)["task"] == "sims"
    other = bench.stored(dataclasses.replace(odd_dataset(MOSI), name="other"), "other.npz")
    assert bench.evaluated(bench.folder / "teacher", other)["task"] == "mosi"


def test_values_that_no_device_takes_are_refused_before_training(bench: Bench) -> None:
    data = bench.stored(odd_dataset(scale=1e31), "odd.npz")
    ran = bench.edge_msa("train", "--data", data, "--output-dir", bench.folder / "run")
    assert ran.code == 1
    (line,) = ran.err.splitlines()
    assert "within ±1e+30" in line
