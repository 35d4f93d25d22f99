"""Decide whether a model beats a constant prediction. A model that does not is useless, however fast it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Split, SplitName
from edge_msa.data.labeled import is_labeled
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import (
    FROM_TRAINING,
    MIN_UNITS,
    Estimate,
    Method,
    Unit,
    Units,
    baseline_constants,
    better_baseline,
    compare_methods,
    constant_predictions,
    describe,
    estimate_metrics,
    gate_metric,
)
from edge_msa.evaluation.subsets import Predict, available_subsets
from edge_msa_runtime.wording import format_count

DO_NOT_SHIP = "Do not ship it"
ENOUGH_VIDEOS = 20
"""With fewer videos in a split, a useful model may not be shown to be better than a constant."""


@dataclass(frozen=True)
class ConstantComparison:
    """One metric of a model beside that of the better baseline, on the same samples."""

    baseline: str
    """The better baseline: `median` or `class_prior`, or `best_constant`."""
    model: float
    """The model's metric."""
    constant: float
    """The baseline's metric."""
    low: float
    """Lower end of the 95 % interval of `model - constant`. It covers the choice of videos, for this model."""
    high: float
    """Upper end of the interval."""

    def is_better(self, metric: str) -> bool:
        """Return whether the model is better, and the interval excludes 0."""
        return self.low > 0 if describe(metric).higher_is_better else self.high < 0

    def is_worse(self, metric: str) -> bool:
        """Return whether the model is worse, and the interval excludes 0."""
        return self.high < 0 if describe(metric).higher_is_better else self.low > 0


ConstantComparisons = Mapping[str, ConstantComparison]
"""By metric, for one subset of modalities."""


def checked_metrics(task: Task) -> tuple[str, ...]:
    """Return the metrics that decide: the gate metric, and MAE for scores."""
    return (gate_metric(task), "mae") if task.is_score else (gate_metric(task),)


def known_constants(dataset: Dataset, split: Split) -> dict[str, FloatArray]:
    """Return the baselines of a split. Without training labels, there is no median and no class prior."""
    train = dataset.splits.get("train")
    known = split.labels[:0] if train is None else train.labels[is_labeled(train)]
    constants = baseline_constants(dataset.task, known if len(known) else split.labels, split.labels)
    return constants if len(known) else {name: value for name, value in constants.items() if name not in FROM_TRAINING}


def compare_with_constants(
    task: Task,
    truth: ArrayLike,
    estimates: Mapping[str, Estimate],
    rows: NDArray[np.int64],
    units: Units,
    constants: Mapping[str, FloatArray],
) -> dict[str, ConstantComparison]:
    """Return each metric of a model on one subset beside that of the better baseline.

    Args:
        task: The task.
        truth: Labels of the subset's samples.
        estimates: The model's metrics, as returned by `estimate_metrics` for the same samples and units.
        rows: (n,): numbers of these samples in the split.
        units: Units of the split.
        constants: The baselines, as returned by `known_constants`.

    Returns:
        Nothing if the samples are of one unit, so that no difference has an interval.
    """
    if not all(item.has_variance for item in estimates.values()):
        return {}
    baselines = {
        name: estimate_metrics(task, truth, constant_predictions(task, value, len(rows)), rows, units, estimates)
        for name, value in constants.items()
    }
    comparisons = {}
    for metric, estimate in estimates.items():
        name = better_baseline({key: items[metric].value for key, items in baselines.items()}, metric)
        constant = baselines[name][metric]
        result = compare_methods(Method([constant], depends_on_seed=False), Method([estimate], depends_on_seed=False))
        comparisons[metric] = ConstantComparison(name, estimate.value, constant.value, result.low, result.high)
    return comparisons


def beats_constant(comparisons: ConstantComparisons) -> bool:
    """Return whether a model is better than a constant in one metric, and not worse in any.

    Better and worse mean that the interval of the difference excludes 0.
    """
    better = any(item.is_better(metric) for metric, item in comparisons.items())
    return better and not any(item.is_worse(metric) for metric, item in comparisons.items())


def check_predictions(
    dataset: Dataset, split_name: SplitName, predict: Predict, *, labels: Dataset | None = None
) -> tuple[str, ConstantComparisons] | None:
    """Predict a split from all its modalities, and return the subset and the comparison with constants.

    Args:
        dataset: Dataset with the split.
        split_name: The split.
        predict: Predicts the split.
        labels: Dataset whose training labels have the median (default: `dataset`).

    Returns:
        None if the split has no two labeled samples with a valid frame, from different videos if there are enough.
    """
    split, task = dataset.split(split_name), dataset.task
    if not any(available_subsets(split)):
        return None
    subset, rows = max(available_subsets(split), key=lambda item: len(item[0].modalities))
    rows = rows[is_labeled(split)[rows]]
    if not len(rows):
        return None
    part = split.select(rows)
    predictions = np.asarray(predict(part, subset), np.float32)
    comparisons = check_rows(task, split, rows, predictions, known_constants(labels or dataset, part))
    return (subset.value, comparisons) if comparisons else None


