"""`edge-msa calibrate`: collect activation statistics of a student and choose its INT8 ranges."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

from edge_msa.arguments import AnyPath, check_choice, check_count, check_seed, optional_source, path_of
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import STUDENT_EPOCHS, Run, find_current_run, load_run, new_run, write_run
from edge_msa.console import (
    print_detail,
    print_note,
    print_notes,
    print_output,
    print_progress,
    print_result,
    print_up_to_date,
)
from edge_msa.deployment.graphs import load_student_graphs
from edge_msa.deployment.student import DeployableStudent, load_deployable_student
from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.calibration_samples import draw_calibration_samples
from edge_msa.training.run_data import encode_texts_for_run, open_unencoded_dataset_for_run
from edge_msa.training.text.text_input import copy_text_input
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.outputs import output_folder
from edge_msa_calibrate.collect import Checkpoint, collect_statistics
from edge_msa_calibrate.drift import TensorDrift, measure_drift, significant_drift
from edge_msa_calibrate.layers import encoder_of
from edge_msa_calibrate.ranges import Method, compute_ranges, format_ranges
from edge_msa_calibrate.schemes import SCHEMES
from edge_msa_calibrate.smoothing import compute_smoothing
from edge_msa_calibrate.statistics import Statistics
from edge_msa_export.graphs.files import GraphsByKey, write_graphs
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.int8_layers import count_int8_layers
from edge_msa_export.text import TextGraph

STATISTICS_NAME = "statistics.npz"
CHECKPOINT_NAME = "checkpoint-statistics.npz"
VALIDATION_SAMPLES = 128
"""Number of validation samples that the calibration samples are compared with."""
MAX_PRINTED_DRIFTS = 5


@api
def calibrate(
    model: AnyPath,
    *,
    output_dir: AnyPath,
    data: AnyPath | None = None,
    method: Method = "mse",
    num_samples: int = 512,
    seed: int = 0,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Collect activation statistics of a student and choose its int8 ranges, and write both as a run.

    The step is skipped if `output_dir` is up to date. An interrupted one continues where it stopped.

    Args:
        model: Run of `distill`, `train_text` or `distill_text`.
        output_dir: Folder of the run. It appears only when it is complete.
        data: Feature file, or `"synthetic"` (default: the student's training data). Samples are drawn from its training
            split.
        method: How to compute the ranges from the statistics: `"mse"`, `"percentile"`, `"entropy"` or `"minmax"`.
        num_samples: Number of training samples to collect statistics from.
        seed: Seed of the random samples, 0 to 2**32 - 1.
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace a run of other inputs or options in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called while statistics are collected.

    Returns:
        The calibration run, which `export` and `sensitivity` take.

    Raises:
        UsageError: An argument or the data cannot be used.
        RunUsageError: `model` is no run of a student, or `output_dir` contains something else.
        CalibrationError: The samples cannot be used.

    Examples:
        >>> calibrated = em.calibrate(student, data="mosi.pkl", output_dir="calibrated")
    """
    model_path, data_path = path_of(model, "model", "a run of a student"), optional_source(data)
    check_choice(method, "method", Method)
    check_count(num_samples, "num_samples")
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [model_path, data_path])
    source = load_run(model_path, "student")
    unencoded = open_unencoded_dataset_for_run(source, data_path, task)
    recipe = {"method": method, "num_samples": num_samples}
    inputs = {"data": unencoded.digest, "student": source.digest}
    request = Request("calibrate", recipe, seed, inputs)
    if run := find_current_run(run_dir, request):
        print_up_to_date(run_dir)
        return run
    student = load_deployable_student(source, encode_texts_for_run(source, unencoded))
    draw_samples = functools.partial(
        draw_calibration_samples,
        student.dataset,
        student.text,
        student.spec.encoder_tokens,
        student.gap_frames,
        seed=seed,
    )
    with new_run(run_dir, request.cache_key) as work:
        graphs = load_student_graphs(student)
        observed = _observed_graphs(graphs, student)
        checkpoint = Checkpoint(work / CHECKPOINT_NAME, request.cache_key)
        statistics = collect_statistics(observed, draw_samples(num_samples=num_samples), checkpoint=checkpoint)
        calibration = _calibrate(statistics, method)
        statistics.save(work / STATISTICS_NAME)
        samples = min(num_samples, len(unencoded.split("train")))
        _write_calibration(work, request, source, graphs, calibration, samples)
    _print_fp32_encoders(student, calibration)
    _print_int8_layers({**graphs, **observed}, calibration)
    validation = list(draw_samples(num_samples=VALIDATION_SAMPLES, split_name="valid"))
    if validation:
        _print_drift(measure_drift(statistics, collect_statistics(observed, validation), calibration.ranges))
    print_detail(format_ranges(calibration.ranges))
    next_command = f"edge-msa export {run_dir} --target laptop --output-dir bundle-laptop"
    print_output(f"calibration over {samples} samples", run_dir, next_step(next_command))
    return load_run(run_dir)


