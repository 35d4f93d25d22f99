"""Check whether a model is better than constant predictions. If it is not, its explanation means nothing."""

from __future__ import annotations

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import BEST_CONSTANT, MEDIAN, describe, has_signal, measure, measure_baselines

_BASELINE_NAMES = {MEDIAN: "median", BEST_CONSTANT: "best constant"}


def check_against_baselines(
    task: Task,
    labels: FloatArray,
    predictions: FloatArray,
    groups: tuple[str, ...],
    train_labels: FloatArray | None,
) -> str:
    """Return a sentence that compares the model with the baselines, with a warning if it is no better.

    Args:
        task: Determines the metric: MAE for scores, average F1 for emotions.
        labels: Labels of the split, (N,) scores or (N, E) emotions.
        predictions: Predictions from all available modalities, (N, outputs): scores or probabilities.
        groups: Video of each sample.
        train_labels: Training labels, for the median baseline. None if they are not known.
    """
    metric = "mae" if task.is_score else "f1_average"
    name = describe(metric)
    outputs = predictions[:, 0] if task.is_score else predictions - 0.5  # The sign of a logit is that of p - 0.5.
    value = measure(task, labels, outputs)[metric]
    constants = {
        baseline: metrics[metric]
        for baseline, metrics in measure_baselines(
            task, labels if train_labels is None else train_labels, labels
        ).items()
    }
    if train_labels is None:
        del constants[MEDIAN]
    comparison = " and ".join(
        f"{name.format(constant)} for the baseline {_BASELINE_NAMES[baseline]}"
        for baseline, constant in constants.items()
    )
    sentence = f"With all available modalities, {name.title} is {name.format(value)}, compared with {comparison}."
    is_better = value < min(constants.values()) if task.is_score else value > max(constants.values())
    if is_better and has_signal(task, labels, outputs, groups):
        return sentence
    return (
        f"{sentence} On this split the model is no better than a constant, so do not interpret the rest of this page."
    )