def check_rows(
    task: Task, split: Split, rows: NDArray[np.int64], predictions: ArrayLike, constants: Mapping[str, FloatArray]
) -> ConstantComparisons:
    """Return the comparison of given predictions with constants, as in `compare_with_constants`."""
    labels, units = split.labels[rows], Units.of(split.groups)
    estimates = estimate_metrics(task, labels, predictions, rows, units, checked_metrics(task))
    return compare_with_constants(task, labels, estimates, rows, units, constants)


def baseline_warning(name: str, split: str, subset: str, comparisons: ConstantComparisons) -> str | None:
    """Return a warning if a model does not beat a constant, else None.

    Args:
        name: The model in words.
        split: Name of the split.
        subset: The available modalities.
        comparisons: Its metrics beside those of the better baseline.
    """
    if beats_constant(comparisons):
        return None
    parts = "; ".join(_describe(metric, item) for metric, item in comparisons.items())
    return f"{name} does not beat a constant on {subset} of the {split} split. {DO_NOT_SHIP}. {parts}."


def too_few_warning(name: str, split: str, count: int, unit: Unit) -> str:
    """Return a warning that a split is too small to compare a model with a constant.

    Args:
        name: The model in words.
        split: Name of the split.
        count: Number of units of the split with labeled samples.
        unit: What the units are.
    """
    units = format_count(count, f"labeled {'video' if unit == 'groups' else 'sample'}")
    return (
        f"{name} cannot be compared with a constant: the {split} split has {units}, and the comparison needs at least "
        f"{MIN_UNITS}."
    )


def needs_more_samples(split: Split, comparisons: ConstantComparisons | None) -> str | None:
    """Return what to add to a split that is too small to show whether a model beats a constant; None if it is not.

    Args:
        split: The split that decides.
        comparisons: The model beside the better baseline; None if there are too few samples for a comparison.
    """
    labeled = np.flatnonzero(is_labeled(split))
    videos = len({split.groups[row] for row in labeled})
    if comparisons is not None and videos >= ENOUGH_VIDEOS:
        return None
    return (
        f"Add labeled samples to the valid split, best from {ENOUGH_VIDEOS} videos or more: it has "
        f"{format_count(len(labeled), 'sample')} from {format_count(videos, 'video')}"
    )


def is_ahead(comparisons: ConstantComparisons) -> bool:
    """Return whether a model is better than a constant in every metric, even if the intervals include 0."""
    return all(
        item.model > item.constant if describe(metric).higher_is_better else item.model < item.constant
        for metric, item in comparisons.items()
    )


def count_units(split: Split) -> tuple[int, Unit]:
    """Return the number of units of a split with labeled samples, and what the units are."""
    units = Units.of(split.groups)
    return len(np.unique(units.numbers[is_labeled(split)])), units.kind


def unproven_note(name: str, split: str, subset: str, comparisons: ConstantComparisons) -> str | None:
    """Return a note about the metrics in which a model that beats a constant is not shown to be better.

    Args:
        name: The model in words.
        split: Name of the split.
        subset: The available modalities.
        comparisons: Its metrics beside those of the better baseline.
    """
    unproven = {metric: item for metric, item in comparisons.items() if not item.is_better(metric)}
    if not unproven or not beats_constant(comparisons):
        return None
    better = ", ".join(describe(metric).title for metric in comparisons if metric not in unproven)
    parts = "; ".join(_describe(metric, item) for metric, item in unproven.items())
    return (
        f"{name} beats a constant on {subset} of the {split} split in {better} only. In the other metric it is not "
        f"shown to be better. {parts}."
    )


def weak_subsets(by_subset: Mapping[str, ConstantComparisons]) -> list[str]:
    """Return the subsets on which a model does not beat a constant."""
    return [subset for subset, comparisons in by_subset.items() if not beats_constant(comparisons)]


def complete_subset(subsets: Sequence[str] | Mapping[str, object]) -> str:
    """Return the subset with the most modalities, which decides whether a model can be shipped."""
    return max(subsets, key=len)


def _describe(metric: str, item: ConstantComparison) -> str:
    name = describe(metric)
    baseline, interval = item.baseline.replace("_", " "), name.format_interval(item.low, item.high)
    return (
        f"{name.title}: model {name.format(item.model)}, {baseline} {name.format(item.constant)}, "
        f"95 % interval of the difference {interval}"
    )
