"""The conversation memory: fit its head on validation predictions, and measure what it changes.

`edge_msa_runtime.conversation` has the equation. A head has two fitted numbers per subset of modalities, `shift` and
`shrink`, because a validation split has few videos (10 in CMU-MOSI). The fit minimizes the mean absolute error plus a
penalty that pulls `shift` toward a weak memory and `shrink` toward 0; with many videos the penalty does not matter. The
constants were chosen on CMU-MOSI's training and validation videos, with heads that were fitted on 10 videos and
measured on the other 52. A running mean that does not decay and two memories of different decay differed by less than
.003 in MAE; weights that depend on the strength of the score were worse by up to .007.

A head is used for a subset only if leave-one-video-out shows a gain there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.conversations import Rows, order_conversations, why_no_conversations
from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.labeled import is_labeled
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import Estimate, Method, Units, compare_methods, describe, estimate_metrics, measure
from edge_msa.evaluation.subsets import Predict, available_subsets
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_runtime.conversation import MAX_DEVIATION, ContextHead, Conversation, SubsetContext
from edge_msa_runtime.modalities import Subset

DECAY, PRIOR = 0.9, 2.0
MIN_VIDEOS, MIN_UTTERANCES = 5, 30
"""With fewer videos that have several utterances, or fewer utterances that have an earlier one, no head is fitted."""

_SHIFT, _STRENGTH = 0.2, 20.0  # of the penalty: its center in standard deviations of outputs, and its weight in samples
_ITERATIONS, _SMALLEST_ERROR = 25, 0.05  # of the reweighted least squares; errors are in units of the mean error
_MAX_FOLDS = 50
_MAX_CORRELATION = 0.99

Scores = Mapping[Subset, tuple[Rows, FloatArray]]
"""By subset of modalities: the predicted rows of a split in ascending order, and their scores."""
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class ContextFit:
    """A context head with what leave-one-video-out says about it."""

    head: ContextHead | None
    """The head; None if there is no gain, or too few data."""
    note: str | None = None
    """Why there is no head."""
    left_out: Mapping[Subset, FloatArray] = field(default_factory=dict)
    """For the samples that it was fitted on, by subset: what heads that were fitted without their videos add to their
    scores, (n,)."""


@dataclass(frozen=True)
class Change:
    """A metric with context minus that without."""

    value: float
    """The difference."""
    low: float
    """Lower end of its 95 % interval, which covers the choice of videos."""
    high: float
    """Upper end of the interval."""


@dataclass(frozen=True)
class ContextResult:
    """Metrics with the conversation memory, beside those without."""

    utterances: int
    """Number of utterances that have an earlier one."""
    videos: int
    """Number of videos that they are from."""
    by_subset: Mapping[str, Mapping[str, float]]
    """Metrics with context by subset. All earlier utterances have the same modalities."""
    changes: Mapping[str, Mapping[str, Change]]
    """What the memory changes, by subset and metric, paired by video: the gate metric and MAE."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ContextResult:
        """Return the result from its fields as plain JSON values.

        Raises:
            TypeError: A field is missing or unknown.
        """
        changes = {
            subset: {name: Change(**item) for name, item in items.items()} for subset, items in value["changes"].items()
        }
        return cls(**{**value, "changes": changes})


def find_context(predict: Predict, dataset: Dataset) -> ContextFit:
    """Fit a context head on the validation split of a dataset.

    Args:
        predict: The model.
        dataset: The dataset, with the modalities of the model only.
    """
    split = dataset.splits.get("valid")
    if not dataset.task.is_score:
        return ContextFit(None, f"no conversation memory: it needs scores, and the task is {dataset.task.kind}")
    if split is None or not is_labeled(split).any():
        return ContextFit(None, f"no conversation memory: {dataset.name} has no labeled validation split")
    if (reason := why_no_conversations(dataset.name, "valid", split)) is not None:
        return ContextFit(None, reason)
    scores = {
        subset: (rows, np.asarray(predict(split.select(rows), subset), np.float32))
        for subset, rows in available_subsets(split)
    }
    return fit_context_head(split, scores)


