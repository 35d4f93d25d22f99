"""Evaluate one model on one split, on every subset of modalities, next to the baselines. Needs NumPy only."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.files import write_text
from edge_msa.data.dataset import Dataset, FloatArray, Split, SplitName
from edge_msa.data.labeled import is_labeled
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, EdgeMsaError
from edge_msa.evaluation.metrics import (
    MEDIAN,
    baseline_constants,
    bootstrap_interval,
    describe,
    describe_constant,
    gate_metric,
    measure,
    measure_baselines,
    missing_average,
)
from edge_msa.evaluation.subsets import Predict, available_subsets
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_runtime.modalities import Subset

SCHEMA = 2
RESAMPLES = 500
BAYES_OPTIMUM_HINT = (
    "Bayes optimum: the expected metrics of an optimal predictor on this split. "
    "A split is finite, so a model can exceed them slightly by chance."
)

Metrics = Mapping[str, float]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Source:
    """What was evaluated."""

    name: str
    """Name of the run or bundle."""
    kind: Literal["run", "bundle"]
    """Whether `name` is a run or a bundle."""
    precision: str = "fp32"
    """Precision of the graphs."""
    backend: str = "torch"
    """The backend that the graphs are for."""
    device: str = "CPU"
    """Device that executed the graphs."""


@dataclass(frozen=True)
class SubsetPredictions:
    """Predictions from one subset of modalities."""

    subset: Subset
    """The modalities."""
    rows: NDArray[np.int64]
    """(n,): the predicted samples of the split, in ascending order."""
    scores: FloatArray
    """Scores (n,) or logits (n, E)."""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation. `edge_msa.evaluation.metrics.measure` describes the keys and units of metrics."""

    source: Source
    """What was evaluated."""
    task: str
    """Name of the task."""
    split: str
    """Name of the split."""
    dataset: str
    """Name of the dataset."""
    digest: str
    """SHA-256 of the dataset."""
    samples: int
    """Samples in the split."""
    counts: Mapping[str, int]
    """Evaluated samples by subset: those with a valid frame of at least one modality of the subset."""
    skipped_subsets: tuple[str, ...]
    """Subsets with a modality that the split or the model does not have."""
    by_subset: Mapping[str, Metrics]
    """Metrics of the evaluated subsets."""
    missing_average: Metrics
    """Mean over the incomplete subsets."""
    baselines: Mapping[str, Metrics]
    """Metrics of constant predictions on the whole split."""
    baseline_constants: Mapping[str, tuple[float, ...]]
    """The constants of the baselines."""
    gate_metric: str
    """The metric of the accuracy gate."""
    bayes_optimum: Mapping[str, Metrics] = field(default_factory=dict)
    """Expected metrics of an optimal predictor by subset; known for synthetic data only."""
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    """95 % bootstrap intervals (low, high) by subset and metric."""
    interval_unit: str = ""
    """What the bootstrap resampled: `groups` (videos) or `samples`."""
    notes: tuple[str, ...] = ()
    """What a user must know about the result."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, marked as an evaluation of this schema."""
        return {"record": "evaluation", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not an evaluation of this schema, or a key is missing or unknown.
        """
        if value.get("record") != "evaluation" or value.get("schema") != SCHEMA:
            actual = f"{value.get('record')!r} of schema {value.get('schema')!r}"
            raise EdgeMsaError(f"The record must be an evaluation of schema {SCHEMA}, got {actual}. Evaluate again.")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["source"] = Source(**fields["source"])
            fields["baseline_constants"] = {name: tuple(item) for name, item in fields["baseline_constants"].items()}
            fields["intervals"] = {
                subset: {metric: (low, high) for metric, (low, high) in items.items()}
                for subset, items in fields.get("intervals", {}).items()
            }
            for name in ("skipped_subsets", "notes"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EdgeMsaError(f"Invalid evaluation ({error}). Evaluate again.") from None


def evaluate(
    predict: Predict,
    dataset: Dataset,
    split_name: SplitName,
    source: Source,
    *,
    bayes_optimum: Mapping[str, Metrics] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[Evaluation, tuple[SubsetPredictions, ...]]:
    """Predict a split from every subset of modalities, and return the metrics and the predictions.

    Args:
        predict: Called once per subset, with the samples that have a valid frame of any of its modalities.
        dataset: Determines the task. The median of its training labels is one of the baselines.
        split_name: The split to evaluate.
        source: Describes `predict`.
        bayes_optimum: Metrics of an optimal predictor by subset, where known.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples; 0 for no intervals.

    Raises:
        DataError: The split is missing, empty, or has samples without labels.
        EdgeMsaError: A prediction is not finite or has the wrong shape.
    """
    split = dataset.split(split_name)
    if not np.isfinite(split.labels).all():
        raise DataError(
            f"The {split_name} split of {dataset.name} has samples without labels, which cannot be evaluated. "
            f"Pass another --split, or predict them: edge-msa predict MODEL --data FILE --split {split_name}"
        )
    predictions = tuple(_predict_subsets(predict, split))
    if not predictions:
        raise EdgeMsaError(f"No sample of the {split_name} split of {dataset.name} has a valid frame.")
    by_subset = {item.subset.value: measure(dataset.task, split.labels[item.rows], item.scores) for item in predictions}
    intervals, unit = _intervals(dataset.task, split, predictions, seed, resamples)
    baseline, constants, notes = _baselines(dataset, split)
    return Evaluation(
        source=source,
        task=dataset.task.kind,
        split=split_name,
        dataset=dataset.name,
        digest=dataset.digest,
        samples=len(split),
        counts={item.subset.value: len(item.rows) for item in predictions},
        skipped_subsets=tuple(subset.value for subset in Subset if subset.value not in by_subset),
        by_subset=by_subset,
        missing_average=missing_average(by_subset),
        baselines=baseline,
        baseline_constants=constants,
        gate_metric=gate_metric(dataset.task),
        bayes_optimum=dict(bayes_optimum or {}),
        intervals=intervals,
        interval_unit=unit,
        notes=(*dataset.notes, *notes),
    ), predictions


def write_predictions(path: Path, task: Task, split: Split, predictions: Sequence[SubsetPredictions]) -> Path:
    """Write a CSV file of id, label, subset and score, with one row per sample and subset.

    Each emotion has its own label and score columns.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    suffixes = [""] if task.is_score else [f".{label}" for label in task.labels]
    writer.writerow(["id", *(f"label{end}" for end in suffixes), "subset", *(f"score{end}" for end in suffixes)])
    for item in predictions:
        for row, score in zip(item.rows, item.scores, strict=True):
            label = np.atleast_1d(split.labels[row])
            writer.writerow([split.ids[row], *map(str, label), item.subset.value, *map(str, np.atleast_1d(score))])
    return write_text(path, text.getvalue())


def format_evaluation(evaluation: Evaluation) -> str:
    """Return a table of all subsets, their average, the baselines and the Bayes optimum, followed by notes.

    Accuracies and F1 are in percent.
    """
    names = list(next(iter(evaluation.by_subset.values())))
    header = ["available", *(describe(name).title for name in names), "samples"]
    rows = [
        [label, *(describe(name).format(metrics[name]) if name in metrics else ABSENT for name in names), count]
        for label, metrics, count in table_rows(evaluation)
    ]
    return "\n".join([_title(evaluation), "", text_table(header, rows), *_notes(evaluation)])


def table_rows(evaluation: Evaluation) -> Iterator[tuple[str, Metrics, str]]:
    """Yield the label, metrics and number of samples of each row of the table."""
    for subset, metrics in evaluation.by_subset.items():
        yield subset, metrics, str(evaluation.counts[subset])
    if evaluation.missing_average:
        yield "missing-average", evaluation.missing_average, ABSENT
    constants = evaluation.baseline_constants
    for name, (metrics, numbers) in merge_equal(
        {n: (m, constants[n]) for n, m in evaluation.baselines.items()}
    ).items():
        yield f"baseline: {name} ({describe_constant(numbers, metrics)})", metrics, str(evaluation.samples)
    for subset, metrics in evaluation.bayes_optimum.items():
        if subset in evaluation.by_subset:
            yield f"Bayes optimum {subset}", metrics, ABSENT


def merge_equal(baselines: Mapping[str, Value]) -> dict[str, Value]:
    """Return baselines by their printed names. Equal ones share one entry, e.g. `median = best constant`."""
    merged: dict[str, Value] = {}
    for baseline, value in baselines.items():
        name = baseline.replace("_", " ")
        equal = next((other for other, known in merged.items() if known == value), None)
        if equal is None:
            merged[name] = value
        else:
            merged = {(f"{other} = {name}" if other == equal else other): known for other, known in merged.items()}
    return merged


def _title(evaluation: Evaluation) -> str:
    source = evaluation.source
    return (
        f"{source.name} ({source.kind}, {source.precision}, {source.backend} on {source.device}): "
        f"{evaluation.split} split of {evaluation.dataset}, {evaluation.samples} samples"
    )


def _notes(evaluation: Evaluation) -> Iterator[str]:
    if any(subset in evaluation.by_subset for subset in evaluation.bayes_optimum):
        yield f"\n{BAYES_OPTIMUM_HINT}"
    if evaluation.intervals:
        unit = "videos" if evaluation.interval_unit == "groups" else "samples (too few videos)"
        yield f"\n95 % intervals from a bootstrap over {unit}:"
        for subset, items in evaluation.intervals.items():
            parts = (
                f"{describe(name).title} {describe(name).format(low)} to {describe(name).format(high)}"
                for name, (low, high) in items.items()
            )
            yield f"  {subset.ljust(3)}  {', '.join(parts)}"
    if evaluation.skipped_subsets:
        subsets = ", ".join(evaluation.skipped_subsets)
        yield f"\nSkipped subsets, because the model or the split lacks one of their modalities: {subsets}"
    for subset, count in evaluation.counts.items():
        if count < evaluation.samples:
            yield f"{subset}: {evaluation.samples - count} samples without a valid frame excluded"
    yield from evaluation.notes


def _predict_subsets(predict: Predict, split: Split) -> Iterator[SubsetPredictions]:
    for subset, rows in available_subsets(split):
        part = split if len(rows) == len(split) else split.select(rows)
        yield SubsetPredictions(subset, rows, np.asarray(predict(part, subset), dtype=np.float32))


def _baselines(
    dataset: Dataset, split: Split
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[float, ...]], tuple[str, ...]]:
    train = dataset.splits.get("train")
    known = train.labels[is_labeled(train)] if train is not None else split.labels[:0]
    has_labels = len(known) > 0
    labels = known if has_labels else split.labels
    metrics = measure_baselines(dataset.task, labels, split.labels)
    values = baseline_constants(dataset.task, labels, split.labels)
    constants = {name: tuple(float(number) for number in value) for name, value in values.items()}
    if has_labels:
        return metrics, constants, ()
    del metrics[MEDIAN], constants[MEDIAN]
    return metrics, constants, (f"{dataset.name} has no training labels, so the median baseline is omitted",)


def _intervals(
    task: Task, split: Split, predictions: Sequence[SubsetPredictions], seed: int, resamples: int
) -> tuple[dict[str, dict[str, tuple[float, float]]], str]:
    if not resamples:
        return {}, ""
    names = [gate_metric(task), "mae"] if task.is_score else [gate_metric(task)]
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    unit = ""
    for item in predictions:
        labels, groups = split.labels[item.rows], [split.groups[row] for row in item.rows]
        by_metric = {
            name: bootstrap_interval(task, labels, item.scores, groups, seed, metric=name, resamples=resamples)
            for name in names
        }
        intervals[item.subset.value] = {name: (interval.low, interval.high) for name, interval in by_metric.items()}
        unit = by_metric[names[0]].unit
    return intervals, unit
