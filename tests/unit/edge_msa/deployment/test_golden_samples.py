from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.deployment.golden_samples import choose_golden_samples
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import Subset

DIMS = {"language": 2, "audio": 3}


def dataset_of(lengths: dict[str, list[int]]) -> Dataset:
    """Return validation samples with these numbers of frames per modality."""
    rng = np.random.default_rng(0)
    count = len(next(iter(lengths.values())))
    modalities = {
        name: Frames(
            np.arange(8)[None] < np.array(counts)[:, None], rng.normal(size=(count, 8, DIMS[name])).astype(np.float32)
        )
        for name, counts in lengths.items()
    }
    ids = tuple(str(row) for row in range(count))
    return Dataset("small", MOSI, {"valid": Split(ids, ids, np.zeros(count, np.float32), modalities)}, "small")


def golden_lengths(dataset: Dataset, subset: Subset) -> list[int]:
    """Return the frames per modality of a subset's golden sample."""
    (sample,) = (item for item in choose_golden_samples(dataset, DIMS) if item.subset is subset)
    return [len(frames) for frames in sample.frames.values()]


def test_every_subset_has_a_golden_sample_of_its_modalities() -> None:
    samples = choose_golden_samples(dataset_of({"language": [3, 8], "audio": [4, 5]}), DIMS)
    assert [sample.subset for sample in samples] == [Subset.L, Subset.A, Subset.LA]
    assert all(tuple(sample.frames) == sample.subset.modalities for sample in samples)


def test_golden_sample_is_the_longest_with_the_whole_subset() -> None:
    dataset = dataset_of({"language": [8, 3], "audio": [0, 5]})
    assert golden_lengths(dataset, Subset.L) == [8]
    assert golden_lengths(dataset, Subset.LA) == [3, 5]


def test_golden_sample_may_combine_two_samples() -> None:
    assert golden_lengths(dataset_of({"language": [8, 0], "audio": [0, 5]}), Subset.LA) == [8, 5]


def test_training_samples_are_used_if_validation_lacks_a_modality() -> None:
    valid, train = dataset_of({"language": [4]}), dataset_of({"language": [3, 5], "audio": [2, 7]})
    both = dataclasses.replace(valid, splits={**valid.splits, "train": train.split("valid")})
    assert golden_lengths(both, Subset.LA) == [5, 7]


@pytest.mark.parametrize("lengths", [{"language": [4]}, {"language": [4], "audio": [0]}])
def test_modality_without_any_frame_is_an_error(lengths: dict[str, list[int]]) -> None:
    with pytest.raises(DataError, match="neither the validation nor the training split has it"):
        choose_golden_samples(dataset_of(lengths), DIMS)