def measure_context(
    task: Task, split: Split, scores: Scores, fit: ContextFit, metrics: Sequence[str]
) -> ContextResult | None:
    """Compare predictions with and without the memory.

    Args:
        task: The task.
        split: The split.
        scores: Predictions of the split, not adjusted.
        fit: The head. If it has scores of left-out videos, the split is the one that it was fitted on.
        metrics: Metrics whose change has an interval.

    Returns:
        The result; None without a head, or if no sample has an earlier utterance.
    """
    rows = max((rows for rows, _ in scores.values()), key=len)
    ordered = [members for members in order_conversations(split, rows) if len(members) > 1]
    if fit.head is None or not ordered:
        return None
    by_subset, changes = {}, {}
    for subset, (rows, values) in scores.items():
        adjusted = (
            values + fit.left_out[subset] if fit.left_out else adjust_scores(fit.head, split, subset, rows, values)
        )
        by_subset[subset.value] = dict(measure(task, split.labels[rows], adjusted))
        changes[subset.value] = compare_scores(task, split, rows, values, adjusted, metrics)
    return ContextResult(sum(len(members) - 1 for members in ordered), len(ordered), by_subset, changes)


def compare_scores(
    task: Task, split: Split, rows: Rows, before: FloatArray, after: FloatArray, metrics: Sequence[str]
) -> dict[str, Change]:
    """Return by metric what changes from the predictions `before` (n,) of some rows (n,) to those `after`.

    Metrics that do not vary over videos are left out.
    """
    units, labels = Units.of(split.groups), split.labels[rows]
    first, second = (estimate_metrics(task, labels, item, rows, units, metrics) for item in (before, after))
    return {name: _compare(first[name], second[name]) for name in metrics if first[name].has_variance}


def format_context(result: ContextResult) -> str:
    """Return a table of the metrics with context and of the changes, with a title."""
    return f"{context_title(result)}:\n{format_changes(result.by_subset, result.changes)}"


def format_changes(by_subset: Mapping[str, Mapping[str, float]], changes: Mapping[str, Mapping[str, Change]]) -> str:
    """Return a table of metrics by subset, and of the changes with their intervals."""
    names = list(next(iter(by_subset.values())))
    changed = list(dict.fromkeys(name for items in changes.values() for name in items))
    header = ["available", *(describe(name).title for name in names)]
    header += [f"change of {describe(name).title} (95 % interval)" for name in changed]
    rows = [
        [
            subset,
            *(describe(name).format(metrics[name]) for name in names),
            *(_format_change(name, changes[subset].get(name)) for name in changed),
        ]
        for subset, metrics in by_subset.items()
    ]
    return text_table(header, rows)


def describe_context(result: ContextResult) -> str:
    """Return the changes by subset as one sentence."""
    parts = [
        f"{subset} {', '.join(f'{describe(name).title} {_format_change(name, item)}' for name, item in items.items())}"
        for subset, items in result.changes.items()
    ]
    return f"{context_title(result)}, with 95 % intervals: {'; '.join(parts)}."


def context_title(result: ContextResult) -> str:
    """Return what a result was measured on, as text."""
    return (
        f"With the conversation memory: {result.utterances} utterances of {result.videos} videos have an earlier one. "
        "The changes are paired by video"
    )


def _format_change(name: str, change: Change | None) -> str:
    if change is None:
        return ABSENT
    metric = describe(name)
    return f"{metric.format_signed(change.value)} ({metric.format_interval(change.low, change.high)})"


def _compare(before: Estimate, after: Estimate) -> Change:
    result = compare_methods(*(Method([item], depends_on_seed=False) for item in (before, after)))
    return Change(result.value, result.low, result.high)


