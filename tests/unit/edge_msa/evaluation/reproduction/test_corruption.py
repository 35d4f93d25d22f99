from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_msa.data.dataset import Frames, Split
from edge_msa.evaluation.reproduction.corruption import DROP_SHARES, NOISES, add_noise, drop_frames
from edge_msa_runtime.modalities import MODALITIES

SAMPLES, LENGTH, WIDTH = 30, 20, 3
SPREAD = {name: np.full(WIDTH, 2.0, np.float32) for name in MODALITIES}


def split_of(*modalities: str) -> Split:
    """Return streams with padding at the end and gaps, and one sample without any frame."""
    generator = np.random.default_rng(0)
    frames = {}
    for name in modalities or MODALITIES:
        valid = (np.arange(LENGTH) < generator.integers(5, LENGTH + 1, (SAMPLES, 1))) & (
            generator.random((SAMPLES, LENGTH)) < 0.9
        )
        valid[0] = False
        values = generator.normal(5, 2, (SAMPLES, LENGTH, WIDTH)).astype(np.float32) * valid[..., None]
        frames[name] = Frames(valid, values)
    ids = tuple(map(str, range(SAMPLES)))
    return Split(ids, ids, np.zeros(SAMPLES, np.float32), frames)


def test_exactly_the_share_of_valid_frames_is_dropped() -> None:
    split = split_of()
    for share in DROP_SHARES:
        dropped = drop_frames(split, share, seed=1)
        for name, frames in split.modalities.items():
            left = dropped.modalities[name]
            np.testing.assert_array_equal(left.lengths, frames.lengths - np.round(share * frames.lengths))
            assert not (left.valid & ~frames.valid).any()


def test_share_1_drops_all_frames_and_share_0_none() -> None:
    split = split_of()
    for name, frames in split.modalities.items():
        assert not drop_frames(split, 1.0, seed=1).modalities[name].valid.any()
        np.testing.assert_array_equal(drop_frames(split, 0.0, seed=1).modalities[name].valid, frames.valid)


def test_a_larger_share_drops_the_same_frames_and_more() -> None:
    split = split_of()
    masks = [drop_frames(split, share, seed=3).modalities["audio"].valid for share in DROP_SHARES]
    for more, fewer in itertools.pairwise(masks):
        assert not (fewer & ~more).any()


def test_draws_depend_on_seed_and_modality() -> None:
    split = split_of()
    first, again, other = (drop_frames(split, 0.5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.modalities["audio"].valid, again.modalities["audio"].valid)
    assert (first.modalities["audio"].valid != other.modalities["audio"].valid).any()
    alike = dict.fromkeys(MODALITIES, split.modalities["audio"])
    dropped = drop_frames(Split(split.ids, split.groups, split.labels, alike), 0.5, seed=1)
    assert (dropped.modalities["audio"].valid != dropped.modalities["vision"].valid).any()


@pytest.mark.parametrize("kind", NOISES)
def test_noise_changes_valid_frames_and_grows_with_grade(kind: str) -> None:
    split = split_of()
    changes = []
    for grade in NOISES[kind].grades:
        noisy = add_noise(split, kind, grade, SPREAD, seed=4)
        total = 0.0
        for name, frames in split.modalities.items():
            result = noisy.modalities[name]
            np.testing.assert_array_equal(result.valid, frames.valid)
            change = np.abs(result.take() - frames.take())
            assert not change[~frames.valid].any()
            assert change.any() == (name in NOISES[kind].modalities)
            total += float(np.square(change).sum())
        changes.append(total)
    assert changes == sorted(changes)
    assert changes[0] < changes[-1]


def test_additive_noise_has_the_stated_strength() -> None:
    split = split_of()
    frames = split.modalities["audio"]
    change = (add_noise(split, "audio-noise", 0.5, SPREAD, seed=0).modalities["audio"].take() - frames.take())[
        frames.valid
    ]
    assert change.std() == pytest.approx(0.5 * 2.0, rel=0.1)


def test_smoothing_averages_nearby_valid_frames() -> None:
    split = split_of("vision")
    frames = split.modalities["vision"]
    smooth = add_noise(split, "vision-blur", 2.0, SPREAD, seed=0).modalities["vision"].take()
    values = frames.take()
    for row in range(SAMPLES):
        for place in np.flatnonzero(frames.valid[row]):
            around = slice(max(place - 2, 0), place + 3)
            expected = values[row, around][frames.valid[row, around]].mean(axis=0)
            np.testing.assert_allclose(smooth[row, place], expected, rtol=1e-5)


def test_occlusion_hides_one_stretch() -> None:
    split = split_of("vision")
    frames = split.modalities["vision"]
    hidden = add_noise(split, "vision-occlusion", 0.4, SPREAD, seed=0).modalities["vision"].take()
    for row in range(SAMPLES):
        covered = (hidden[row][frames.valid[row]] == 0).all(axis=1)
        assert covered.sum() == np.round(0.4 * frames.lengths[row])
        assert np.abs(np.diff(covered.astype(int))).sum() <= 2


def test_noise_does_not_change_an_embedding_table() -> None:
    table = np.random.default_rng(1).normal(size=(7, WIDTH)).astype(np.float32)
    ids = np.tile(np.arange(5), (4, 1))
    words = Frames(np.ones((4, 5), np.bool_), ids=ids, table=table)
    names = tuple("abcd")
    before = table.copy()
    noisy = add_noise(
        Split(names, names, np.zeros(4, np.float32), {"language": words}), "feature-noise", 1.0, SPREAD, seed=0
    )
    result = noisy.modalities["language"].take()
    assert not np.allclose(result[0], result[1])
    np.testing.assert_array_equal(table, before)


def test_a_split_without_the_modality_is_unchanged() -> None:
    split = split_of("language")
    noisy = add_noise(split, "vision-blur", 3.0, SPREAD, seed=0)
    assert noisy.modalities["language"] is split.modalities["language"]
