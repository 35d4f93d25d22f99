"""`edge-msa bench peers`: bundles beside their teachers, ALMT as published and the int8 of other tools, in one run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from edge_msa.arguments import AnyPath, check_choice, check_count, optional_source, paths_of
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import INFO_NAME, Run, load_run
from edge_msa.benchmark.almt import torch_threads
from edge_msa.benchmark.machine import describe_machine
from edge_msa.benchmark.peer_table import Difference, PeerBenchmark, PeerRow
from edge_msa.benchmark.peers import (
    Contender,
    Samples,
    bundle_contenders,
    latency_ratio,
    published_almt,
    quantized_bundles,
    select_calibration,
    select_samples,
    teacher_contenders,
    time_contenders,
)
from edge_msa.config.teachers import TeacherName
from edge_msa.console import print_notes
from edge_msa.data.dataset import SPLITS, Dataset, FloatArray, Split, SplitName
from edge_msa.data.labeled import keep_labeled
from edge_msa.errors import DataError, RunUsageError, UsageError
from edge_msa.evaluation.metrics import (
    Estimate,
    Units,
    bootstrap_interval,
    compare_models,
    estimate_metrics,
    gate_metric,
    metric_functions,
)
from edge_msa.evaluation.predictors import select_session_inputs
from edge_msa.training.run_data import data_source_for_run, open_dataset_for_run
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.evaluate import neither_run_nor_bundle, open_dataset_of
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime import load
from edge_msa_runtime.benchmark.conditions import format_conditions, measure_conditions
from edge_msa_runtime.benchmark.latency_statistics import PERCENTILES, min_samples
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME

_METRICS = ("mae", "acc2_non0")
_TEACHERS: tuple[TeacherName, ...] = get_args(TeacherName)
_SIZE_NOTE = (
    "size KB: all files that the backend needs for every subset and for streams; of a teacher or a peer, the graphs "
    "that this measurement used"
)
_TIME_NOTE = "The time of a teacher excludes normalization, padding and text encoders; that of a bundle includes them."


@api
def bench_peers(
    models: AnyPath | Sequence[AnyPath],
    *,
    data: AnyPath | None = None,
    split: SplitName = "test",
    threads: int = 1,
    repeats: int = 400,
    output: AnyPath | None = None,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> PeerBenchmark:
    """Measure bundles beside what you could use instead: accuracy, latency and size, on the same samples in one run.

    Every bundle is measured on every backend and at every precision. Beside them are the runs that you pass, in torch
    and in ONNX Runtime; ALMT as published; and the same networks after the default int8 of other tools: ONNX Runtime's
    dynamic quantization, and NNCF for OpenVINO if it is installed. All are compared with the default of the first
    bundle: latency as a ratio with its interval, accuracy as a difference with its interval, paired by video.

    Args:
        models: Bundles, and runs such as their teachers. At least one bundle.
        data: Feature file with labels, or `"synthetic"` (default: the data that the first run was trained on, or the
            synthetic data that the first bundle was made from).
        split: Split to measure on: `"train"`, `"valid"` or `"test"`.
        threads: CPU threads of one prediction, 1 to 256.
        repeats: Timed predictions of each contender.
        output: JSON file to write, for `report`.
        task: What the labels mean (default: what the data states, or else the task of the model).
        overwrite: Whether to replace an existing file.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Returns:
        The comparison, as a table with one row per network, backend and precision.

    Raises:
        RunUsageError: A path is neither a run nor a bundle.
        UsageError: An argument is invalid, or no bundle was passed.
        DataError: The data does not fit a model.

    Examples:
        >>> print(em.bench_peers(["demo/teacher", "demo/bundle-laptop"]))
    """
    paths, source = paths_of(models, "models", "a run, a bundle, or a list of them"), optional_source(data)
    check_choice(split, "split", SplitName)
    check_count(threads, "threads", most=256)
    check_count(repeats, "repeats")
    output_path = None if output is None else output_file(output, "output", [*paths, source])
    runs, bundles = _open_models(paths)
    if source is None and runs:
        source = data_source_for_run(runs[0], None)
    opened, dataset = open_dataset_of(bundles[0].path, source, task)
    dataset = keep_labeled(dataset, SPLITS)
    if not len(dataset.split(split)):
        raise DataError(f"The {split} split of {dataset.name} has no labels, so accuracy is unknown. Pass another one.")
    machine = {**describe_machine(), "threads": str(threads), "before": format_conditions(measure_conditions())}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-msa-")))
        stack.enter_context(torch_threads(threads))
        contenders: list[Contender] = []
        selected = [_inputs_of(bundle, dataset) for bundle in bundles]
        samples = select_samples([item.split(split) for item in selected])
        for index, (bundle, inputs) in enumerate(zip(bundles, selected, strict=True)):
            print_notes(bundle.notes)
            part, target = inputs.split(split), folder / f"bundle-{index}"
            calibration = select_calibration(inputs)
            contenders += bundle_contenders(bundle, part, samples, stack, threads=threads, is_first=index == 0)
            contenders += quantized_bundles(bundle, part, calibration, samples, stack, target, threads=threads)
        for index, run in enumerate(runs):
            other = keep_labeled(run.spec.select_inputs(open_dataset_for_run(run, opened, task)), SPLITS)
            if other.split(split).ids != dataset.split(split).ids:
                raise DataError(f"{run.path} uses other samples of {dataset.name} than the bundle. Pass other data.")
            target = folder / f"run-{index}"
            contenders += teacher_contenders(run, other, other.split(split), samples, target, threads=threads)
        if all(run.info.model != "almt" for run in runs):
            specs, outputs = bundles[0].manifest.modalities, bundles[0].manifest.task.outputs
            dims, lengths = ({name: getattr(spec, key) for name, spec in specs.items()} for key in ("dim", "window"))
            contenders.append(published_almt(dims, lengths, outputs, folder / "almt", threads=threads))
        times = time_contenders(contenders, repeats)
        machine["after"] = format_conditions(measure_conditions())
    benchmark = PeerBenchmark(
        dataset=dataset.name,
        digest=dataset.digest,
        split=split,
        samples=len(samples.rows),
        predictions=repeats,
        unit=Units.of(dataset.split(split).groups).kind,
        contenders=tuple(_rows(contenders, times, dataset, dataset.split(split), samples)),
        machine=machine,
        notes=(_SIZE_NOTE, _TIME_NOTE),
    )
    if output_path is not None:
        write_text(output_path, json.dumps(benchmark.to_json(), indent=1) + "\n")
    return benchmark


def _open_models(paths: Sequence[Path]) -> tuple[list[Run], list[Bundle]]:
    runs: list[Run] = []
    bundles: list[Bundle] = []
    for path in paths:
        if (path / INFO_NAME).is_file():
            runs.append(load_run(path))
            if (model := runs[-1].info.model) not in _TEACHERS:
                raise RunUsageError(f"{path} must be a run of {' or '.join(_TEACHERS)}, got {model}. Pass its bundle.")
        elif (path / MANIFEST_NAME).is_file():
            bundles.append(open_bundle(path))
        else:
            raise neither_run_nor_bundle(path)
    if not bundles:
        raise UsageError("MODELS must have at least one bundle, got runs only. Pass a folder that export wrote.")
    return runs, bundles


def _inputs_of(bundle: Bundle, dataset: Dataset) -> Dataset:
    with load(bundle.path) as session:
        return select_session_inputs(session, dataset)


def _rows(
    contenders: Sequence[Contender],
    times: Sequence[NDArray[np.float64] | None],
    dataset: Dataset,
    split: Split,
    samples: Samples,
) -> Iterator[PeerRow]:
    known = metric_functions(dataset.task)
    metrics = [name for name in _METRICS if name in known] or [gate_metric(dataset.task)]
    units, labels = Units.of(split.groups), split.labels[samples.rows]
    estimates: list[Mapping[str, Estimate]] = [
        {} if item.scores is None else estimate_metrics(dataset.task, labels, item.scores, samples.rows, units, metrics)
        for item in contenders
    ]
    index = next(number for number, item in enumerate(contenders) if item.is_ours)
    ours_times, ours = times[index], estimates[index]
    for item, milliseconds, found in zip(contenders, times, estimates, strict=True):
        differences = compare_models(ours, found) if found and not item.is_ours else {}
        yield PeerRow(
            item.name,
            item.kind,
            item.backend,
            item.precision,
            item.is_ours,
            item.size_bytes,
            {} if milliseconds is None else _percentiles(milliseconds),
            None if milliseconds is None or ours_times is None else latency_ratio(milliseconds, ours_times),
            None if milliseconds is None or ours_times is None else float(milliseconds.min() / ours_times.min()),
            {name: estimate.value for name, estimate in found.items()},
            {name: Difference(value.value, value.low, value.high) for name, value in differences.items()},
            item.subset,
            {} if item.scores is None else _intervals(dataset, split, samples, item.scores, metrics),
            item.note,
        )


def _intervals(
    dataset: Dataset, split: Split, samples: Samples, scores: FloatArray, metrics: Sequence[str]
) -> dict[str, tuple[float, float]]:
    labels, groups = split.labels[samples.rows], [split.groups[row] for row in samples.rows]
    found = {name: bootstrap_interval(dataset.task, labels, scores, groups, metric=name) for name in metrics}
    return {name: (interval.low, interval.high) for name, interval in found.items()}


def _percentiles(milliseconds: NDArray[np.float64]) -> dict[str, float]:
    shares = {name: q for name, q in PERCENTILES.items() if name == "p50" or len(milliseconds) >= min_samples(q)}
    return {
        "min": float(milliseconds.min()),
        **{name: float(np.quantile(milliseconds, q)) for name, q in shares.items()},
    }