def _write_calibration(
    work: Path, request: Request, source: Run, graphs: GraphsByKey, calibration: Calibration, samples: int
) -> None:
    """Write the run of a calibrated student, except its statistics.

    Args:
        work: Folder to write.
        request: Request of the calibration.
        source: Run of the student.
        graphs: Graphs of the student.
        calibration: Its ranges.
        samples: Number of calibration samples.
    """
    write_graphs(work, graphs)
    calibration.save(work)
    if source.spec.text_input:
        copy_text_input(source.path, work)
    info = dataclasses.replace(
        source.info,
        kind="calibration",
        **request.to_json(),
        metrics={"samples": samples, "tensors": len(calibration.ranges), STUDENT_EPOCHS: source.training_epochs},
    )
    write_run(work, info, source.weights, [])


def _observed_graphs(graphs: GraphsByKey, student: DeployableStudent) -> GraphsByKey:
    """Return the graphs to observe: one window graph per subset, and a text encoder graph if there is one."""
    observed = {key: graph for key, graph in graphs.items() if key.role == "window" and key.length is None}
    if isinstance(student.text, TextGraph):
        observed |= export_text_encoders(student.text, [student.spec.encoder_tokens])
    return observed


def _calibrate(statistics: Statistics, method: Method) -> Calibration:
    """Choose ranges and smoothing factors. Every layer with a range becomes INT8."""
    smoothing = compute_smoothing(statistics)
    return Calibration(compute_ranges(statistics, method, smoothing), smoothing)


def _print_fp32_encoders(student: DeployableStudent, calibration: Calibration) -> None:
    """Print which encoders stay FP32 in INT8 graphs, and why."""
    calibrated = {encoder_of(key) for key in calibration.ranges}
    print_notes(
        f"The {name} encoder stays fp32 in int8 graphs: no training sample has a frame of {name}."
        for name in student.spec.dims
        if name not in calibrated
    )


def _print_int8_layers(graphs: GraphsByKey, calibration: Calibration) -> None:
    """Print how much computes in INT8. Without a mixed-precision plan, it is the same under every scheme."""
    layers = count_int8_layers(graphs, next(iter(SCHEMES)), calibration.ranges, {})
    unusable = "" if layers.share.layers else ", so export offers no int8"
    print_result(f"{layers.describe()}{unusable}")


def _print_drift(drifts: tuple[TensorDrift, ...]) -> None:
    """Print the tensors whose distribution on validation differs most from the calibration samples."""
    significant = significant_drift(drifts)
    if significant:
        print_note(
            f"The validation data differs from the calibration samples in {len(significant)} of {len(drifts)} "
            "tensors, so int8 may lose more accuracy than measured. Calibrate on samples like those in production."
        )
    for item in significant[:MAX_PRINTED_DRIFTS]:
        print_progress(f"  {item}")
