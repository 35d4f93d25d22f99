"""One model on one split, on every subset of modalities that the split has, beside the baselines. NumPy only."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.files import write_text
from edge_msa.data.dataset import Dataset, FloatArray, Split, SplitName
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError, EdgeMsaError
from edge_msa.evaluation.metrics import (
    MEDIAN,
    baseline_constants,
    baselines,
    bootstrap_interval,
    describe,
    describe_constant,
    gate_metric,
    measure,
    missing_average,
)
from edge_msa.text_tables import ABSENT, text_table
from edge_msa_runtime.modalities import Subset

SCHEMA = 1
DRAWS = 500
LIMIT = (
    "limit: what the best possible reader gets on this very split on average; "
    "a split is finite, so a model may land a little beyond it by luck"
)

Metrics = Mapping[str, float]
Value = TypeVar("Value")
Predict = Callable[[Split, Subset], FloatArray]
"""Predictions, (n,) scores or (n, E) logits, of the samples of a split from that subset of their modalities alone."""


@dataclass(frozen=True)
class Source:
    """What was evaluated: `kind` says whether `name` is a run or a bundle; `device` is what executed."""

    name: str
    kind: Literal["run", "bundle"]
    precision: str = "fp32"
    backend: str = "torch"
    device: str = "CPU"


@dataclass(frozen=True)
class SubsetPredictions:
    """Predictions from one subset: `rows` (n,) of the split, ascending, and `scores` (n,) or (n, E) for them."""

    subset: Subset
    rows: NDArray[np.int64]
    scores: FloatArray


@dataclass(frozen=True)
class Evaluation:
    """What was measured. Metrics are keyed and scaled as `edge_msa.evaluation.metrics.measure` gives them.

    `by_subset` has the subsets that could be measured; `left_out` those with a modality that the split lacks
    altogether or that the model was made without. A sample that has no valid frame of any modality of a subset cannot
    be read from it: it is excluded there, `counts` are the samples read, `samples` those of the split.
    `missing_average` is over the incomplete subsets of `by_subset`. `baselines` are on the whole split, made of
    `baseline_constants`. `limits`, where the generator knows them, are what the best possible reader expects. `intervals`
    are 95 % bootstrap intervals, (low, high), over `interval_unit` (`groups` are videos). `notes` are lines that a
    reader must see.
    """

    source: Source
    task: str
    split: str
    dataset: str
    digest: str
    samples: int
    counts: Mapping[str, int]
    left_out: tuple[str, ...]
    by_subset: Mapping[str, Metrics]
    missing_average: Metrics
    baselines: Mapping[str, Metrics]
    baseline_constants: Mapping[str, tuple[float, ...]]
    gate_metric: str
    limits: Mapping[str, Metrics] = field(default_factory=dict)
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    interval_unit: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, marked as an evaluation of this schema."""
        return {"record": "evaluation", "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Evaluation:
        """What `to_json` made, after a way through JSON text or not.

        Raises:
            EdgeMsaError: another record or schema, or a key that is missing or unknown.
        """
        if value.get("record") != "evaluation" or value.get("schema") != SCHEMA:
            found = f"{value.get('record')!r} of schema {value.get('schema')!r}"
            raise EdgeMsaError(f"this is {found}, not an evaluation of schema {SCHEMA}: evaluate again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["source"] = Source(**fields["source"])
            fields["baseline_constants"] = {name: tuple(item) for name, item in fields["baseline_constants"].items()}
            fields["intervals"] = {
                subset: {metric: (low, high) for metric, (low, high) in items.items()}
                for subset, items in fields.get("intervals", {}).items()
            }
            for name in ("left_out", "notes"):
                fields[name] = tuple(fields.get(name, ()))
            return cls(**fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EdgeMsaError(f"this evaluation cannot be read ({error}): evaluate again") from None


def evaluate(
    predict: Predict,
    dataset: Dataset,
    split_name: SplitName,
    source: Source,
    *,
    limits: Mapping[str, Metrics] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[Evaluation, tuple[SubsetPredictions, ...]]:
    """Read the split from every subset and measure.

    Args:
        predict: asked once a subset, with the samples that can be read from it.
        dataset: the task comes from it; its training labels make the baseline of a model that learned nothing.
        split_name: which split.
        source: what `predict` stands for.
        limits: by subset, metrics of the best possible reader, where they are known.
        seed: of the bootstrap.
        draws: of the bootstrap; 0 for no intervals.

    Raises:
        DataError: there is no such split, it is empty, or has samples without labels.
        EdgeMsaError: `predict` gave something that cannot be measured.
    """
    split = dataset.split(split_name)
    if not np.isfinite(split.labels).all():
        raise DataError(
            f"the {split_name} split of {dataset.name} has samples without labels: "
            "they can be predicted (edge-msa-run predict), not evaluated; label them or give another --split"
        )
    predictions = tuple(_read(predict, split))
    if not predictions:
        raise EdgeMsaError(f"no sample of the {split_name} split of {dataset.name} has a valid frame: nothing to read")
    by_subset = {item.subset.value: measure(dataset.task, split.labels[item.rows], item.scores) for item in predictions}
    intervals, unit = _intervals(dataset.task, split, predictions, seed, draws)
    baseline, constants, notes = _baselines(dataset, split)
    return Evaluation(
        source=source,
        task=dataset.task.kind,
        split=split_name,
        dataset=dataset.name,
        digest=dataset.digest,
        samples=len(split),
        counts={item.subset.value: len(item.rows) for item in predictions},
        left_out=tuple(subset.value for subset in Subset if subset.value not in by_subset),
        by_subset=by_subset,
        missing_average=missing_average(by_subset),
        baselines=baseline,
        baseline_constants=constants,
        gate_metric=gate_metric(dataset.task),
        limits=dict(limits or {}),
        intervals=intervals,
        interval_unit=unit,
        notes=(*dataset.notes, *notes),
    ), predictions


def write_predictions(path: Path, task: Task, split: Split, predictions: Sequence[SubsetPredictions]) -> Path:
    """A CSV of id, label, subset, score; one row a sample and subset. Emotions have a label and a score column each.

    Raises:
        EdgeMsaError: the file cannot be written.
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


def write_evaluation(path: Path, evaluation: Evaluation) -> Path:
    """The evaluation as a JSON file, for `edge-msa report`.

    Raises:
        EdgeMsaError: the file cannot be written.
    """
    return write_text(path, json.dumps(evaluation.to_json(), indent=1) + "\n")


def format_table(evaluation: Evaluation) -> str:
    """The evaluation for people: subsets, missing-average, both baselines, limits; then what was left out, and notes.

    Shares are percent; MAE, RMSE and Corr are as they are.
    """
    names = list(next(iter(evaluation.by_subset.values())))
    header = ["available", *(describe(name).title for name in names), "samples"]
    rows = [
        [label, *(describe(name).format(metrics[name]) if name in metrics else ABSENT for name in names), count]
        for label, metrics, count in table_rows(evaluation)
    ]
    return "\n".join([_title(evaluation), "", text_table(header, rows), *_remarks(evaluation)])


def table_rows(evaluation: Evaluation) -> Iterator[tuple[str, Metrics, str]]:
    """(label, metrics, samples) of every row of the table, in its order."""
    for subset, metrics in evaluation.by_subset.items():
        yield subset, metrics, str(evaluation.counts[subset])
    if evaluation.missing_average:
        yield "missing-average", evaluation.missing_average, ABSENT
    constants = evaluation.baseline_constants
    for name, (metrics, numbers) in once({n: (m, constants[n]) for n, m in evaluation.baselines.items()}).items():
        yield f"baseline: {name} ({describe_constant(numbers, metrics)})", metrics, str(evaluation.samples)
    for subset, metrics in evaluation.limits.items():
        if subset in evaluation.by_subset:
            yield f"limit {subset}", metrics, ABSENT


def once(baselines: Mapping[str, Value]) -> dict[str, Value]:
    """Baselines by their printed names, equal ones once and named together: `learned nothing = best constant`."""
    names: dict[str, Value] = {}
    for baseline, value in baselines.items():
        own = baseline.replace("_", " ")
        twin = next((name for name, other in names.items() if other == value), None)
        if twin is None:
            names[own] = value
        else:
            names = {(f"{name} = {own}" if name == twin else name): other for name, other in names.items()}
    return names


def _title(evaluation: Evaluation) -> str:
    source = evaluation.source
    return (
        f"{source.name} ({source.kind}, {source.precision}, {source.backend} on {source.device}): "
        f"{evaluation.split} split of {evaluation.dataset}, {evaluation.samples} samples"
    )


def _remarks(evaluation: Evaluation) -> Iterator[str]:
    if any(subset in evaluation.by_subset for subset in evaluation.limits):
        yield f"\n{LIMIT}"
    if evaluation.intervals:
        unit = "videos" if evaluation.interval_unit == "groups" else "samples (too few videos to draw from)"
        yield f"\n95 % intervals, bootstrap over {unit}:"
        for subset, items in evaluation.intervals.items():
            parts = (
                f"{describe(name).title} {describe(name).format(low)} to {describe(name).format(high)}"
                for name, (low, high) in items.items()
            )
            yield f"  {subset.ljust(3)}  {', '.join(parts)}"
    if evaluation.left_out:
        subsets = ", ".join(evaluation.left_out)
        yield f"\nleft out, for the model or all of this split lacks a modality of them: {subsets}"
    for subset, count in evaluation.counts.items():
        if count < evaluation.samples:
            yield f"{subset}: {evaluation.samples - count} samples without a valid frame of it are excluded"
    yield from evaluation.notes


def _read(predict: Predict, split: Split) -> Iterator[SubsetPredictions]:
    for subset in Subset:
        if not all(name in split.modalities and split.modalities[name].valid.any() for name in subset.modalities):
            continue
        present = np.any([split.modalities[name].valid.any(axis=1) for name in subset.modalities], axis=0)
        rows = np.flatnonzero(present)
        kept = split if len(rows) == len(split) else split.select(rows)
        yield SubsetPredictions(subset, rows, np.asarray(predict(kept, subset), dtype=np.float32))


def _baselines(
    dataset: Dataset, split: Split
) -> tuple[dict[str, dict[str, float]], dict[str, tuple[float, ...]], tuple[str, ...]]:
    train = dataset.splits.get("train")
    known = train is not None and len(train) > 0
    labels = train.labels if train is not None and known else split.labels
    found = baselines(dataset.task, labels, split.labels)
    values = baseline_constants(dataset.task, labels, split.labels)
    constants = {name: tuple(float(number) for number in value) for name, value in values.items()}
    if known:
        return found, constants, ()
    # Without training labels nobody can know what a model that learned nothing says.
    del found[MEDIAN], constants[MEDIAN]
    return found, constants, (f"{dataset.name} has no training labels: the baseline of learning nothing is left out",)


def _intervals(
    task: Task, split: Split, predictions: Sequence[SubsetPredictions], seed: int, draws: int
) -> tuple[dict[str, dict[str, tuple[float, float]]], str]:
    if not draws:
        return {}, ""
    names = [gate_metric(task), "mae"] if task.is_score else [gate_metric(task)]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    unit = ""
    for item in predictions:
        labels, groups = split.labels[item.rows], [split.groups[row] for row in item.rows]
        of_subset = {
            name: bootstrap_interval(task, labels, item.scores, groups, seed, metric=name, draws=draws)
            for name in names
        }
        found[item.subset.value] = {name: (interval.low, interval.high) for name, interval in of_subset.items()}
        unit = of_subset[names[0]].unit
    return found, unit
