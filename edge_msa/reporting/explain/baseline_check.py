"""Check whether a model is better than constant predictions. If it is not, its explanation means nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.evaluation.baseline_check import (
    DO_NOT_SHIP,
    beats_constant,
    check_rows,
    known_constants,
)
from edge_msa.evaluation.metrics import describe


def check_against_baselines(dataset: Dataset, split: Split, predictions: FloatArray) -> str:
    """Return a sentence that compares the model with the better baseline, with a warning if it is no better.

    Args:
        dataset: Determines the task and the training labels, whose median is a baseline.
        split: The explained split. Labels of classes are one-hot, (N, K).
        predictions: Predictions from all available modalities, (N, outputs): scores or probabilities.
    """
    task = dataset.task
    if task.kind == "classes":
        outputs = np.log(np.maximum(predictions, np.float32(1e-30)))
        split = replace(split, labels=split.labels.argmax(axis=1).astype(np.float32))
    else:
        outputs = predictions[:, 0] if task.is_score else predictions - 0.5  # The sign of a logit is that of p - 0.5.
    comparisons = check_rows(task, split, np.arange(len(split)), outputs, known_constants(dataset, split))
    if not comparisons:
        return "The split has a single sample, so the model is not compared with a constant."
    parts = []
    for metric, item in comparisons.items():
        name = describe(metric)
        baseline = item.baseline.replace("_", " ")
        parts.append(
            f"{name.title} is {name.format(item.model)}, compared with {name.format(item.constant)} for the baseline "
            f"{baseline}"
        )
    sentence = f"With all available modalities, {'; '.join(parts)}."
    if beats_constant(comparisons):
        return sentence
    return (
        f"{sentence} On this split the model does not beat a constant. {DO_NOT_SHIP}, and do not interpret the rest of "
        "this page."
    )
