from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_msa.data.synthetic import generator
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.data.synthetic.world import FACTORS, GRID, world
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError

SMALL = SyntheticConfig(train=64, valid=32, test=32)


def test_the_default_has_4000_test_samples() -> None:
    assert SyntheticConfig().test >= 4000


def test_a_small_dataset_has_all_parts() -> None:
    dataset = generate_dataset(SMALL)

    assert dataset.task == MOSI
    assert dataset.dims == {"language": 24, "audio": 16, "vision": 12}
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 64, "valid": 32, "test": 32}
    assert dataset.split("test").ids[12] == "synthetic/test/00012"
    ids = [sample for split in dataset.splits.values() for sample in split.ids]
    assert len(set(ids)) == len(ids)


def test_each_sample_is_its_own_group() -> None:
    split = generate_dataset(SMALL).split("train")

    assert len(set(split.groups)) == len(split)


def test_labels_are_on_the_grid_and_arrays_are_float32() -> None:
    split = generate_dataset(SMALL).split("train")

    assert np.abs(split.labels[:, None] - GRID).min(axis=1).max() < 1e-6
    assert split.labels.dtype == np.float32
    for frames in split.modalities.values():
        assert frames.take().dtype == np.float32
        assert np.isfinite(frames.take()).all()


def test_lengths_vary_and_padding_is_at_the_end() -> None:
    for frames in generate_dataset(SMALL).split("train").modalities.values():
        assert len(set(frames.lengths.tolist())) > 1
        assert frames.lengths.max() == frames.length
        assert (np.diff(frames.valid.astype(np.int64), axis=1) <= 0).all()
        assert not frames.take()[~frames.valid].any()


def test_the_same_seed_gives_the_same_samples() -> None:
    first, second = generate_dataset(SMALL, seed=3), generate_dataset(SMALL, seed=3)

    assert first.digest == second.digest
    for name, frames in first.split("valid").modalities.items():
        assert np.array_equal(frames.take(), second.split("valid").modalities[name].take())


def test_another_seed_changes_the_samples_and_not_the_words() -> None:
    first, second = generate_dataset(SMALL), generate_dataset(SMALL, seed=1)
    tables = [dataset.split("test").modalities["language"].table for dataset in (first, second)]

    assert first.digest != second.digest
    assert not np.array_equal(first.split("test").labels, second.split("test").labels)
    assert np.array_equal(np.asarray(tables[0]), np.asarray(tables[1]))


def test_a_split_does_not_depend_on_the_sizes_of_others() -> None:
    first, second = generate_dataset(SMALL), generate_dataset(SyntheticConfig(train=8, valid=8, test=32))

    assert first.digest != second.digest
    assert np.array_equal(first.split("test").labels, second.split("test").labels)


def test_splits_differ_from_each_other() -> None:
    dataset = generate_dataset(SMALL)

    assert not np.array_equal(dataset.split("valid").labels, dataset.split("test").labels)


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match="synthetic valid split must have at least 1 sample, got 0"):
        SyntheticConfig(valid=0)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(DataError, match="must be at least 0, got -1"):
        generate_dataset(SMALL, seed=-1)


def test_token_transitions_are_distributions() -> None:
    assert world().language.joint.sum(axis=(0, 2)) == pytest.approx(1.0)


def test_the_share_of_informative_frames_is_stationary() -> None:
    for frames in (world().audio, world().vision):
        shares = np.array([1.0 - frames.informative, frames.informative])
        assert shares @ frames.transitions == pytest.approx(shares)
        assert shares[1] < 1 / 3


def test_a_word_after_a_negator_means_the_opposite() -> None:
    # The mean sentiment of the words in a state, times the factor of the state, is the expressed sentiment.
    joint = world().language.joint[10:34]
    values = np.linspace(-1.0, 1.0, 24)
    for state, factor in enumerate(FACTORS):
        sentiment = values @ joint[:, state, 0] / joint[:, state, 0].sum(axis=0)
        assert np.sign(sentiment[-1]) == np.sign(factor)


def test_real_lengths_have_the_frames_of_real_rates() -> None:
    long = generate_dataset(replace(SMALL, real_lengths=True))
    short = generate_dataset(SMALL)

    modalities = long.split("train").modalities
    assert {name: frames.length for name, frames in modalities.items()} == {"language": 50, "audio": 375, "vision": 500}
    assert long.dims == short.dims
    assert long.digest != short.digest
    assert long.features != short.features
    for frames in modalities.values():
        assert frames.lengths.min() >= 0.6 * frames.length
        assert not frames.take()[~frames.valid].any()


def test_all_samples_are_drawn_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(SMALL, valid=1, test=5, real_lengths=True)
    monkeypatch.setattr(generator, "_FRAMES_AT_ONCE", 1000)
    split = generate_dataset(config).split("test")

    assert split.modalities["vision"].take().shape == (5, 500, 12)
    assert split.modalities["audio"].take().any(axis=(1, 2)).all()


def test_the_share_of_informative_frames_and_their_runs_are_as_stated() -> None:
    task = world(real_lengths=True)

    assert (task.audio.informative, task.vision.informative) == pytest.approx((0.1, 0.08))
    assert [1 / (1 - chain.stay) for chain in (task.audio, task.vision)] == pytest.approx([4, 5])
    assert np.array_equal(task.audio.basis, world().audio.basis)
    assert np.array_equal(task.language.table, world().language.table)
