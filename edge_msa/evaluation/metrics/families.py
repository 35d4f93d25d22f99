"""Five families of metrics, one per kind of task. Those of scores and emotions are as MMSA defines them.

Truth and prediction are compared as float32, as in the code of the literature. In float32, the score 0.1 equals the
edge 0.1 of the bins of SIMS; in float64 it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tasks import Task, TaskKind
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.metrics import probabilities, scores
from edge_msa.evaluation.metrics.scores import Array, Values, Weights, equal_weights
from edge_msa_runtime.modalities import Subset

Metric = Callable[[FloatArray, FloatArray, Weights], Values]
"""Takes checked float32 arrays (truth, prediction) and weights (R, N), and returns the values (R,), see `scores`."""

_Score = Callable[[Array, Array, Weights], Values]
"""A function of `scores`."""

SIMS_EDGES: dict[int, tuple[float, ...]] = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}
"""Inner edges of the classes of SIMS, by number of classes. An edge belongs to the class below it: (low, high]."""

_GATE: dict[TaskKind, str] = {
    "mosi": "acc2_non0",
    "sims": "acc2",
    "regression": "corr",
    "emotions": "f1_average",
    "classes": "weighted_f1",
}


def measure(task: Task, truth: ArrayLike, prediction: ArrayLike) -> dict[str, float]:
    """Return all metrics of the task's family, by key.

    Args:
        task: Its kind selects the family.
        truth: Labels: scores (N,), emotions (N, E) with values 0 and 1, or indices of classes (N,).
        prediction: Scores (N,) or (N, 1), logits of emotions (N, E) with the threshold 0, or logits of classes (N, K).

    Returns:
        Finite floats. mosi: mae, corr, acc7, acc5, acc2_has0, acc2_non0, f1_has0, f1_non0. sims: mae, corr, acc2, acc3,
        acc5, f1. regression: mae, rmse, corr, r2. emotions: acc_<label>, f1_<label>, acc_average, f1_average.
        classes: accuracy, weighted_f1, macro_f1, f1_<label>, precision_<label>, recall_<label>, ece, nll. Accuracies,
        F1, precision, recall and ECE are shares in [0, 1], MAE and RMSE are in the unit of the labels, NLL is in nats,
        undefined values are 0.0.

    Raises:
        EdgeMsaError: Shapes differ, there are no samples, or a value is not finite.
    """
    first, second = check_pair(task, truth, prediction)
    weights = equal_weights(len(first))
    return {name: float(metric(first, second, weights)[0]) for name, metric in metric_functions(task).items()}


def metric_functions(task: Task) -> dict[str, Metric]:
    """Return the metrics of the task's family by key."""
    if task.kind == "emotions":
        return _emotions(task)
    if task.kind == "classes":
        return _classes(task)
    return dict(_FAMILIES[task.kind])


def metric_function(task: Task, name: str | None = None) -> Metric:
    """Return one metric of the task's family, by default the gate metric.

    Raises:
        EdgeMsaError: The metric is unknown.
    """
    functions = metric_functions(task)
    key = gate_metric(task) if name is None else name
    if key not in functions:
        raise EdgeMsaError(f"Unknown metric {key!r} for a {task.kind} task. Available: {', '.join(functions)}.")
    return functions[key]


def gate_metric(task: Task) -> str:
    """Return the key of the metric that the accuracy gate uses. It is in [-1, 1], and higher is better.

    mosi: acc2_non0, sims: acc2, emotions: f1_average, classes: weighted_f1. Plain regression has no classes and uses
    corr, which, unlike MAE, does not depend on the unit of the labels.
    """
    return _GATE[task.kind]


def headline_metrics(task: Task) -> tuple[str, ...]:
    """Return the metrics that get intervals: the gate metric, and MAE of scores, accuracy and Macro F1 of classes."""
    if task.kind == "classes":
        return ("accuracy", "weighted_f1", "macro_f1")
    return (gate_metric(task), "mae") if task.is_score else (gate_metric(task),)


def gate_points(task: Task, metrics: Mapping[str, float]) -> float:
    """Return the gate metric in points, i.e. multiplied by 100."""
    return 100.0 * metrics[gate_metric(task)]


