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
from edge_msa.artifacts.schemas import check_schema
from edge_msa.console import activity, is_printed, report_progress
from edge_msa.data.dataset import Dataset, FloatArray, Split, SplitName
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, EdgeMsaError
from edge_msa.evaluation.agreement import Agreement, SubsetAgreement, format_agreement
from edge_msa.evaluation.baseline_check import (
    ConstantComparison,
    ConstantComparisons,
    baseline_warning,
    beats_constant,
    checked_metrics,
    compare_with_constants,
    complete_subset,
    known_constants,
    too_few_warning,
    weak_subsets,
)
from edge_msa.evaluation.class_tables import format_classes, is_per_class
from edge_msa.evaluation.conversation_memory import (
    ContextFit,
    ContextResult,
    Scores,
    adjust_scores,
    format_context,
    measure_context,
)
from edge_msa.evaluation.earlier_utterances import EarlierUtterances, format_earlier, measure_earlier
from edge_msa.evaluation.intervals.frame_loss import lose_frames
from edge_msa.evaluation.intervals.quality import (
    COMPLETE,
    MISSING_FRAMES,
    WITH_CONTEXT,
    CoverageLevel,
    StatedIntervals,
    format_quality,
    measure_quality,
)
from edge_msa.evaluation.metrics import (
    FROM_TRAINING,
    Estimate,
    Method,
    Units,
    average_estimates,
    bootstrap_interval,
    compare_methods,
    confusion_matrix,
    describe,
    describe_constant,
    estimate_metrics,
    gate_metric,
    headline_metrics,
    measure,
    measure_constants,
    missing_average,
    prediction_correlation,
)
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.evaluation.subsets import Predict, available_subsets
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.wording import format_count

SCHEMA = 4
RESAMPLES = 500
MISSING_AVERAGE = "missing_average"
"""Name of the mean over the incomplete subsets, among the names of subsets."""
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
    precision_title: str = ""
    """The precision as text if some layers of int8 compute in float, else empty."""

    @property
    def title(self) -> str:
        """The precision for people, e.g. `int8: 5 of 9 layers, 80 % of MACs`."""
        return self.precision_title or self.precision


@dataclass(frozen=True)
class SubsetPredictions:
    """Predictions from one subset of modalities."""

    subset: Subset
    """The modalities."""
    rows: NDArray[np.int64]
    """(n,): the predicted samples of the split, in ascending order."""
    scores: FloatArray
    """Scores (n,) or logits (n, outputs)."""


