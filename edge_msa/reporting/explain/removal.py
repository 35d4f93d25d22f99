"""The effect of removing a modality: predictions of each subset, and their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_msa.data.dataset import BoolArray, FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import Interval, mean_interval
from edge_msa.evaluation.metrics.probabilities import log_softmax
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.evaluation.subsets import Predict
from edge_msa.reporting.explain.samples import Rows, has_modality
from edge_msa.reporting.templates import Table
from edge_msa.text_tables import ABSENT
from edge_msa_runtime.modalities import MODALITIES, Subset

Predictions = Mapping[Subset, FloatArray]
"""By subset, (N, outputs): scores, or probabilities of emotions or classes."""

_NO_INPUT_MARK = "°"


@dataclass(frozen=True)
class Removal:
    """The effect of removing one modality from the samples that have it. For emotions and classes, means over them.

    Attributes:
        modality: The removed modality.
        samples: Number of samples that have it.
        change: Mean absolute change of the prediction.
        error: Mean absolute error with the modality, None without labels.
        error_without: Mean absolute error without it, None without labels.
        error_increase: Difference of the two errors, None without labels.
    """

    modality: str
    samples: int
    change: Interval
    error: float | None = None
    error_without: float | None = None
    error_increase: Interval | None = None


@dataclass(frozen=True)
class PredictionRow:
    """One row of the drawing of predictions.

    Attributes:
        label: The label, if known.
        predictions: Predictions from `all` modalities and `without <modality>`.
    """

    label: float | None
    predictions: Mapping[str, float]


def predict_all_subsets(predict: Predict, split: Split) -> dict[Subset, FloatArray]:
    """Return the predictions of every sample from every subset, (N, outputs), where `predict` returns predictions.

    A sample that lacks all modalities of a subset is predicted without any input.
    """
    return {subset: predict(split, subset) for subset in Subset}


def to_predictions(outputs: FloatArray, task: Task) -> FloatArray:
    """Return the outputs of a model as (N, outputs): scores, or probabilities of emotions or classes."""
    values = np.asarray(outputs, np.float32).reshape(len(outputs), -1)
    if task.is_score:
        return values
    return np.exp(log_softmax(values)).astype(np.float32) if task.kind == "classes" else _sigmoid(values)


def subset_without(modality: str) -> Subset:
    """Return the subset of all modalities except one."""
    return Subset.of(name for name in MODALITIES if name != modality)


def compute_removals(predictions: Predictions, split: Split) -> list[Removal]:
    """Return the effect of removing each modality that the split has."""
    return [
        _removal(predictions, split, name, rows) for name in MODALITIES if (rows := has_modality(split, name)).any()
    ]


def lacks_subset(split: Split, subset: Subset) -> BoolArray:
    """Return which samples have no valid frame in any modality of a subset, (N,)."""
    has_any: BoolArray = np.zeros(len(split), np.bool_)
    for name in subset.modalities:
        has_any |= has_modality(split, name)
    return ~has_any


def removal_table(removals: Sequence[Removal], task: Task) -> Table:
    """Return a table with one row per removed modality, over the whole split."""
    error = "MAE" if task.is_score else "mean |label - probability|"
    header = (
        "removed",
        "samples with it",
        "mean |change|",
        f"{error} with it",
        "without it",
        "difference",
        "95 % interval",
    )
    rows = []
    for item in removals:
        row = [item.modality, str(item.samples), f"{item.change.value:.3f}"]
        if item.error_increase is None or item.error is None or item.error_without is None:
            row += [ABSENT] * 4
        else:
            low, high = format_signed(item.error_increase.low, 3), format_signed(item.error_increase.high, 3)
            row += [f"{item.error:.3f}", f"{item.error_without:.3f}"]
            row += [format_signed(item.error_increase.value, 3), f"{low} to {high}"]
        rows.append(row)
    unit = describe_unit(max((item.change.unit for item in removals), default="samples"))  # `samples` if any has them.
    return Table(header, rows, notes=[f"Intervals of the difference are bootstrapped over {unit}."])


def samples_table(split: Split, rows: Rows, predictions: Predictions, task: Task) -> Table:
    """Return a table of selected samples: label, and predictions from all modalities, without each, and from each."""
    names = [name for name in MODALITIES if has_modality(split, name).any()]
    columns: list[tuple[str, Subset, str | None]] = [("all", Subset.LAV, None)]
    columns += [(f"without {name}", subset_without(name), name) for name in names]
    columns += [(f"only {name}", Subset.of([name]), name) for name in names]
    header = ["sample", *([] if task.is_score else [output_name(task)]), "label", *(title for title, _, _ in columns)]
    no_input = {subset: lacks_subset(split, subset) for _, subset, _ in columns}
    cells = []
    for row in rows:
        for output, emotion in enumerate(_output_names(task)):
            line = [split.ids[row], *([emotion] if emotion else []), format_output(_label(split, row, output), task)]
            for _, subset, name in columns:
                value = format_output(float(predictions[subset][row, output]), task)
                if name is not None and not has_modality(split, name)[row]:
                    value = "missing"
                elif no_input[subset][row]:
                    value += _NO_INPUT_MARK
                line.append(value)
            cells.append(line)
    marked = any(cell.endswith(_NO_INPUT_MARK) for line in cells for cell in line)
    notes = (
        [f"{_NO_INPUT_MARK} This is the prediction without any input, because no modality is left."] if marked else []
    )
    return Table(header, cells, left=1 if task.is_score else 2, notes=notes)


def prediction_rows(split: Split, rows: Rows, predictions: Predictions, task: Task) -> list[PredictionRow]:
    """Return the rows of the drawing of predictions: all modalities, and without each modality that the sample has."""
    lines = []
    for row in rows:
        for output in range(len(_output_names(task))):
            values = {"all": float(predictions[Subset.LAV][row, output])}
            for name in MODALITIES:
                if has_modality(split, name)[row]:
                    values[f"without {name}"] = float(predictions[subset_without(name)][row, output])
            label = _label(split, row, output)
            lines.append(PredictionRow(label if np.isfinite(label) else None, values))
    return lines


def output_name(task: Task) -> str:
    """Return what an output of a task without scores is called."""
    return "class" if task.kind == "classes" else "emotion"


def format_output(value: float, task: Task) -> str:
    """Return a prediction or a label as the page shows it, a dash if it is not finite."""
    if not np.isfinite(value):
        return ABSENT
    return format_signed(value, 2) if task.is_score and task.low is not None else f"{value:.2f}"


def format_signed(value: float, digits: int) -> str:
    """Return a number with its sign, or without a sign if it is rounded to zero."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def _removal(predictions: Predictions, split: Split, modality: str, rows: BoolArray) -> Removal:
    groups = [group for group, has in zip(split.groups, rows, strict=True) if has]
    complete, reduced = predictions[Subset.LAV][rows], predictions[subset_without(modality)][rows]
    change = mean_interval(np.abs(reduced - complete).mean(axis=1), groups)
    labels = split.labels[rows].reshape(len(complete), -1)
    if not np.isfinite(labels).all():
        return Removal(modality, len(complete), change)
    before, after = (np.abs(prediction - labels).mean(axis=1) for prediction in (complete, reduced))
    increase = mean_interval(after - before, groups)
    return Removal(modality, len(complete), change, float(before.mean()), float(after.mean()), increase)


def _sigmoid(logits: FloatArray) -> FloatArray:
    """Return the logistic function, computed without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)


def _output_names(task: Task) -> tuple[str, ...]:
    return ("",) if task.is_score else task.labels


def _label(split: Split, row: int, output: int) -> float:
    return float(np.ravel(split.labels[row])[output])
