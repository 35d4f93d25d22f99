"""The predictions of a cascade's members on a split, and what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.console import report_progress
from edge_msa.data.dataset import FloatArray, Split
from edge_msa.evaluation.predictors import session_inputs, session_intervals
from edge_msa_runtime.cascade.routing import Extent, measure_extent, prediction_values, relative_time
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session

Numbers = NDArray[np.float64]

_TIMED_SAMPLES = 200
_ROUNDS = 3
_MIN_RANGE = 0.1  # of sizes, for their effect on times to be measured
_DECIMALS = 5


@dataclass(frozen=True)
class MemberScores:
    """Predictions of N labeled samples from one subset of modalities, by K members."""

    values: Numbers
    """(K, N, V): scores within the scale, V = 1, or probabilities."""
    labels: FloatArray
    """(N,), or (N, V) for emotions."""
    evidence: Numbers
    """(N,): see `edge_msa_runtime.cascade.routing.Extent`."""
    sizes: Numbers
    """(N,): likewise."""
    groups: tuple[str, ...]
    """Video of each sample, (N,)."""


def typical_frames(session: Session, split: Split) -> dict[str, float]:
    """Return the median number of frames of a sample, by modality, as the first member of a cascade counts them.

    It is empty if the bundle states no intervals: it does not count frames then.
    """
    stated = session_intervals(session)
    if stated is None:
        return {}
    counts = stated.count_frames(split)
    return {name: float(np.median(item[item > 0])) for name, item in counts.items() if item.any()}


def collect_member_scores(
    sessions: Sequence[Session], split: Split, subset: Subset, typical: dict[str, float]
) -> MemberScores:
    """Predict the samples of a split from a subset of their modalities, with every member.

    Args:
        sessions: The members.
        split: Labeled samples that have at least one modality of the subset.
        subset: The modalities.
        typical: What `typical_frames` returns.
    """
    values: list[list[tuple[float, ...]]] = [[] for _ in sessions]
    for row in range(len(split)):
        report_progress("cascade", row, len(split), f"Predicting validation samples from {subset.value}")
        inputs = session_inputs(sessions[0], split, row, subset)
        for item, session in zip(values, sessions, strict=True):
            item.append(prediction_values(session.predict(**inputs)))
    extents = _extents(sessions[0], split, subset, typical)
    evidence, sizes = np.array([item.evidence for item in extents]), np.array([item.size for item in extents])
    return MemberScores(np.array(values), split.labels, evidence, sizes, split.groups)


@dataclass(frozen=True)
class Costs:
    """The times of K members."""

    means: tuple[float, ...]
    """Mean time of a prediction, as a share of the last member's."""
    growth: tuple[float, ...]
    """How the time grows with the size of the input, see `edge_msa_runtime.cascade.manifest.Route`."""

    def per_sample(self, sizes: Numbers) -> Numbers:
        """Return the time of each member for samples of some sizes, (K, N), with the means of `means`."""
        times = np.array([[relative_time(growth, size) for size in sizes] for growth in self.growth])
        costs: Numbers = times / times.mean(axis=1, keepdims=True) * np.array(self.means)[:, None]
        return costs


def measure_costs(sessions: Sequence[Session], split: Split, subset: Subset, sizes: Numbers) -> Costs:
    """Measure the time of a prediction of each member, as a share of the last one's mean.

    The members predict each sample one after the other, as in a cascade. Of three times of a sample, the smallest
    counts: other programs prolonged the others.

    Args:
        sessions: The members.
        split: The samples.
        subset: The modalities to predict from.
        sizes: Size of each sample, (N,).
    """
    rows = np.linspace(0, len(split) - 1, min(len(split), _TIMED_SAMPLES)).astype(int)
    samples = [session_inputs(sessions[0], split, int(row), subset) for row in rows]
    seconds = np.empty((_ROUNDS, len(samples), len(sessions)))
    for number in range(_ROUNDS):
        for row, inputs in enumerate(samples):
            for member, session in enumerate(sessions):
                started = time.perf_counter()
                session.predict(**inputs)
                seconds[number, row, member] = time.perf_counter() - started
    shortest = seconds.min(axis=0)
    means = shortest.mean(axis=0)
    growth = tuple(_fit_growth(sizes[rows], times) for times in shortest.T)
    return Costs(tuple(round(float(value), _DECIMALS) for value in means / means[-1]), growth)


def _fit_growth(sizes: Numbers, times: Numbers) -> float:
    """Return how times grow with the size, relative to the time of size 1; 0 if they do not."""
    if np.ptp(sizes) < _MIN_RANGE:
        return 0.0
    slope, base = np.polyfit(sizes, times, 1)
    return round(max(0.0, float(slope / (base + slope))), _DECIMALS) if base + slope > 0 else 0.0


def _extents(session: Session, split: Split, subset: Subset, typical: dict[str, float]) -> list[Extent]:
    stated = session_intervals(session)
    if stated is None:
        return [Extent()] * len(split)
    counts = stated.count_frames(split)
    present = [
        [name for name in subset.modalities if name in counts and counts[name][row]] for row in range(len(split))
    ]
    return [
        measure_extent(Subset.of(names), {name: int(counts[name][row]) for name in names}, typical)
        for row, names in enumerate(present)
    ]