def adjust_scores(head: ContextHead, split: Split, subset: Subset, rows: Rows, scores: FloatArray) -> FloatArray:
    """Return scores (n,) adjusted by the earlier utterances of the same video, which have the same modalities.

    Args:
        head: The head.
        split: The split.
        subset: The modalities of the predictions.
        rows: (n,): the predicted samples.
        scores: (n,): their scores, not adjusted.
    """
    at = {row: index for index, row in enumerate(rows.tolist())}
    adjusted = np.array(scores, np.float32)
    for members in order_conversations(split, rows):
        conversation = Conversation(head)
        for row in members.tolist():
            outputs = (float(scores[at[row]]),)
            adjusted[at[row]] = conversation.adjust(outputs, subset.value)[0]
            conversation.add(outputs, subset.value)
    return adjusted


def fit_context_head(split: Split, scores: Scores) -> ContextFit:
    """Fit a context head on a labeled split, with leave-one-video-out.

    Args:
        split: The split: validation data with scores as labels, NaN where unknown.
        scores: Predictions of the split, not adjusted.
    """
    best_rows = max((rows for rows, _ in scores.values()), key=len)
    ordered = [members for members in order_conversations(split, best_rows) if len(members) > 1]
    followers = sum(len(members) - 1 for members in ordered)
    if len(ordered) < MIN_VIDEOS or followers < MIN_UTTERANCES:
        return ContextFit(
            None,
            f"no conversation memory: it needs {MIN_VIDEOS} validation videos with several utterances in a known order "
            f"and {MIN_UTTERANCES} utterances after the first of a video, got {len(ordered)} and {followers}",
        )
    videos = list(dict.fromkeys(split.groups))
    fold_of = {video: index % _MAX_FOLDS for index, video in enumerate(videos)}
    folds = np.array([fold_of[video] for video in split.groups])
    left_out = {subset: np.array(values, np.float32) for subset, (_, values) in scores.items()}
    for fold in range(min(len(videos), _MAX_FOLDS)):
        head = _fit_head(split, scores, folds != fold)
        for subset, (rows, values) in scores.items():
            inside = folds[rows] == fold
            left_out[subset][inside] = adjust_scores(head, split, subset, rows[inside], values[inside])
    head = _fit_head(split, scores, np.ones(len(split), np.bool_))
    gains = {
        subset: _error(split, rows, values) - _error(split, rows, left_out[subset])
        for subset, (rows, values) in scores.items()
    }
    parameters = {
        subset.value: head.subsets[subset.value]
        if gain > 0
        else dataclasses.replace(head.subsets[subset.value], shift=0.0, shrink=0.0)
        for subset, gain in gains.items()
    }
    if max(gains.values()) <= 0:
        return ContextFit(None, "no conversation memory: it did not lower MAE on left-out validation videos")
    changes = {
        subset: left_out[subset] - values if gains[subset] > 0 else np.zeros_like(values)
        for subset, (_, values) in scores.items()
    }
    return ContextFit(dataclasses.replace(head, subsets=parameters), left_out=changes)


def _error(split: Split, rows: Rows, scores: FloatArray) -> float:
    return float(np.nanmean(np.abs(split.labels[rows] - scores)))


def _fit_head(split: Split, scores: Scores, used: NDArray[np.bool_]) -> ContextHead:
    """Fit a head on the samples of some videos."""
    used = used & is_labeled(split)
    data = {
        subset: (rows[used[rows]], values[used[rows]].astype(np.float64)) for subset, (rows, values) in scores.items()
    }
    strength = {subset: _correlation(split.labels[rows], values) for subset, (rows, values) in data.items()}
    best = max(strength, key=lambda subset: strength[subset])
    information = {subset: value**2 / (1 - value**2) for subset, value in strength.items()}
    parameters = {}
    for subset, (_, values) in data.items():
        weight = information[subset] / information[best] if strength[subset] > 0 else 0.0
        evidence = weight * strength[best] / strength[subset] if weight > 0 else 0.0
        mean, spread = (float(np.mean(values)), float(np.std(values))) if len(values) else (0.0, 0.0)
        parameters[subset] = SubsetContext(mean, max(spread, 1e-6), weight, evidence, shift=0.0, shrink=0.0)
    histories = {subset: _memory(split, data[subset], parameters[subset]) for subset in data}
    for subset, (rows, values) in data.items():
        # Half of the time, the earlier utterances have the same modalities, and half of the time the best ones.
        memories = [histories[subset], {row: histories[best].get(row, (0.0, 0.0)) for row in rows.tolist()}]
        before = np.array([memory[row] for memory in memories for row in rows.tolist()]).reshape(-1, 2)
        errors = np.tile(split.labels[rows] - values, 2)
        deviations = np.tile(_deviations(values, parameters[subset]), 2)
        shift, shrink = _fit_change(before[:, 0], before[:, 1], deviations, errors, parameters[subset].spread)
        parameters[subset] = dataclasses.replace(parameters[subset], shift=shift, shrink=shrink)
    utterances = max(len(rows) for rows, _ in data.values())
    videos = len({split.groups[row] for row in np.flatnonzero(used)})
    return ContextHead(DECAY, PRIOR, {subset.value: item for subset, item in parameters.items()}, utterances, videos)


