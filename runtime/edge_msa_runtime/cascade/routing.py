"""When a cascade asks its next member, and what it answers. The same code fits thresholds and runs on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction

if TYPE_CHECKING:
    from edge_msa_runtime.cascade.manifest import Route

Counts = Mapping[str, int]
"""Number of valid frames by modality."""
Ask = Callable[[int], Tuple[Prediction, Optional[Counts]]]
"""Returns the prediction of a member, given its index, and its counts; None if the bundle does not count frames."""


MIN_RELATIVE_TIME = 0.1


class Answer(NamedTuple):
    """The answer of a cascade after a member was asked.

    Attributes:
        member: index of the member.
        values: the score within its scale, or the probabilities.
        spread: estimated difference of the answer, as in `cascade.manifest.Stage`.
        asks_next: whether the next member is asked.
    """

    member: int
    values: tuple[float, ...]
    spread: float
    asks_next: bool


class Extent(NamedTuple):
    """How much there is to predict from.

    Attributes:
        evidence: number of valid frames as a share of the typical number, at most 1, averaged over the modalities.
        size: the same, but not at most 1.
    """

    evidence: float = 1.0
    size: float = 1.0


def take_answer(route: Route, member: int, values: Sequence[float], before: Answer | None, extent: Extent) -> Answer:
    """Return the answer after a member was asked.

    Args:
        route: the route.
        member: index of the member.
        values: `prediction_values` of its prediction.
        before: the answer before; None for the first member.
        extent: how much there is to predict from.
    """
    stage = route.stages[member]
    answer = blend_values(values, before, stage.share)
    before_values = None if before is None else before.values
    spread = stage.spread(answer_features(answer, values, before_values, extent.evidence))
    asks_next = False
    if stage.threshold is not None:
        asks_next = spread > stage.threshold * relative_time(route.growth[member + 1], extent.size)
    return Answer(member, answer, spread, asks_next)


def relative_time(growth: float, size: float) -> float:
    """Return the time of a member for an input of some size, as a multiple of that for the typical size."""
    return max(MIN_RELATIVE_TIME, 1.0 + growth * (size - 1.0))


def blend_values(values: Sequence[float], before: Answer | None, share: float) -> tuple[float, ...]:
    """Return the values of a member and those of the answer before, weighted by `share` and the rest."""
    if before is None or share == 1.0:
        return tuple(values)
    return tuple(share * new + (1.0 - share) * old for new, old in zip(values, before.values))


def answer_features(
    answer: Sequence[float], values: Sequence[float], before: Sequence[float] | None, evidence: float
) -> tuple[float, float, float]:
    """Return the features of an estimate, see `cascade.manifest.FEATURES`.

    - The strength is the distance of a score from 0, or the largest probability.
    - The evidence is the number of valid frames as a share of the typical number.
    - The disagreement is the mean distance of the member's values from the answer before; 0 for the first member.

    Args:
        answer: the answer.
        values: the values of the member that was asked last.
        before: the answer before that.
        evidence: the evidence.
    """
    strength = abs(answer[0]) if len(answer) == 1 else max(answer)
    return strength, evidence, 0.0 if before is None else mean_distance(values, before)


def mean_distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the mean distance of the values of two answers."""
    total = 0.0
    for one, other in zip(first, second):
        total += abs(one - other)
    return total / len(first)


def prediction_values(prediction: Prediction) -> tuple[float, ...]:
    """Return the score of a prediction, or its probabilities."""
    return tuple(prediction.probabilities.values()) if prediction.score is None else (prediction.score,)


def measure_extent(subset: Subset, counts: Mapping[str, int] | None, typical: Mapping[str, float]) -> Extent:
    """Return how much there is to predict from.

    Args:
        subset: the modalities of the prediction.
        counts: number of valid frames of each modality; None if the bundle does not count them: they are complete.
        typical: typical number of frames by modality. A modality that is not in it counts as complete.
    """
    if counts is None:
        return Extent()
    names = subset.modalities
    shares = [counts[name] / typical[name] if name in typical else 1.0 for name in names]
    return Extent(sum(min(1.0, share) for share in shares) / len(shares), sum(shares) / len(shares))
