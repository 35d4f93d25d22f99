"""Check whether a model is better than constant predictions. If it is not, its explanation means nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.evaluation.baseline_check import (
    DO_NOT_SHIP,
    beats_constant,
    check_rows,
    known_constants,
)
from edge_msa.evaluation.metrics import describe


@dataclass(frozen=True)
class BaselineCheck:
    """How a model compares with constant predictions.

    Attributes:
        sentence: The comparison with the better baseline, with a warning if the model is no better.
        beats_constant: Whether it is better. None if it cannot be compared.
    """

    sentence: str
    beats_constant: bool | None


def check_against_baselines(dataset: Dataset, split: Split, predictions: FloatArray) -> BaselineCheck:
    """Compare a model with the better baseline.

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
        return BaselineCheck("The split has a single sample, so the model is not compared with a constant.", None)
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
        return BaselineCheck(sentence, beats_constant=True)
    warning = (
        f"{sentence} On this split the model does not beat a constant. {DO_NOT_SHIP}, and do not interpret the rest of "
        "this page."
    )
    return BaselineCheck(warning, beats_constant=False)
