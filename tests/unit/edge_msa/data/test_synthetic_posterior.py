from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, Frames, Split
from edge_msa.data.synthetic.generator import SyntheticConfig, synthetic_dataset
from edge_msa.data.synthetic.posterior import (
    combine,
    expression_likelihood,
    language_likelihood,
    likelihoods,
    posterior,
)
from edge_msa.data.synthetic.world import GRID, Array, Expression, world
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES, Subset

SMALL = SyntheticConfig(train=64, valid=32, test=3000)


@cache
def drawn() -> Split:
    return synthetic_dataset(SMALL, seed=11).split("test")


def half_dropped(split: Split) -> dict[str, BoolArray]:
    rng = np.random.default_rng(5)
    return {name: rng.random(frames.valid.shape) < 0.5 for name, frames in split.modalities.items()}


@cache
def drawn_likelihoods(dropped: bool) -> dict[str, Array]:
    return likelihoods(drawn(), valid=half_dropped(drawn()) if dropped else None)


def relative(log: Array) -> Array:
    """(N, manners, labels) without the constant a sample that likelihoods are known up to."""
    return log - log[:, :1, :1]


def token_brute_force(ids: NDArray[np.int64], seen: BoolArray) -> Array:
    """p(tokens | what is said), summed over every path of states and every token that is not seen."""
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


def frame_brute_force(expression: Expression, frames: Array, seen: BoolArray, label: int, sign: int) -> float:
    """p(frames | label, manner) in the frames' own coordinates, summed over all ways to be informative."""
    width = len(expression.basis)
    spread = np.full(width, expression.hum**2)
    spread[:3] = 1.0
    means = np.zeros((2, width))
    means[1, :2] = expression.marker, expression.curve[label]
    means[:, 2] = sign * expression.manner
    spreads = np.stack([spread, spread])
    spreads[0, 1] += expression.clutter**2
    total = 0.0
    for path in product((0, 1), repeat=len(frames)):
        weight = expression.informative if path[0] else 1 - expression.informative
        for before, after in pairwise(path):
            weight *= expression.chain[before, after]
        for state, frame, visible in zip(path, frames, seen, strict=True):
            if visible:
                precision = expression.basis.T @ np.diag(1 / spreads[state]) @ expression.basis
                gap = frame - means[state] @ expression.basis
                weight *= np.exp(-0.5 * gap @ precision @ gap) / np.sqrt(np.prod(2 * np.pi * spreads[state]))
        total += weight
    return float(total)


@pytest.mark.parametrize("seen", [[True] * 5, [True, False, True, False, True], [False, True, True, True, False]])
def test_language_equals_the_sum_over_all_paths(seen: list[bool]) -> None:
    language = world().language
    mask = np.array([seen])
    for ids in ([0, 34, 38, 20, 3], [36, 12, 5, 37, 31]):
        expected = np.log(token_brute_force(np.array(ids), mask[0]))
        found = language_likelihood(language, np.array([ids]), mask)[0]
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["audio", "vision"])
@pytest.mark.parametrize("seen", [[True] * 5, [True, False, True, True, False]])
def test_expression_equals_the_sum_over_all_paths(name: str, seen: list[bool]) -> None:
    expression = getattr(world(), name)
    values = drawn().modalities[name].take(slice(0, 3))[:, :5]
    mask = np.tile(seen, (3, 1))
    found = relative(expression_likelihood(expression, values, mask)[..., ::15])
    expected = np.log(
        [
            [
                [frame_brute_force(expression, frames, mask[0], label, sign) for label in range(0, 61, 15)]
                for sign in (-1, 1)
            ]
            for frames in values.astype(np.float64)
        ]
    )
    assert found == pytest.approx(relative(expected), abs=1e-6)


@pytest.mark.parametrize("subset", list(Subset))
@pytest.mark.parametrize("dropped", [False, True])
def test_the_posterior_is_calibrated(subset: Subset, dropped: bool) -> None:
    # The place of the true label within its posterior is uniform if, and only if, the posterior is the right one.
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


def test_nothing_seen_leaves_the_prior() -> None:
    split = drawn().select(np.arange(4))
    nothing = {name: np.zeros_like(frames.valid) for name, frames in split.modalities.items()}

    assert posterior(split, Subset.LAV, nothing)[2] == pytest.approx(world().prior)


def test_a_modality_that_is_not_there_is_not_seen() -> None:
    split = drawn().select(np.arange(4))
    less = replace(split, modalities={"audio": split.modalities["audio"]})

    assert posterior(less, Subset.LAV) == pytest.approx(posterior(split, Subset.A))


@pytest.mark.parametrize("name", MODALITIES)
def test_what_is_not_valid_does_not_count(name: str) -> None:
    split = drawn().select(np.arange(8))
    frames = split.modalities[name]
    if frames.ids is not None:
        other = replace(frames, ids=np.where(frames.valid, frames.ids, 30))
    else:
        assert frames.values is not None
        other = replace(frames, values=np.where(frames.valid[..., None], frames.values, np.float32(9)))
    changed = replace(split, modalities={**split.modalities, name: other})

    assert np.array_equal(posterior(changed, Subset.LAV), posterior(split, Subset.LAV))


def test_a_mask_and_frames_marked_missing_are_the_same() -> None:
    split = drawn().select(np.arange(600))  # more than one chunk
    masks = half_dropped(split)
    modalities = {name: replace(frames, valid=frames.valid & masks[name]) for name, frames in split.modalities.items()}

    assert np.array_equal(
        posterior(split, Subset.LAV, masks), posterior(replace(split, modalities=modalities), Subset.LAV)
    )


def test_data_of_another_task_is_refused() -> None:
    split = drawn().select(np.arange(2))
    frames = Frames(np.ones((2, 3), dtype=np.bool_), values=np.zeros((2, 3, 74), dtype=np.float32))

    with pytest.raises(DataError, match="audio is not the synthetic task's"):
        posterior(replace(split, modalities={"audio": frames}), Subset.A)


def test_a_mask_of_another_shape_is_refused() -> None:
    split = drawn().select(np.arange(2))

    with pytest.raises(DataError, match=r"mask of vision has shape \(2, 3\)"):
        posterior(split, Subset.V, {"vision": np.ones((2, 3), dtype=np.bool_)})