def missing_average(by_subset: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over the measured incomplete subsets (all but `lav`); empty if there is none.

    This is "Avg" over the six test conditions of HRLF (NeurIPS 2024). Data without one of the modalities has fewer
    conditions; the mean is over those.
    """
    incomplete = [
        by_subset[subset.value] for subset in Subset if subset is not Subset.LAV and subset.value in by_subset
    ]
    if not incomplete:
        return {}
    return {name: float(np.mean([metrics[name] for metrics in incomplete])) for name in incomplete[0]}


def check_pair(task: Task, truth: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return both as float32 arrays: scores (N,) twice, emotions (N, E) twice, or classes (N,) and logits (N, K).

    Raises:
        EdgeMsaError: Shapes differ, there are no samples, or a value is not finite.
    """
    first = _shaped(task, truth, "truth", task.label_shape)
    second = _shaped(task, prediction, "prediction", () if task.is_score else (task.outputs,))
    if len(first) != len(second):
        expected = (len(first), *second.shape[1:])
        raise EdgeMsaError(f"Prediction must have the shape {expected} that fits the truth, got {second.shape}.")
    return first, second


def confusion_matrix(task: Task, truth: ArrayLike, prediction: ArrayLike) -> NDArray[np.int64]:
    """Return the number of samples by class, (K, K): rows are the classes of the labels, columns those of the model.

    Raises:
        EdgeMsaError: Shapes differ, there are no samples, or a value is not finite.
    """
    first, second = check_pair(task, truth, prediction)
    pairs = first.astype(np.int64) * task.outputs + np.argmax(second, axis=1)
    return np.bincount(pairs, minlength=task.outputs**2).reshape(task.outputs, task.outputs)


def _shaped(task: Task, values: ArrayLike, what: str, shape: tuple[int, ...]) -> FloatArray:
    """Return the array (N, *shape). A column of one score or class per sample becomes (N,)."""
    array = np.asarray(values, dtype=np.float32)
    if shape == () and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape:
        expected = "(N,)" if shape == () else f"(N, {task.outputs})"
        raise EdgeMsaError(f"{what} of a {task.kind} task must have shape {expected}, got {array.shape}.")
    if not len(array):
        raise EdgeMsaError(f"{what} must have at least one sample, got none.")
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise EdgeMsaError(f"{what} of sample {row} must be finite, got {array[row]}.")
    return array


def _rounded(truth: FloatArray, prediction: FloatArray, weights: Weights, *, bound: float) -> Values:
    """Return Acc-7 (bound 3) or Acc-5 (bound 2): clip, round half to even, compare."""
    return scores.accuracy(
        np.round(np.clip(truth, -bound, bound)), np.round(np.clip(prediction, -bound, bound)), weights
    )


def _has0(truth: FloatArray, prediction: FloatArray, weights: Weights, *, of: _Score) -> Values:
    return of(truth >= 0, prediction >= 0, weights)


def _non0(truth: FloatArray, prediction: FloatArray, weights: Weights, *, of: _Score) -> Values:
    nonzero = truth != 0
    return of(truth[nonzero] > 0, prediction[nonzero] > 0, weights[:, nonzero])


def _clipped(truth: FloatArray, prediction: FloatArray, weights: Weights, *, of: Metric) -> Values:
    return of(np.clip(truth, -1.0, 1.0), np.clip(prediction, -1.0, 1.0), weights)


def _binned(truth: FloatArray, prediction: FloatArray, weights: Weights, *, of: _Score, classes: int) -> Values:
    edges = np.asarray(SIMS_EDGES[classes], dtype=np.float32)
    return of(np.searchsorted(edges, truth, side="left"), np.searchsorted(edges, prediction, side="left"), weights)


def _sims(metric: Metric) -> Metric:
    """Return the metric of truth and prediction clipped to [-1, 1], as SIMS does for every metric."""
    return partial(_clipped, of=metric)


_FAMILIES: dict[TaskKind, dict[str, Metric]] = {
    "mosi": {
        "mae": scores.mean_absolute_error,
        "corr": scores.correlation,
        "acc7": partial(_rounded, bound=3.0),
        "acc5": partial(_rounded, bound=2.0),
        "acc2_has0": partial(_has0, of=scores.accuracy),
        "acc2_non0": partial(_non0, of=scores.accuracy),
        "f1_has0": partial(_has0, of=scores.weighted_f1),
        "f1_non0": partial(_non0, of=scores.weighted_f1),
    },
    "sims": {
        "mae": _sims(scores.mean_absolute_error),
        "corr": _sims(scores.correlation),
        "acc2": _sims(partial(_binned, of=scores.accuracy, classes=2)),
        "acc3": _sims(partial(_binned, of=scores.accuracy, classes=3)),
        "acc5": _sims(partial(_binned, of=scores.accuracy, classes=5)),
        "f1": _sims(partial(_binned, of=scores.weighted_f1, classes=2)),
    },
    "regression": {
        "mae": scores.mean_absolute_error,
        "rmse": scores.root_mean_square_error,
        "corr": scores.correlation,
        "r2": scores.determination,
    },
}


def _emotion(truth: FloatArray, logits: FloatArray, weights: Weights, *, of: _Score, column: int) -> Values:
    return of(truth[:, column] > 0.5, logits[:, column] > 0, weights)


def _average(truth: FloatArray, logits: FloatArray, weights: Weights, *, of: _Score) -> Values:
    columns = [_emotion(truth, logits, weights, of=of, column=column) for column in range(truth.shape[1])]
    return np.asarray(np.mean(columns, axis=0))


def _emotions(task: Task) -> dict[str, Metric]:
    family: dict[str, Metric] = {}
    for column, label in enumerate(task.labels):
        family[f"acc_{label}"] = partial(_emotion, of=scores.accuracy, column=column)
        family[f"f1_{label}"] = partial(_emotion, of=scores.weighted_f1, column=column)
    family["acc_average"] = partial(_average, of=scores.accuracy)
    family["f1_average"] = partial(_average, of=scores.weighted_f1)
    return family


def _argmax(truth: FloatArray, logits: FloatArray, weights: Weights, *, of: _Score) -> Values:
    return of(truth, np.argmax(logits, axis=1), weights)


def _class(truth: FloatArray, logits: FloatArray, weights: Weights, *, of: _Score, number: int) -> Values:
    return of(truth == number, np.argmax(logits, axis=1) == number, weights)


def _classes(task: Task) -> dict[str, Metric]:
    family: dict[str, Metric] = {
        "accuracy": partial(_argmax, of=scores.accuracy),
        "weighted_f1": partial(_argmax, of=scores.weighted_f1),
        "macro_f1": partial(_argmax, of=scores.macro_f1),
    }
    for key, metric in (("f1", scores.f1), ("precision", scores.precision), ("recall", scores.recall)):
        family |= {f"{key}_{label}": partial(_class, of=metric, number=n) for n, label in enumerate(task.labels)}
    return family | {
        "ece": probabilities.expected_calibration_error,
        "nll": probabilities.negative_log_likelihood,
    }
