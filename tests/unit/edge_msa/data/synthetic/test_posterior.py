from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, Frames, Split
from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.data.synthetic.posterior import (
    combine,
    frames_likelihood,
    language_likelihood,
    log_likelihoods,
)
from edge_msa.data.synthetic.world import GRID, Array, FrameChain, world
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES, Subset

SMALL = SyntheticConfig(train=64, valid=32, test=3000)


@cache
def drawn() -> Split:
    return generate_dataset(SMALL, seed=11).split("test")


def half_dropped(split: Split) -> dict[str, BoolArray]:
    rng = np.random.default_rng(5)
    return {name: rng.random(frames.valid.shape) < 0.5 for name, frames in split.modalities.items()}


@cache
def drawn_likelihoods(dropped: bool) -> dict[str, Array]:
    return log_likelihoods(drawn(), valid=half_dropped(drawn()) if dropped else None)


def posterior(split: Split, subset: Subset, valid: dict[str, BoolArray] | None = None) -> Array:
    return combine(log_likelihoods(split, subset.modalities, valid), subset)


def relative(log: Array) -> Array:
    """Remove the unknown constant of each sample from log likelihoods (N, manners, labels)."""
    return log - log[:, :1, :1]


def token_brute_force(ids: NDArray[np.int64], seen: BoolArray) -> Array:
    """Return p(tokens | expressed sentiment), summed over all paths of states and all tokens that are not seen."""
    joint = world().language.joint
    vocabulary, states = joint.shape[:2]
    total = np.zeros(joint.shape[-1])
    for path in product(range(states), repeat=len(ids)):
        weight = np.ones_like(total)
        for before, after, token, visible in zip((0, *path), path, ids, seen, strict=False):
            choices = [token] if visible else range(vocabulary)
            weight = weight * sum(joint[choice, before, after] for choice in choices)
        total += weight
    return total


def frame_brute_force(chain: FrameChain, frames: Array, seen: BoolArray, label: int, sign: int) -> float:
    """Return p(frames | label, manner) in the coordinates of the frames, summed over all paths of states."""
    width = len(chain.basis)
    variance = np.full(width, chain.hum**2)
    variance[:3] = 1.0
    means = np.zeros((2, width))
    means[1, :2] = chain.marker, chain.curve[label]
    means[:, 2] = sign * chain.manner
    variances = np.stack([variance, variance])
    variances[0, 1] += chain.clutter**2
    total = 0.0
    for path in product((0, 1), repeat=len(frames)):
        weight = chain.informative if path[0] else 1 - chain.informative
        for before, after in pairwise(path):
            weight *= chain.transitions[before, after]
        for state, frame, visible in zip(path, frames, seen, strict=True):
            if visible:
                precision = chain.basis.T @ np.diag(1 / variances[state]) @ chain.basis
                gap = frame - means[state] @ chain.basis
                weight *= np.exp(-0.5 * gap @ precision @ gap) / np.sqrt(np.prod(2 * np.pi * variances[state]))
        total += weight
    return float(total)


@pytest.mark.parametrize("seen", [[True] * 5, [True, False, True, False, True], [False, True, True, True, False]])
def test_language_likelihood_equals_the_sum_over_all_paths(seen: list[bool]) -> None:
    language = world().language
    mask = np.array([seen])
    for ids in ([0, 34, 38, 20, 3], [36, 12, 5, 37, 31]):
        expected = np.log(token_brute_force(np.array(ids), mask[0]))
        result = language_likelihood(language, np.array([ids]), mask)[0]
        assert result == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["audio", "vision"])
@pytest.mark.parametrize("seen", [[True] * 5, [True, False, True, True, False]])
def test_frames_likelihood_equals_the_sum_over_all_paths(name: str, seen: list[bool]) -> None:
    chain = getattr(world(), name)
    values = drawn().modalities[name].take(slice(0, 3))[:, :5]
    mask = np.tile(seen, (3, 1))
    result = relative(frames_likelihood(chain, values, mask)[..., ::15])
    expected = np.log(
        [
            [[frame_brute_force(chain, frames, mask[0], label, sign) for label in range(0, 61, 15)] for sign in (-1, 1)]
            for frames in values.astype(np.float64)
        ]
    )
    assert result == pytest.approx(relative(expected), abs=1e-6)


