from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI, TASKS
from edge_msa.deployment.export_request import golden_samples, task_spec
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import Subset

DIMS = {"language": 2, "audio": 3}


def toy(lengths: dict[str, list[int]]) -> Dataset:
    """A valid split of samples with so many frames of each modality."""
    rng = np.random.default_rng(0)
    count = len(next(iter(lengths.values())))
    modalities = {
        name: Frames(
            np.arange(8)[None] < np.array(wanted)[:, None], rng.normal(size=(count, 8, DIMS[name])).astype(np.float32)
        )
        for name, wanted in lengths.items()
    }
    ids = tuple(str(row) for row in range(count))
    return Dataset("toy", MOSI, {"valid": Split(ids, ids, np.zeros(count, np.float32), modalities)}, "toy")


def test_every_subset_has_a_golden_sample_of_just_its_modalities() -> None:
    found = golden_samples(toy({"language": [3, 8], "audio": [4, 5]}), DIMS)
    assert [sample.subset for sample in found] == [Subset.L, Subset.A, Subset.LA]
    assert all(tuple(sample.frames) == sample.subset.modalities for sample in found)


def test_a_golden_sample_is_the_longest_that_has_the_whole_subset() -> None:
    found = {
        sample.subset: sample.frames for sample in golden_samples(toy({"language": [8, 3], "audio": [0, 5]}), DIMS)
    }
    assert len(found[Subset.L]["language"]) == 8
    assert [len(frames) for frames in found[Subset.LA].values()] == [3, 5]


def test_modalities_that_never_meet_make_a_golden_sample_of_two() -> None:
    found = {
        sample.subset: sample.frames for sample in golden_samples(toy({"language": [8, 0], "audio": [0, 5]}), DIMS)
    }
    assert [len(frames) for frames in found[Subset.LA].values()] == [8, 5]


@pytest.mark.parametrize("lengths", [{"language": [4]}, {"language": [4], "audio": [0]}])
def test_a_modality_that_nothing_has_is_told(lengths: dict[str, list[int]]) -> None:
    with pytest.raises(DataError, match="neither valid nor train has audio"):
        golden_samples(toy(lengths), DIMS)


def test_golden_samples_are_training_ones_where_validation_lacks_a_modality() -> None:
    valid, train = toy({"language": [4]}), toy({"language": [3, 5], "audio": [2, 7]})
    both = dataclasses.replace(valid, splits={**valid.splits, "train": train.split("valid")})
    found = {sample.subset: sample.frames for sample in golden_samples(both, DIMS)}
    assert [len(frames) for frames in found[Subset.LA].values()] == [5, 7]


@pytest.mark.parametrize("kind", list(TASKS))
def test_a_device_is_told_what_the_numbers_mean(kind: str) -> None:
    task = TASKS[kind]
    spec = task_spec(task)
    assert (spec.kind, spec.outputs, spec.labels, spec.edges) == (kind, task.outputs, task.labels, task.edges)
