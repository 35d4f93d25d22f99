"""How good prediction intervals or sets are on a split: coverage, width, and what is left if the unsure abstain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.intervals.calibrate import improbability, measure_evidence
from edge_msa.evaluation.metrics.probabilities import log_softmax
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_runtime.classes import PredictionSets
from edge_msa_runtime.conformal import Calibration, Thresholds
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.modalities import Subset

COMPLETE, MISSING_FRAMES, WITH_CONTEXT = "complete", "missing frames", "with context"
"""Conditions under which intervals are measured."""
_TITLES = {
    COMPLETE: "complete utterances",
    MISSING_FRAMES: "utterances with missing frames",
    WITH_CONTEXT: "complete utterances, with scores that the conversation memory has adjusted",
}
_SHOWN = (0.8, 0.9)
"""Coverages in the printed table."""
_NORMAL = 1.96
"""Quantile of the normal distribution for 95 %."""

Counts = Mapping[str, NDArray[np.int64]]
"""Number of valid frames of each sample, (N,), by modality."""
Quality = Mapping[str, Mapping[str, tuple["CoverageLevel", ...]]]
"""By condition and subset, one level per stated coverage."""


@dataclass(frozen=True)
class StatedIntervals:
    """The intervals, or prediction sets, that a bundle states for one backend at one precision."""

    intervals: Intervals | PredictionSets
    """All intervals of the bundle, or all sets."""
    backend: str
    """Name of the backend."""
    precision: str
    """The precision."""
    count_frames: Callable[[Split], Counts]
    """Returns the number of frames that a prediction uses, by modality."""
    takes_text: bool = False
    """Whether the bundle takes the texts of a split, and not its language frames."""


@dataclass(frozen=True)
class CoverageLevel:
    """The intervals, or prediction sets, of one stated coverage, on the samples of one subset."""

    coverage: float
    """The stated coverage."""
    observed: float
    """Share of the labels in their intervals or sets."""
    low: float
    """Lower end of the 95 % interval of `observed`, which covers the choice of videos."""
    high: float
    """Its upper end."""
    width: float | None
    """Mean width of the intervals. None if one has no end. Mean number of classes of the sets."""
    answered: float | None
    """Share of the predictions whose interval has values on one side of zero only, or whose set has one class. None if
    scores have no sign."""
    risk: float | None
    """Share of wrong signs among those of them whose label is not zero, or of wrong classes among them. None if there
    is none."""
    risk_of_all: float | None
    """The same among all predictions instead of those that are answered."""


def measure_quality(
    task: Task,
    split: Split,
    rows: NDArray[np.int64],
    scores: FloatArray,
    subset: Subset,
    stated: StatedIntervals,
    *,
    with_context: BoolArray | None = None,
) -> tuple[CoverageLevel, ...]:
    """Measure the intervals or sets of predictions from one subset, at each coverage that the bundle states.

    Args:
        task: The task.
        split: The split, with the frames that the predictions used.
        rows: The predicted samples, (n,).
        scores: Their scores, (n,), or logits, (n, K), divided by the temperature.
        subset: The modalities that the model could use. A sample that lacks some of them has the interval of the
            others.
        stated: What the bundle states.
        with_context: (n,): the scores that the conversation memory has adjusted. None: it has adjusted none.
    """
    part = split.select(rows)
    intervals = stated.intervals
    counts = stated.count_frames(part)
    if isinstance(intervals, PredictionSets):
        thresholds = intervals.thresholds.get(stated.backend, {}).get(stated.precision, {})
        return _measure_sets(intervals, scores, part, _sample_widths(counts, subset, intervals, thresholds))
    table = intervals.half_widths.get(stated.backend, {}).get(stated.precision, {})
    widths = _sample_widths(counts, subset, intervals, table)
    if with_context is not None:
        own = intervals.half_widths_with_context.get(stated.backend, {}).get(stated.precision, {})
        adjusted = _sample_widths(counts, subset, intervals, {**table, **own})
        widths = np.where(with_context[:, None], adjusted, widths)
    _, videos = np.unique(part.groups, return_inverse=True)
    middle = np.clip(scores.astype(np.float64), task.low, task.high)
    levels = []
    for index, coverage in enumerate(intervals.coverages):
        low = np.clip(middle - widths[:, index], task.low, task.high)
        high = np.clip(middle + widths[:, index], task.low, task.high)
        covered = (low <= part.labels) & (part.labels <= high)
        width = float((high - low).mean())
        bounds = share_interval(covered, videos)
        sign = _measure_sign(middle, part.labels, (low >= 0) | (high <= 0)) if has_sign(task) else (None, None, None)
        observed = float(covered.mean())
        levels.append(CoverageLevel(coverage, observed, *bounds, width if np.isfinite(width) else None, *sign))
    return tuple(levels)


def _measure_sets(
    sets: PredictionSets, logits: FloatArray, split: Split, thresholds: NDArray[np.float64]
) -> tuple[CoverageLevel, ...]:
    """Return the level of each coverage.

    Args:
        sets: The sets of the bundle.
        logits: (n, K), divided by the temperature.
        split: The samples, with labels.
        thresholds: (n, C): the threshold of each sample and coverage.
    """
    _, videos = np.unique(split.groups, return_inverse=True)
    others = 1 - np.sort(np.exp(log_softmax(logits)), axis=1)[:, :-1]
    own = improbability(logits, split.labels)
    is_wrong = np.argmax(logits, axis=1) != split.labels.astype(np.int64)
    levels = []
    for index, coverage in enumerate(sets.coverages):
        limit = thresholds[:, index]
        covered = own <= limit
        sizes = 1 + (others <= limit[:, None]).sum(axis=1)
        answered = sizes == 1
        risk = float(is_wrong[answered].mean()) if answered.any() else None
        levels.append(
            CoverageLevel(
                coverage,
                float(covered.mean()),
                *share_interval(covered, videos),
                float(sizes.mean()),
                float(answered.mean()),
                risk,
                float(is_wrong.mean()),
            )
        )
    return tuple(levels)


def has_sign(task: Task) -> bool:
    """Return whether scores below and above zero mean opposite sentiments."""
    return task.kind in {"mosi", "sims"}


def share_interval(values: BoolArray, videos: NDArray[np.integer]) -> tuple[float, float]:
    """Return the 95 % interval of a share, (low, high), which covers the choice of videos.

    It is Wilson's interval for as many independent samples as have the variance of the share over videos.

    Args:
        values: One value per sample, (n,).
        videos: Number of each sample's video, (n,).
    """
    share = float(values.mean())
    residuals = np.bincount(videos, weights=values - share)
    count = len(np.unique(videos))
    variance = float(residuals @ residuals) / len(values) ** 2 * count / max(count - 1, 1)
    size = share * (1 - share) / variance if variance > 0 else count
    size = min(max(size, 1.0), len(values))
    middle = (share + _NORMAL**2 / (2 * size)) / (1 + _NORMAL**2 / size)
    margin = _NORMAL / (1 + _NORMAL**2 / size) * np.sqrt(share * (1 - share) / size + _NORMAL**2 / (4 * size**2))
    return float(max(0.0, middle - margin)), float(min(1.0, middle + margin))


def format_quality(quality: Quality, *, sets: bool = False) -> str:
    """Return one table per condition: observed coverage with its interval, width, and risk, by subset.

    Args:
        quality: What was measured.
        sets: Whether it was measured for prediction sets.
    """
    return "\n\n".join(_format_condition(condition, levels, sets=sets) for condition, levels in quality.items())


def quality_rows(
    levels: Mapping[str, Sequence[CoverageLevel]], *, sets: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of one condition."""
    shown = {subset: [item for item in items if item.coverage in _SHOWN] for subset, items in levels.items()}
    with_sign = any(item.answered is not None for items in shown.values() for item in items)
    header = ["available"]
    for item in next(iter(shown.values()), []):
        percent = f"{100 * item.coverage:g} %"
        header += [f"in {percent} set", "classes"] if sets else [f"in {percent} interval", "width"]
    wrong = "wrong class" if sets else "wrong sign"
    header += [wrong, f"answered at {100 * _SHOWN[-1]:g} %", f"{wrong} of these"] if with_sign else []
    return header, [list(_quality_row(subset, items, with_sign=with_sign)) for subset, items in shown.items()]


