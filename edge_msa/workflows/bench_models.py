"""`edge-msa bench models`: several models and baselines on the same samples, in one table."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_msa.arguments import AnyPath, check_choice, check_count, paths_of, sources_of
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.machine import describe_machine
from edge_msa.console import activity
from edge_msa.data.dataset import SPLITS, Dataset, FloatArray, Split, SplitName
from edge_msa.data.labeled import keep_labeled
from edge_msa.data.opening import open_and_report
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa.evaluation.baseline_check import complete_subset
from edge_msa.evaluation.lexicon import Vader
from edge_msa.evaluation.metrics import (
    Units,
    baseline_constants,
    compare_models,
    constant_predictions,
    estimate_metrics,
    gate_metric,
    metric_functions,
)
from edge_msa.evaluation.subsets import available_subsets
from edge_msa.reporting.models import ModelAccuracy, ModelBenchmark, ModelCost, write_models_page
from edge_msa.training.run_data import open_dataset_for_run
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.evaluate import Predictor, open_predictor
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime import Session, load
from edge_msa_runtime.benchmark.bench import bench_sessions
from edge_msa_runtime.benchmark.latency_statistics import PERCENTILES, summarize
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.output_paths import check_distinct_outputs
from edge_msa_runtime.timing import time_interleaved
from edge_msa_runtime.wording import format_part

BaselineName = Literal["vader"]
_METRICS = ("mae", "corr", "acc2_non0", "acc7")
_WORDS = 20
"""Number of words of the timed text, which have about 24 tokens. The validation text that is closest is used."""
_WARMUP = 20


@dataclass(frozen=True)
class _Method:
    """Predictions of a model or a baseline for a split, (n,) or (n, E)."""

    name: str
    scores: FloatArray


@api
def bench_models(
    models: AnyPath | Sequence[AnyPath],
    *,
    data: AnyPath | Sequence[AnyPath],
    split: SplitName = "test",
    baselines: Sequence[str] = (),
    backend: str = "auto",
    precision: str | None = None,
    repeats: int = 700,
    output: AnyPath | None = None,
    page: AnyPath | None = None,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ModelBenchmark:
    """Compare models on the same samples: accuracy with paired intervals, size and latency, beside baselines.

    Every model predicts from all modalities that it takes. A sample from which it cannot predict gets the median of the
    training labels. The constants of `evaluate` are always among the baselines.

    Args:
        models: Runs, bundles and cascades. Differences are from the first one. Only the latency of bundles is measured.
        data: Feature files or transcripts with labels.
        split: Split to measure on: `"train"`, `"valid"` or `"test"`.
        baselines: Further baselines: `"vader"`, a lexicon of English sentiment whose scale is fitted on validation.
        backend: Backend of the bundles (default: the first backend of each that is available here).
        precision: Precision of the bundles: `"fp32"`, `"fp16"` or `"int8"` (default: the one that `export` chose).
        repeats: Number of timed predictions per bundle.
        output: JSON file to write with all metrics and differences.
        page: File to write with the tables: Markdown if it ends in `.md`, HTML if it ends in `.html`.
        task: What the labels mean (default: what the data states, or else the task of the first model).
        overwrite: Whether to replace existing files.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Returns:
        The comparison, as a table with one row per data set and model.

    Raises:
        RunUsageError: A model is neither a run nor a bundle.
        UsageError: An argument is invalid.
        DataError: The data does not fit a model.
        BackendUnavailableError: A backend or the package of a baseline is not installed.

    Examples:
        >>> print(em.bench_models(["table", "encoder"], data="mosi.npz", baselines=["vader"]))
    """
    paths, files = paths_of(models, "models", "a run, a bundle, or a list of them"), sources_of(data, "data")
    names = _names(paths)
    check_choice(split, "split", SplitName)
    for name in baselines:
        check_choice(name, "baselines", BaselineName)
    check_count(repeats, "repeats")
    inputs = [*paths, *files]
    output_path = None if output is None else output_file(output, "output", inputs)
    page_path = None if page is None else output_file(page, "page", inputs)
    if page_path is not None and page_path.suffix not in {".html", ".md"}:
        raise UsageError(f"page must end in .html or .md, got {page_path.name}. Rename it.")
    check_distinct_outputs(item for item in (output_path, page_path) if item is not None)
    datasets = [_open(file, paths[0], task) for file in files]
    titles = [dataset.name for dataset in datasets]
    if len(set(titles)) < len(titles):
        raise UsageError(f"The names of the data must differ, got {', '.join(titles)}. Rename a file.")
    vaders = [_fit_vader(dataset) for dataset in datasets] if "vader" in baselines else []
    notes: list[str] = []
    accuracies: list[ModelAccuracy] = []
    for index, (file, dataset) in enumerate(zip(files, datasets, strict=True)):
        samples = dataset.split(split)
        median, constants = _constants(dataset, samples)
        methods = []
        for name, path in zip(names, paths, strict=True):
            with activity(f"Predicting the {split} split of {dataset.name}: {name}"):
                scores, missing = _predict(path, file, dataset, split, task, median, backend, precision)
            methods.append(_Method(name, scores))
            if missing:
                part = format_part(missing, len(samples), "sample", "has", "have")
                notes.append(f"{part} no prediction of {name} in {dataset.name}: the median of the training labels.")
        if vaders:
            methods.append(_Method("vader", vaders[index].predict(samples.texts)))
            slope, offset = vaders[index].line
            notes.append(f"vader on {dataset.name}: {slope:.2f} compound {offset:+.2f}, fitted on the valid split.")
        accuracies += _compare(dataset, samples, [*methods, *constants])
    text = _timed_text(datasets[0])
    costs = _measure_costs(names, paths, vaders[0] if vaders else None, text, backend, precision, repeats)
    constants_names = [item.name for item in accuracies[len(costs) : len(accuracies) // len(files)]]
    benchmark = ModelBenchmark(
        split=split,
        samples={dataset.name: len(dataset.split(split)) for dataset in datasets},
        text=text,
        costs=(*costs, *(ModelCost(name, "baseline") for name in constants_names)),
        accuracies=tuple(accuracies),
        machine=describe_machine(),
        notes=tuple(notes),
    )
    if output_path is not None:
        write_text(output_path, json.dumps(benchmark.to_json(), indent=1) + "\n")
    if page_path is not None:
        write_models_page(benchmark, page_path)
    return benchmark


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name per model: that of its folder, with its parent's if several have the same."""
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = ["/".join(path.resolve().parts[-2:]) for path in paths]
    if len(set(names)) < len(names):
        raise UsageError(f"The names of the models must differ, got {', '.join(names)}. Pass each model once.")
    return names