@pytest.mark.parametrize("subset", list(Subset))
@pytest.mark.parametrize("dropped", [False, True])
def test_the_posterior_is_calibrated(subset: Subset, dropped: bool) -> None:
    # The quantile of the true label in its posterior is uniform if and only if the posterior is correct.
    split = drawn()
    probability = combine(drawn_likelihoods(dropped), subset)
    label = np.abs(split.labels[:, None] - GRID).argmin(axis=1)[:, None]
    below = np.take_along_axis(np.cumsum(probability, axis=1), label, axis=1)[:, 0]
    place = below - np.random.default_rng(7).random(len(split)) * np.take_along_axis(probability, label, axis=1)[:, 0]

    gap = np.abs(np.sort(place) - (np.arange(len(split)) + 0.5) / len(split)).max()
    assert gap < 1.95 / np.sqrt(len(split))  # Kolmogorov and Smirnov, at 0.1 %
    assert np.mean(np.abs(place - 0.5) < 0.4) == pytest.approx(0.8, abs=0.025)
    residual = split.labels - probability @ GRID
    assert abs(residual.mean()) < 3.5 * residual.std() / np.sqrt(len(split))


def test_rows_are_distributions() -> None:
    probability = posterior(drawn(), Subset.LAV)

    assert probability.shape == (3000, 61)
    assert probability.dtype == np.float64
    assert probability.sum(axis=1) == pytest.approx(1.0)
    assert probability.min() >= 0


def test_without_frames_the_posterior_is_the_prior() -> None:
    split = drawn().select(np.arange(4))
    nothing = {name: np.zeros_like(frames.valid) for name, frames in split.modalities.items()}

    assert posterior(split, Subset.LAV, nothing)[2] == pytest.approx(world().prior)


def test_an_absent_modality_has_no_influence() -> None:
    split = drawn().select(np.arange(4))
    less = replace(split, modalities={"audio": split.modalities["audio"]})

    assert posterior(less, Subset.LAV) == pytest.approx(posterior(split, Subset.A))


@pytest.mark.parametrize("name", MODALITIES)
def test_invalid_frames_have_no_influence(name: str) -> None:
    split = drawn().select(np.arange(8))
    frames = split.modalities[name]
    if frames.ids is not None:
        other = replace(frames, ids=np.where(frames.valid, frames.ids, 30))
    else:
        assert frames.values is not None
        other = replace(frames, values=np.where(frames.valid[..., None], frames.values, np.float32(9)))
    changed = replace(split, modalities={**split.modalities, name: other})

    assert np.array_equal(posterior(changed, Subset.LAV), posterior(split, Subset.LAV))


def test_a_mask_equals_frames_marked_as_not_valid() -> None:
    split = drawn().select(np.arange(600))  # more than one chunk
    masks = half_dropped(split)
    modalities = {name: replace(frames, valid=frames.valid & masks[name]) for name, frames in split.modalities.items()}

    assert np.array_equal(
        posterior(split, Subset.LAV, masks), posterior(replace(split, modalities=modalities), Subset.LAV)
    )


def test_data_of_another_task_is_refused() -> None:
    split = drawn().select(np.arange(2))
    frames = Frames(np.ones((2, 3), dtype=np.bool_), values=np.zeros((2, 3, 74), dtype=np.float32))

    with pytest.raises(DataError, match="audio is not synthetic"):
        posterior(replace(split, modalities={"audio": frames}), Subset.A)


def test_a_mask_of_another_shape_is_refused() -> None:
    split = drawn().select(np.arange(2))

    with pytest.raises(DataError, match=r"mask of vision must have the shape .* got \(2, 3\)"):
        posterior(split, Subset.V, {"vision": np.ones((2, 3), dtype=np.bool_)})


def test_several_masks_per_sample_are_computed_at_once() -> None:
    split = drawn().select(np.arange(5))
    rows = np.array([3, 3, 0, 4, 3])
    masks = half_dropped(split.select(rows))
    several = log_likelihoods(split, valid=masks, rows=rows)
    single = log_likelihoods(split.select(rows), valid=masks)
    assert all(several[name] == pytest.approx(single[name]) for name in MODALITIES)
    with pytest.raises(DataError, match=r"shape \(5, 14\)"):
        log_likelihoods(split, valid={"language": masks["language"][:4]}, rows=rows)