def quality_title(condition: str, *, sets: bool = False) -> str:
    """Return the title of the table of a condition."""
    what = _TITLES.get(condition, condition)
    if sets:
        return f"Prediction sets on {what}: % of labels in them, with 95 % intervals over videos, and mean sizes"
    return f"Prediction intervals on {what}: % of labels in them, with 95 % intervals over videos, and mean widths"


def _quality_row(subset: str, items: Sequence[CoverageLevel], *, with_sign: bool) -> Iterator[str]:
    yield subset
    for item in items:
        yield f"{_percent(item.observed)} ({_percent(item.low)} to {_percent(item.high)})"
        yield ABSENT if item.width is None else f"{item.width:.2f}"
    if with_sign and items:
        for value in (items[-1].risk_of_all, items[-1].answered, items[-1].risk):
            yield ABSENT if value is None else _percent(value)


def _format_condition(condition: str, levels: Mapping[str, Sequence[CoverageLevel]], *, sets: bool) -> str:
    header, rows = quality_rows(levels, sets=sets)
    return f"{quality_title(condition, sets=sets)}:\n{text_table(header, rows)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _sample_widths(counts: Counts, subset: Subset, intervals: Calibration, table: Thresholds) -> NDArray[np.float64]:
    """Return the threshold of each sample and coverage, (n, C), infinite where the bundle states none."""
    present = {name: counts[name] > 0 for name in subset.modalities if name in counts}
    widths = np.full((len(next(iter(present.values()))), len(intervals.coverages)), np.inf)
    for name, bins in table.items():
        used = Subset(name)
        if set(used.modalities) - set(present):
            continue
        exact = np.all([mask == (item in used.modalities) for item, mask in present.items()], axis=0)
        members = {item: counts[item][exact] for item in used.modalities}
        numbers = np.searchsorted(intervals.edges, measure_evidence(members, used, intervals.typical_frames), "right")
        values = np.array([[np.inf if width is None else width for width in row] for row in bins])
        widths[exact] = values[numbers]
    return widths


def _measure_sign(
    scores: NDArray[np.float64], labels: FloatArray, answered: BoolArray
) -> tuple[float, float | None, float | None]:
    """Return the share of answers, the share of wrong signs among them, and that among all predictions."""
    has_label_sign = labels != 0
    wrong = (scores < 0) != (labels < 0)

    def risk(rows: BoolArray) -> float | None:
        return float(wrong[rows].mean()) if rows.any() else None

    return float(answered.mean()), risk(answered & has_label_sign), risk(has_label_sign)