def _open(file: str, model: Path, task: str | None) -> Dataset:
    """Open data. If it states no task, it has the task of the first model."""
    try:
        dataset = open_and_report(file, task)
    except UnstatedTaskError:
        if (model / INFO_NAME).is_file():
            stated = str(load_run(model).spec.task.kind)
        elif (model / MANIFEST_NAME).is_file():
            stated = open_bundle(model).manifest.task.kind
        else:
            raise
        dataset = open_and_report(file, stated)
    return keep_labeled(dataset, SPLITS)


def _fit_vader(dataset: Dataset) -> Vader:
    valid = dataset.split("valid")
    if not dataset.task.is_score or not valid.texts or not np.isfinite(valid.labels).all():
        raise DataError(
            f"The valid split of {dataset.name} must have texts and scores to fit the scale of VADER. Omit --baseline."
        )
    return Vader(valid.texts, valid.labels, dataset.task)


def _constants(dataset: Dataset, samples: Split) -> tuple[FloatArray, list[_Method]]:
    """Return the prediction for samples without any, and the constant baselines."""
    train = dataset.splits.get("train", samples)
    labels = train.labels if np.isfinite(train.labels).all() else samples.labels
    constants = baseline_constants(dataset.task, labels, samples.labels)
    methods = [
        _Method(name.replace("_", " "), constant_predictions(dataset.task, constant, len(samples)))
        for name, constant in constants.items()
    ]
    return next(iter(constants.values())), methods