@dataclass(frozen=True, repr=False)
class Evaluation(Table):
    """Metrics of a model on one split, for every subset of modalities, beside the baselines.

    `edge_msa.evaluation.metrics.measure` describes the keys and units of metrics. `print` shows the table.
    """

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
    """95 % bootstrap intervals (low, high) by subset and metric, see `headline_metrics`."""
    interval_unit: str = ""
    """What the bootstrap resampled: `groups` (videos), or `samples` if any subset has too few videos."""
    estimates: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    """The gate metric and MAE by subset, with the contribution of each video, so that evaluations on the same split can
    be compared."""
    against_constants: Mapping[str, ConstantComparisons] = field(default_factory=dict)
    """The same metrics beside those of the better baseline, by subset, except subsets with samples of one video."""
    prediction_intervals: Mapping[str, Mapping[str, tuple[CoverageLevel, ...]]] = field(default_factory=dict)
    """Coverage, width and risk of a bundle's prediction intervals or sets: by condition (`complete`; `missing frames`
    if they were measured; `with context` if there is a conversation memory), then by subset, one level per coverage
    that the bundle states."""
    context: ContextResult | None = None
    """Metrics with the conversation memory; None if there is none. All other fields are without it."""
    earlier: EarlierUtterances | None = None
    """Metrics without the earlier utterances that the text encoder reads; None if it reads none. All other fields are
    with them."""
    confusion: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Number of samples by subset, class of the label and predicted class; empty for other tasks than classes."""
    notes: tuple[str, ...] = ()
    """What a user must know about the result."""
    agreement: Agreement | None = None
    """Comparison with another precision of the same bundle, if there was one. It is not part of the JSON record."""

    @property
    def predicts_classes(self) -> bool:
        """Whether the task is one of several classes."""
        return self.task.partition(":")[0] == "classes"

    def __repr__(self) -> str:
        """Return what was evaluated, and the gate metric and MAE on the subset with the most modalities."""
        subset = complete_subset(self.by_subset)
        wanted = dict.fromkeys(("mae", "accuracy", self.gate_metric))
        names = [name for name in wanted if name in self.by_subset[subset]]
        metrics = ", ".join(
            f"{describe(name).title} {describe(name).format(self.by_subset[subset][name])}" for name in names
        )
        return (
            f"<Evaluation of {self.source.name}, {self.split} split of {self.dataset}, {self.samples} samples: "
            f"{metrics} on {subset}>"
        )

    def __str__(self) -> str:
        """Return the table for people."""
        table = format_evaluation(self)
        return table if self.agreement is None else f"{table}\n\n{format_agreement(self.agreement)}"

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per subset, for the mean over incomplete subsets, per baseline, and per Bayes optimum.

        `kind` is `model`, `average`, `model with context`, `model without earlier utterances`, `baseline` or `bayes
        optimum`. `available` is the subset, or the name of the baseline. Accuracies and F1 are fractions from 0 to 1.
        """
        rows: list[Row] = [
            {"kind": "model", "available": subset, "samples": self.counts[subset], **metrics}
            for subset, metrics in self.by_subset.items()
        ]
        if self.missing_average:
            rows.append({"kind": "average", "available": MISSING_AVERAGE, "samples": None, **self.missing_average})
        if self.context is not None:
            for subset, metrics in self.context.by_subset.items():
                rows.append(
                    {"kind": "model with context", "available": subset, "samples": self.counts[subset], **metrics}
                )
        for subset, metrics in ({} if self.earlier is None else self.earlier.without).items():
            kind = "model without earlier utterances"
            rows.append({"kind": kind, "available": subset, "samples": self.counts[subset], **metrics})
        for name, metrics in self.baselines.items():
            rows.append({"kind": "baseline", "available": name, "samples": self.samples, **metrics})
        for subset, metrics in self.bayes_optimum.items():
            if subset in self.by_subset:
                rows.append({"kind": "bayes optimum", "available": subset, "samples": None, **metrics})
        return tuple(rows)

    @property
    def beats_constant(self) -> bool | None:
        """Whether the model beats a constant on the subset with the most modalities. None if it cannot be decided."""
        comparisons = self.against_constants.get(complete_subset(self.by_subset))
        return None if comparisons is None else beats_constant(comparisons)

    @property
    def baseline_warning(self) -> str | None:
        """A warning if the model does not beat a constant on the subset with the most modalities, else None."""
        if self.beats_constant is not False:
            return None
        subset = complete_subset(self.by_subset)
        return baseline_warning(self.source.name, self.split, subset, self.against_constants[subset])

    def estimate(self, subset: str, metric: str) -> Estimate | None:
        """Return a metric with the contribution of each video, or None if it was not measured.

        Args:
            subset: A subset, or `MISSING_AVERAGE` for the mean over the incomplete subsets.
            metric: The gate metric or `mae`.
        """
        if subset != MISSING_AVERAGE:
            return self.estimates.get(subset, {}).get(metric)
        incomplete = [
            items[metric] for name, items in self.estimates.items() if name != Subset.LAV.value and metric in items
        ]
        return average_estimates(incomplete) if incomplete else None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, marked as an evaluation of this schema."""
        fields = dataclasses.asdict(dataclasses.replace(self, agreement=None))
        del fields["agreement"]
        return {"record": "evaluation", "schema": SCHEMA, **fields}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not an evaluation of this schema, or a key is missing or unknown.
        """
        check_schema(value, "evaluation", SCHEMA, title="an evaluation", again="Evaluate again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["source"] = Source(**fields["source"])
            fields["baseline_constants"] = {name: tuple(item) for name, item in fields["baseline_constants"].items()}
            fields["intervals"] = {
                subset: {metric: (low, high) for metric, (low, high) in items.items()}
                for subset, items in fields.get("intervals", {}).items()
            }
            fields["estimates"] = {
                subset: {
                    metric: Estimate(**{**item, "contributions": tuple(item["contributions"])})
                    for metric, item in items.items()
                }
                for subset, items in fields.get("estimates", {}).items()
            }
            fields["against_constants"] = {
                subset: {metric: ConstantComparison(**item) for metric, item in items.items()}
                for subset, items in fields.get("against_constants", {}).items()
            }
            fields["prediction_intervals"] = {
                condition: {subset: tuple(CoverageLevel(**item) for item in items) for subset, items in levels.items()}
                for condition, levels in fields.get("prediction_intervals", {}).items()
            }
            context = fields.get("context")
            fields["context"] = None if context is None else ContextResult.from_json(context)
            earlier = fields.get("earlier")
            fields["earlier"] = None if earlier is None else EarlierUtterances.from_json(earlier)
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
    stated: StatedIntervals | None = None,
    missing_frames: bool = False,
    context: ContextFit | None = None,
    reads_earlier: int = 0,
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
        stated: Prediction intervals, or sets, of the bundle that predicts. Their coverage is then measured.
        missing_frames: Whether to measure their coverage also on utterances with missing frames.
        context: The context head of the model. If the split is the one that it was fitted on, scores are adjusted by
            heads that were fitted without their videos.
        reads_earlier: Number of earlier utterances that the text encoder of the model reads. Predictions without them
            are then compared.
        seed: Seed of the bootstrap and of the missing frames.
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
    what = f"{source.name}, {source.backend} {source.precision}"
    with activity(f"Predicting the {split_name} split: {what}"):
        predictions = tuple(_predict_subsets(predict, split))
    if not predictions:
        raise EdgeMsaError(f"No sample of the {split_name} split of {dataset.name} has a valid frame.")
    with activity(f"Computing metrics and intervals: {what}"):
        evaluation = _measure(dataset, split_name, source, predictions, bayes_optimum, seed, resamples)
    if stated is not None:
        quality = {COMPLETE: _measure_intervals(dataset.task, split, predictions, stated)}
        if missing_frames:
            with activity(f"Predicting the {split_name} split with missing frames: {what}"):
                lossy = lose_frames(split, np.random.default_rng(seed), words=stated.takes_text)
                lossy_predictions = tuple(_predict_subsets(predict, lossy))
            quality[MISSING_FRAMES] = _measure_intervals(dataset.task, lossy, lossy_predictions, stated)
        if context is not None and context.head is not None:
            quality[WITH_CONTEXT] = _measure_intervals(dataset.task, split, predictions, stated, context)
        evaluation = dataclasses.replace(evaluation, prediction_intervals=quality)
    if context is not None:
        evaluation = dataclasses.replace(
            evaluation, context=_measure_context(dataset.task, split, predictions, context)
        )
    if reads_earlier and any(split.earlier):
        with activity(f"Predicting the {split_name} split without earlier utterances: {what}"):
            alone = [item for item in _predict_subsets(predict, split.without_earlier()) if "l" in item.subset.value]
        evaluation = dataclasses.replace(
            evaluation,
            earlier=measure_earlier(
                dataset.task,
                split,
                reads_earlier,
                _by_subset(predictions),
                _by_subset(alone),
                checked_metrics(dataset.task),
            ),
        )
    return evaluation, predictions


def _by_subset(predictions: Sequence[SubsetPredictions]) -> Scores:
    return {item.subset: (item.rows, item.scores) for item in predictions}


def _measure_context(
    task: Task, split: Split, predictions: Sequence[SubsetPredictions], fit: ContextFit
) -> ContextResult | None:
    return measure_context(task, split, _by_subset(predictions), fit, checked_metrics(task))


def _measure_intervals(
    task: Task,
    split: Split,
    predictions: Sequence[SubsetPredictions],
    stated: StatedIntervals,
    context: ContextFit | None = None,
) -> dict[str, tuple[CoverageLevel, ...]]:
    """Return the levels of each subset, with a context head for the scores that it adjusts."""
    levels = {}
    for item in predictions:
        scores = item.scores
        if context is not None and context.head is not None:
            scores = (
                scores + context.left_out[item.subset]
                if context.left_out
                else adjust_scores(context.head, split, item.subset, item.rows, scores)
            )
        adjusted = None if scores is item.scores else scores != item.scores
        levels[item.subset.value] = measure_quality(
            task, split, item.rows, scores, item.subset, stated, with_context=adjusted
        )
    return levels


def _measure(
    dataset: Dataset,
    split_name: SplitName,
    source: Source,
    predictions: Sequence[SubsetPredictions],
    bayes_optimum: Mapping[str, Metrics] | None,
    seed: int,
    resamples: int,
) -> Evaluation:
    split = dataset.split(split_name)
    by_subset = {item.subset.value: measure(dataset.task, split.labels[item.rows], item.scores) for item in predictions}
    intervals, unit = _intervals(dataset.task, split, predictions, seed, resamples)
    constants = known_constants(dataset, split)
    estimates, against_constants = _estimates(dataset.task, split, predictions, constants)
    notes = dataset.notes
    if not FROM_TRAINING & constants.keys():
        notes = (*notes, f"{dataset.name} has no training labels, so the baseline of the training labels is omitted")
    return Evaluation(
        source=source,
        task=dataset.task.option,
        split=split_name,
        dataset=dataset.name,
        digest=dataset.digest,
        samples=len(split),
        counts={item.subset.value: len(item.rows) for item in predictions},
        skipped_subsets=tuple(subset.value for subset in Subset if subset.value not in by_subset),
        by_subset=by_subset,
        missing_average=missing_average(by_subset),
        baselines=measure_constants(dataset.task, constants, split.labels),
        baseline_constants={name: tuple(map(float, value)) for name, value in constants.items()},
        gate_metric=gate_metric(dataset.task),
        bayes_optimum=dict(bayes_optimum or {}),
        intervals=intervals,
        interval_unit=unit,
        estimates=estimates,
        against_constants=against_constants,
        confusion={
            item.subset.value: _confusion(dataset.task, split.labels[item.rows], item.scores)
            for item in predictions
            if dataset.task.kind == "classes"
        },
        notes=notes,
    )


def _confusion(task: Task, labels: FloatArray, logits: FloatArray) -> dict[str, dict[str, int]]:
    counts = confusion_matrix(task, labels, logits).tolist()
    return {label: dict(zip(task.labels, row, strict=True)) for label, row in zip(task.labels, counts, strict=True)}


def write_predictions(path: Path, task: Task, split: Split, predictions: Sequence[SubsetPredictions]) -> Path:
    """Write a CSV file of id, label, subset and score, with one row per sample and subset.

    Each emotion has its own label and score columns. Classes have the name of the label, and a score column (a logit)
    per class.

    Raises:
        EdgeMsaError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    suffixes = [""] if task.is_score else [f".{label}" for label in task.labels]
    columns = suffixes if task.kind == "emotions" else [""]
    writer.writerow(["id", *(f"label{end}" for end in columns), "subset", *(f"score{end}" for end in suffixes)])
    for item in predictions:
        for row, score in zip(item.rows, item.scores, strict=True):
            label: Any = np.atleast_1d(split.labels[row])
            if task.kind == "classes":
                label = [task.labels[int(index)] for index in label]
            writer.writerow([split.ids[row], *map(str, label), item.subset.value, *map(str, np.atleast_1d(score))])
    return write_text(path, text.getvalue())


def format_evaluation(evaluation: Evaluation) -> str:
    """Return a table of all subsets, their average, the baselines and the Bayes optimum, followed by notes.

    Accuracies and F1 are in percent.
    """
    names = [name for name in next(iter(evaluation.by_subset.values())) if not is_per_class(name, evaluation.confusion)]
    header = ["available", *(describe(name).title for name in names), "samples"]
    rows = [
        [label, *(describe(name).format(metrics[name]) if name in metrics else ABSENT for name in names), count]
        for label, metrics, count in table_rows(evaluation)
    ]
    classes = format_classes(evaluation.by_subset, evaluation.confusion)
    return "\n".join([_title(evaluation), "", text_table(header, rows), *classes, *_notes(evaluation)])


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


def baseline_notes(evaluation: Evaluation) -> Iterator[str]:
    """Yield what the comparison with constants says: a warning, and the subsets on which a constant is as good."""
    warning = evaluation.baseline_warning
    if warning:
        yield f"warning: {warning}"
    complete = complete_subset(evaluation.by_subset)
    counted = list(evaluation.estimates.get(complete, {}).values())
    if counted and not all(item.has_variance for item in counted):
        yield too_few_warning(evaluation.source.name, evaluation.split, counted[0].count, counted[0].unit)
    weak = [subset for subset in weak_subsets(evaluation.against_constants) if subset != complete]
    if weak:
        units = {item.unit for subset in weak for item in evaluation.estimates.get(subset, {}).values()}
        cover = " and ".join(f"the choice of {describe_unit(unit)}" for unit in sorted(units)) or "no choice"
        yield f"On {', '.join(weak)} the model does not beat a constant. The 95 % intervals cover {cover}."


def _title(evaluation: Evaluation) -> str:
    source = evaluation.source
    return (
        f"{source.name} ({source.kind}, {source.title}, {source.backend} on {source.device}): "
        f"{evaluation.split} split of {evaluation.dataset}, {evaluation.samples} samples"
    )


def _notes(evaluation: Evaluation) -> Iterator[str]:
    if any(subset in evaluation.by_subset for subset in evaluation.bayes_optimum):
        yield f"\n{BAYES_OPTIMUM_HINT}"
    if evaluation.intervals:
        yield f"\n95 % intervals from a bootstrap over {describe_unit(evaluation.interval_unit)}:"
        for subset, items in evaluation.intervals.items():
            parts = (
                f"{describe(name).title} {describe(name).format(low)} to {describe(name).format(high)}"
                for name, (low, high) in items.items()
            )
            yield f"  {subset.ljust(3)}  {', '.join(parts)}"
    if evaluation.context is not None:
        yield f"\n{format_context(evaluation.context)}"
    if evaluation.earlier is not None:
        yield f"\n{format_earlier(evaluation.earlier)}"
    if evaluation.prediction_intervals:
        yield f"\n{format_quality(evaluation.prediction_intervals, sets=evaluation.predicts_classes)}"
    if evaluation.skipped_subsets:
        subsets = ", ".join(evaluation.skipped_subsets)
        yield f"\nSkipped subsets, because the model or the split lacks one of their modalities: {subsets}"
    for subset, count in evaluation.counts.items():
        if count < evaluation.samples:
            yield f"{subset}: {format_count(evaluation.samples - count, 'sample')} without a valid frame excluded"
    yield from (note for note in evaluation.notes if not is_printed(note))
    yield from baseline_notes(evaluation)


def _predict_subsets(predict: Predict, split: Split) -> Iterator[SubsetPredictions]:
    subsets = list(available_subsets(split))
    for done, (subset, rows) in enumerate(subsets):
        text = f"Predicting {len(rows)} samples from {subset.value}"
        report_progress("evaluate: subset", done, len(subsets), text)
        part = split if len(rows) == len(split) else split.select(rows)
        yield SubsetPredictions(subset, rows, np.asarray(predict(part, subset), dtype=np.float32))


def _estimates(
    task: Task, split: Split, predictions: Sequence[SubsetPredictions], constants: Mapping[str, FloatArray]
) -> tuple[dict[str, dict[str, Estimate]], dict[str, ConstantComparisons]]:
    units = Units.of(split.groups)
    estimates: dict[str, dict[str, Estimate]] = {}
    against_constants: dict[str, ConstantComparisons] = {}
    for item in predictions:
        labels, subset = split.labels[item.rows], item.subset.value
        estimates[subset] = estimate_metrics(task, labels, item.scores, item.rows, units, checked_metrics(task))
        comparisons = compare_with_constants(task, labels, estimates[subset], item.rows, units, constants)
        if comparisons:
            against_constants[subset] = comparisons
    return estimates, against_constants


def _intervals(
    task: Task, split: Split, predictions: Sequence[SubsetPredictions], seed: int, resamples: int
) -> tuple[dict[str, dict[str, tuple[float, float]]], str]:
    if not resamples:
        return {}, ""
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    units: set[str] = set()
    for item in predictions:
        labels, groups = split.labels[item.rows], [split.groups[row] for row in item.rows]
        by_metric = {
            name: bootstrap_interval(task, labels, item.scores, groups, seed, metric=name, resamples=resamples)
            for name in headline_metrics(task)
        }
        intervals[item.subset.value] = {name: (interval.low, interval.high) for name, interval in by_metric.items()}
        units |= {interval.unit for interval in by_metric.values()}
    return intervals, max(units)  # "samples" if any subset has too few videos.


def compare_evaluations(
    reference: Evaluation,
    reference_predictions: Sequence[SubsetPredictions],
    other: Evaluation,
    other_predictions: Sequence[SubsetPredictions],
) -> Agreement:
    """Compare two evaluations on the same split, and the predictions behind them."""
    gate = other.gate_metric
    names = [gate, "mae"] if all("mae" in metrics for metrics in other.by_subset.values()) else [gate]
    subsets = []
    for first, second in zip(reference_predictions, other_predictions, strict=True):
        subset = first.subset.value
        metrics = {name: (reference.by_subset[subset][name], other.by_subset[subset][name]) for name in names}
        differences = {
            name: compare_methods(*(_one_model(item.estimates[subset][name]) for item in (reference, other)))
            for name in names
            if reference.estimates[subset][name].has_variance
        }
        correlation = prediction_correlation(first.scores, second.scores)
        subsets.append(SubsetAgreement(subset, metrics, differences, correlation))
    return Agreement((reference.source.precision, other.source.precision), tuple(subsets))


def _one_model(estimate: Estimate) -> Method:
    return Method([estimate], depends_on_seed=False)