def _memory(split: Split, data: tuple[Rows, Numbers], parameters: SubsetContext) -> dict[int, tuple[float, float]]:
    """Return the weight and the evidence of the memory before each sample, by its row."""
    rows, values = data
    deviations = dict(zip(rows.tolist(), _deviations(values, parameters).tolist(), strict=True))
    memory: dict[int, tuple[float, float]] = {}
    for members in order_conversations(split, rows):
        weight = evidence = 0.0
        for row in members.tolist():
            memory[row] = weight, evidence
            weight = DECAY * weight + parameters.weight
            evidence = DECAY * evidence + parameters.evidence * deviations[row]
    return memory


def _deviations(values: Numbers, parameters: SubsetContext) -> Numbers:
    return np.clip((values - parameters.mean) / parameters.spread, -MAX_DEVIATION, MAX_DEVIATION)


def _correlation(labels: FloatArray, values: Numbers) -> float:
    """Return Pearson's r, at most `_MAX_CORRELATION`; 0 if it is not defined."""
    if len(values) < 2 or not np.std(values) or not np.std(labels):
        return 0.0
    return min(_MAX_CORRELATION, float(np.corrcoef(labels, values)[0, 1]))


def _fit_change(
    weight: Numbers, evidence: Numbers, deviations: Numbers, errors: Numbers, spread: float
) -> tuple[float, float]:
    """Return shift and shrink that minimize the mean absolute error plus the penalty, with 0 <= shrink <= shift.

    With a larger shrink, the memory would move an utterance toward the mean that is like all earlier ones. Least
    squares with weights 1 / |error| converge to the smallest absolute error.

    Args:
        weight: Weight of the memory before each sample. All arrays have each sample twice.
        evidence: Evidence of the memory.
        deviations: Deviations of the outputs.
        errors: Labels minus outputs.
        spread: Standard deviation of the outputs.
    """
    known = weight > 0
    scale = float(np.mean(np.abs(errors[known]))) if known.any() else 0.0
    if not scale:
        return 0.0, 0.0
    features = np.stack([evidence, -weight * deviations], axis=1)[known] / (PRIOR + weight[known, None])
    targets, center = errors[known] / scale, np.array([_SHIFT * spread / scale, 0.0])
    shift, shrink = _solve(features, targets, center) * scale
    if 0 <= shrink <= shift:
        return float(shift), float(shrink)
    share = 1.0 if shrink > shift else 0.0
    (shift,) = _solve(features @ np.array([[1.0], [share]]), targets, center[:1]) * scale
    return max(0.0, float(shift)), share * max(0.0, float(shift))


def _solve(features: Numbers, targets: Numbers, center: Numbers) -> Numbers:
    solution = center
    for _ in range(_ITERATIONS):
        weights = 0.5 / np.maximum(np.abs(targets - features @ solution), _SMALLEST_ERROR)
        weighted = features * weights[:, None]
        matrix = weighted.T @ features + _STRENGTH * np.eye(len(center))
        solution = np.asarray(np.linalg.solve(matrix, weighted.T @ targets + _STRENGTH * center), np.float64)
    return solution