def _predict(
    path: Path,
    file: str,
    dataset: Dataset,
    name: SplitName,
    task: str | None,
    default: FloatArray,
    backend: str,
    precision: str | None,
) -> tuple[FloatArray, int]:
    """Return the predictions of a model for a split, and the number of samples that got the default."""
    if (path / INFO_NAME).is_file():
        inputs, backend, precision = keep_labeled(open_dataset_for_run(load_run(path), file, task)), "auto", None
    else:
        inputs = dataset
    with open_predictor(path, inputs, backend=backend, precision=precision) as predictor:
        rows, predicted = _predict_complete(predictor, name)
        samples = dataset.split(name)
        if predictor.dataset.split(name).ids != samples.ids:
            raise DataError(
                f"{path} uses other samples of the {name} split of {dataset.name}. Pass data that it takes."
            )
    scores = constant_predictions(dataset.task, default, len(samples)).astype(np.float32)
    scores[rows] = predicted
    return scores, len(samples) - len(rows)


def _predict_complete(predictor: Predictor, name: SplitName) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the predictions from the subset with the most modalities, and their rows."""
    split = predictor.dataset.split(name)
    subsets = {subset.value: (subset, rows) for subset, rows in available_subsets(split)}
    if not subsets:
        raise DataError(f"No sample of the {name} split of {predictor.dataset.name} has a frame that the model takes.")
    subset, rows = subsets[complete_subset(subsets)]
    return rows, predictor.predict(split.select(rows), subset)


def _compare(dataset: Dataset, samples: Split, methods: Sequence[_Method]) -> list[ModelAccuracy]:
    """Return the metrics of all methods, and their differences from the first one."""
    known = metric_functions(dataset.task)
    metrics = [name for name in _METRICS if name in known] or [gate_metric(dataset.task)]
    units, rows = Units.of(samples.groups), np.arange(len(samples))
    estimates = [estimate_metrics(dataset.task, samples.labels, item.scores, rows, units, metrics) for item in methods]
    return [
        ModelAccuracy(
            method.name,
            dataset.name,
            {name: item.value for name, item in found.items()},
            {} if index == 0 else compare_models(estimates[0], found),
        )
        for index, (method, found) in enumerate(zip(methods, estimates, strict=True))
    ]


def _timed_text(dataset: Dataset) -> str:
    """Return the text whose number of words is closest to `_WORDS`; empty if the data has no texts."""
    split = dataset.splits.get("valid", next(iter(dataset.splits.values())))
    return min(split.texts, key=lambda text: abs(len(text.split()) - _WORDS), default="")


def _measure_costs(
    names: Sequence[str],
    paths: Sequence[Path],
    vader: Vader | None,
    text: str,
    backend: str,
    precision: str | None,
    repeats: int,
) -> list[ModelCost]:
    """Return the cost of each model, and of VADER. Bundles with the same inputs are timed interleaved."""
    costs: dict[str, ModelCost] = {}
    with ExitStack() as stack, activity("Measuring latency"):
        sessions = {
            name: stack.enter_context(load(path, backend=backend, precision=precision))
            for name, path in zip(names, paths, strict=True)
            if (path / MANIFEST_NAME).is_file()
        }
        groups: dict[tuple[Subset, bool], dict[str, Session]] = {}
        for name, session in sessions.items():
            subset = Subset.of(session.manifest.modalities)
            groups.setdefault((subset, session.manifest.language is not None), {})[name] = session
        for (subset, takes_text), members in groups.items():
            results = bench_sessions(
                list(members.values()),
                subsets=[subset],
                text=text if takes_text and text else None,
                repeats=repeats,
                warmup=_WARMUP,
            )
            for (name, session), result in zip(members.items(), results, strict=True):
                latency = result.latencies[0]
                title = session.manifest.describe_precision(session.backend, session.precision)
                costs[name] = ModelCost(
                    name, "bundle", title or session.precision, session.backend, result.file_bytes, latency.values_ms
                )
    measured = [costs.get(name) or _untimed(name, path) for name, path in zip(names, paths, strict=True)]
    if vader is not None:
        (times_ms,) = time_interleaved([functools.partial(vader.predict, [text])], repeats, _WARMUP)
        quantiles = {name: item.value for name, item in summarize([times_ms]).items() if item is not None}
        latency_ms = {name: value for name, value in quantiles.items() if name in PERCENTILES}
        measured.append(ModelCost("vader", "baseline", size_bytes=vader.size_bytes, latency_ms=latency_ms))
    return measured


def _untimed(name: str, path: Path) -> ModelCost:
    """Return what is known of a run, or of a cascade, whose latency depends on the samples."""
    return ModelCost(name, "run", "fp32", "torch") if (path / INFO_NAME).is_file() else ModelCost(name, "cascade")
