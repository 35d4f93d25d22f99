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
from edge_msa_runtime.cascade.routing import measure_evidence, prediction_values
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session

Numbers = NDArray[np.float64]

_TIMED_SAMPLES = 200
_ROUNDS = 3


@dataclass(frozen=True)
class MemberScores:
    """Predictions of N labeled samples from one subset of modalities, by K members."""

    values: Numbers
    """(K, N, V): scores within the scale, V = 1, or probabilities."""
    labels: FloatArray
    """(N,), or (N, V) for emotions."""
    evidence: Numbers
    """(N,): see `edge_msa_runtime.cascade.routing`."""
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
    return MemberScores(np.array(values), split.labels, _evidence(sessions[0], split, subset, typical), split.groups)


def measure_costs(sessions: Sequence[Session], split: Split, subset: Subset) -> tuple[float, ...]:
    """Return the mean time of a prediction of each member, as a share of the last one's.

    The members predict each sample one after the other, as in a cascade. Of three times of a sample, the median counts.
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
    means = np.median(seconds, axis=0).mean(axis=0)
    return tuple(float(value) for value in means / means[-1])


def _evidence(session: Session, split: Split, subset: Subset, typical: dict[str, float]) -> Numbers:
    stated = session_intervals(session)
    if stated is None:
        return np.ones(len(split))
    counts = stated.count_frames(split)
    present = [
        [name for name in subset.modalities if name in counts and counts[name][row]] for row in range(len(split))
    ]
    return np.array(
        [
            measure_evidence(Subset.of(names), {name: int(counts[name][row]) for name in names}, typical)
            for row, names in enumerate(present)
        ]
    )
