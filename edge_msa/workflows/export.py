"""`edge-msa export`: build every precision for a target, measure each on validation data, and write the bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edge_msa.artifacts.requests import Request, check_may_replace
from edge_msa.artifacts.runs import INFO_NAME, Run, load_run
from edge_msa.benchmark.precisions import (
    LatencyRounds,
    PrecisionChoice,
    PrecisionMeasurement,
    choose_precision,
    measure_precisions,
    skip_latency,
)
from edge_msa.benchmark.remote import RemoteConfig, p50_on_host, probe_host
from edge_msa.config.settings import Settings
from edge_msa.console import (
    print_note,
    print_notes,
    print_output,
    print_progress,
    print_result,
    print_step,
    print_up_to_date,
)
from edge_msa.data.dataset import Dataset
from edge_msa.data.features import complete_features, load_features, unknown_modalities
from edge_msa.deployment.baselines import measure_baselines
from edge_msa.deployment.graphs import load_all_graphs
from edge_msa.deployment.lint_report import summarize_warnings
from edge_msa.deployment.request import make_export_request
from edge_msa.deployment.student import DeployableStudent, load_deployable_student
from edge_msa.deployment.torch_programs import (
    ProgramExport,
    check_programs_precision,
    format_programs,
    write_programs,
)
from edge_msa.errors import BackendUnavailableError, RunError, UsageError
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.training.context import Hardware
from edge_msa.training.run_data import encode_texts_for_run, open_dataset_for_run, open_unencoded_dataset_for_run
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.baseline_warning import find_baseline_warning
from edge_msa.workflows.calibrate import calibrate_student
from edge_msa.workflows.distill import distill_student
from edge_msa.workflows.train import train_teacher
from edge_msa_calibrate.errors import GateFailedError
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import is_bundle, write_bundle
from edge_msa_export.folders import check_destination
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.lint import LintTarget
from edge_msa_export.profiles import DeviceProfile, find_profile
from edge_msa_export.request import ExportRequest, list_variants
from edge_msa_export.torch_tensorrt.folder import is_programs_folder, load_provenance
from edge_msa_runtime.atomic_files import restore_folder
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.features import FeatureSource, features_to_json
from edge_msa_runtime.output_paths import FOLDER, check_output

DEFAULT_MODEL = Path("runs/calibrated")
_KEY, _FAILURE = "cache_key", "gate_failure"


def export_model(
    target: str,
    output_dir: Path | None,
    *,
    model: Path | None = None,
    data: str | None = None,
    precision: str = "auto",
    max_drop: float = 1.0,
    ir: bool = False,
    dla: bool = False,
    remote: RemoteConfig | None = None,
    allow_worse_than_constant: bool = False,
    task: str | None = None,
    features: Path | Mapping[str, Any] | None = None,
    in_pipeline: bool = False,
    accept_gate_failure: bool = False,
) -> Path:
    """Write a bundle for a target and return its path. The step is skipped if the bundle there is up to date.

    Args:
        target: Name of a device, name of a device family, or a TOML file.
        output_dir: Bundle to write (default: `bundle-TARGET`).
        model: Run of a student (default: `DEFAULT_MODEL`).
        data: Data whose validation split measures accuracy (default: the student's training data).
        precision: Name of a precision, or `auto` to measure all precisions and choose one.
        max_drop: Accuracy gate: largest loss, in points, on the worst subset.
        ir: Whether to export OpenVINO graphs as OpenVINO IR.
        dla: Whether to check TensorRT graphs for the target's DLA as well.
        remote: A device of the target's kind. Every precision is verified and timed on it (default: on this machine).
        allow_worse_than_constant: Whether to export a model that does not beat a constant on validation.
        task: Name of the task (default: the task that the data states).
        features: TOML file, or its tables, with what computed the features if the run does not say it (default: none).
        in_pipeline: Whether to print less, because the step is part of a pipeline.
        accept_gate_failure: Whether a failed accuracy gate is a note instead of an error.

    Raises:
        OutputError: `output_dir` contains something that is not a bundle.
        RunUsageError: `output_dir` contains a bundle of another request that may not be replaced.
        BackendUnavailableError: The remote host cannot be reached, or cannot run a bundle for the target.
        LintError: `dla` is set and the target has no DLA.
        GateFailedError: The requested precision loses too much accuracy; the bundle is written with the best
            precisions that passed. Or the model does not beat a constant; nothing is written.
    """
    # Check the arguments and the destination before any slow work.
    profile = find_profile(target)
    output = _output_dir(output_dir, f"bundle-{profile.name}", model)
    check_destination(output, is_bundle)
    if dla:
        LintTarget.from_profile(profile, "tensorrt", dla=True)
    if remote:
        _check_remote(remote, profile, precision)
    stated = load_features(features)
    run = _find_run(model)
    known = complete_features(run.spec.features, stated, run.spec.dims, str(run.path))
    unencoded = open_unencoded_dataset_for_run(run, data, task)
    settings = {
        "target": profile.name,
        "precision": precision,
        "max_drop": max_drop,
        "allow_worse_than_constant": allow_worse_than_constant,
        "ir": ir,
        "dla": dla,
        "host": remote.host.address if remote else None,
        "features": features_to_json(stated),
    }
    requested = _make_request("export", settings, profile, run, unencoded)
    if (failure := _find_current_bundle(output, requested)) is not None:
        print_up_to_date(output)
        return _finish(output, failure, accept_gate_failure=accept_gate_failure)

    # Load.
    student = load_deployable_student(run, encode_texts_for_run(run, unencoded))
    make_request = partial(
        make_export_request, student, profile, output.name, precision=precision, features=known, ir=ir, dla=dla
    )
    list_variants(make_request())  # raises before the slow export of graphs if the target does not support an option
    _check_against_constants(student, allowed=allow_worse_than_constant)
    graphs = load_all_graphs(student)
    request = make_request(graphs=graphs)
    print_notes(_notes(student.run, profile))
    print_notes(_unknown_features(known, run, profile, output))

    # Build, measure, choose and write.
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as folder:
        scratch = Path(folder)
        built = _build(student, request, graphs, scratch / "graphs")
        print_progress("Measuring on validation data.")
        predict = run_predictor(student.run)
        measure_latency = _latency_measurement(remote, precision)
        measurements = measure_precisions(built, request, student.dataset, predict, scratch, measure_latency)
        choices = tuple(choose_precision(item.name, measurements, precision, max_drop) for item in profile.backends)
        failure = _describe_failure(choices)
        write_bundle(
            output,
            built,
            _with_record(request, requested, failure, student.dataset, choices),
            {choice.backend: choice.precision for choice in choices},
            _accuracy_record(measurements),
            also_passed={choice.backend: choice.passing for choice in choices},
        )
    _print_choices(output, choices)
    next_command = f"edge-msa-run verify {output}   (on the device: see {output}/README.md)"
    print_output(f"bundle for {profile.name}", output, None if in_pipeline else next_command)
    return _finish(output, failure, accept_gate_failure=accept_gate_failure)


def _build(student: DeployableStudent, request: ExportRequest, graphs: GraphsByKey, folder: Path) -> GraphSet:
    """Build and verify the graphs of every precision for every backend, and print which are not available."""
    names = ", ".join(item.name for item in request.profile.backends)
    print_progress(f"Building and verifying every precision for {names}.")
    built = build_graphs(student.network, request, folder, graphs)
    for (backend, name), reason in built.refused.items():
        print_note(f"{name} is not available for {backend}: {reason}")
    print_notes(filter(None, [summarize_warnings(built.findings)]))
    return built


def _print_choices(output: Path, choices: Sequence[PrecisionChoice]) -> None:
    """Print the precision that was chosen for each backend, and why."""
    manifest = open_bundle(output).manifest
    for choice in choices:
        title = manifest.describe_precision(choice.backend, choice.precision)
        print_result(f"{choice.backend}: {title}, {choice.reason}")


def _describe_failure(choices: Sequence[PrecisionChoice]) -> str:
    """Return why the requested precision failed the gate on the first backend where it did; "" if on none."""
    for choice in choices:
        if choice.failure:
            return (
                f"{choice.failure}. The bundle contains {choice.precision} for {choice.backend}, the best that passed"
            )
    return ""


def _make_request(
    command: str, settings: Mapping[str, Any], profile: DeviceProfile, run: Run, dataset: Dataset
) -> Request:
    device = hashlib.sha256(json.dumps(profile.to_json(), sort_keys=True).encode()).hexdigest()
    inputs = {"model": run.digest, "data": dataset.digest, "task": dataset.task.kind, "device profile": device}
    return Request(command, settings, 0, inputs, {"model": str(run.path), "data": dataset.name})


def _with_record(
    request: ExportRequest, requested: Request, failure: str, dataset: Dataset, choices: Sequence[PrecisionChoice]
) -> ExportRequest:
    """Return the request with a record of what was asked for, from which `_find_current_bundle` decides.

    The record also has the reasons and the baselines, which the bundle's README states.
    """
    provenance = dataclasses.replace(
        request.provenance,
        request={**requested.to_json(), _FAILURE: failure},
        precision_reasons={choice.backend: choice.reason for choice in choices},
        validation=measure_baselines(dataset),
    )
    return dataclasses.replace(request, provenance=provenance)


def _find_current_bundle(output: Path, requested: Request) -> str | None:
    """Return the gate failure, or "", of the bundle in `output` if it is current; None if the bundle must be written.

    Raises:
        RunUsageError: There is a bundle of another request that may not be replaced.
    """
    restore_folder(output.absolute())
    if not (output / MANIFEST_NAME).is_file():
        return None
    record: Mapping[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = dict(json.loads((output / MANIFEST_NAME).read_text(encoding="utf-8"))["provenance"]["request"])
    if record.get(_KEY) == requested.cache_key and _is_valid_bundle(output):
        return str(record.get(_FAILURE, ""))
    check_may_replace(output, Request.from_json(record), requested)
    return None


def _finish(output: Path, failure: str, *, accept_gate_failure: bool) -> Path:
    """Return the path of the bundle. If a requested precision failed the gate, raise an error or print a note."""
    message = f"{failure}: {output}."
    if failure and not accept_gate_failure:
        raise GateFailedError(message)
    if failure:
        print_note(message)
    return output


def _is_valid_bundle(path: Path) -> bool:
    try:
        open_bundle(path)
    except (BundleError, UsageError):
        return False
    return True


def export_programs(
    target: str,
    output_dir: Path | None,
    *,
    model: Path | None = None,
    data: str | None = None,
    precision: str = "auto",
    task: str | None = None,
    unsupported: Sequence[str] = (),
) -> Path:
    """Write a folder of torch programs for a target, instead of a bundle.

    Args:
        target: Name of a device, name of a device family, or a TOML file.
        output_dir: Folder to write (default: `torch-tensorrt-TARGET`).
        model: Run of a student (default: `DEFAULT_MODEL`).
        data: Data that the golden samples come from (default: the student's training data).
        precision: Precision to compile for; `auto` is FP32.
        task: Name of the task (default: the task that the data states).
        unsupported: Options of the command line that are set but apply only to bundles.

    Raises:
        UsageError: The target has no torch-tensorrt, or an option is not supported.
        BackendUnavailableError: torch-tensorrt is not available here. The programs are written but not compiled.
        RunError: torch-tensorrt cannot compile the programs. They are written but not compiled.
    """
    profile = find_profile(target)
    chosen = check_programs_precision(profile, precision)
    if unsupported:
        raise UsageError(f"{unsupported[0]} applies only to bundles. Omit it with --torch-tensorrt.")
    output = _output_dir(output_dir, f"torch-tensorrt-{profile.name}", model)
    run = _find_run(model)
    dataset = open_dataset_for_run(run, data, task)
    settings = {"target": profile.name, "precision": chosen}
    requested = _make_request("export --torch-tensorrt", settings, profile, run, dataset)
    if is_programs_folder(output):
        check_may_replace(output, Request.from_json(load_provenance(output).request or {}), requested)
    check_destination(output, is_programs_folder)
    student = load_deployable_student(run, dataset)
    export = write_programs(student, profile, chosen, output, requested.to_json())
    print_result(format_programs(export))
    print_notes(_program_notes(export))
    print_output(f"programs for torch-tensorrt {profile.torch_tensorrt} on {profile.name}", output)
    if export.error is not None:
        raise _compile_error(export, output)
    return output


def train_calibrated_student(output_dir: Path, settings: Settings | None = None) -> Path:
    """Train a teacher, distill a student and calibrate it, in the folders `teacher`, `student` and `calibrated`.

    Steps that are up to date are skipped.

    Returns:
        The calibrated run.
    """
    require_single_process("training a calibrated student")
    settings = settings or Settings()
    options = settings.pipeline
    teacher, student, calibrated = (output_dir / name for name in ("teacher", "student", "calibrated"))
    hardware = Hardware(options.device)
    print_step("train")
    train_teacher(
        options.data,
        teacher,
        model=options.teacher,
        recipe={"hrlf": settings.hrlf, "almt": settings.almt},
        seed=options.seed,
        hardware=hardware,
        task=options.task,
        in_pipeline=True,
    )
    print_step("distill")
    distill_student(
        options.data,
        [teacher],
        student,
        recipe={"student": settings.student},
        seed=options.seed,
        hardware=hardware,
        task=options.task,
        in_pipeline=True,
    )
    print_step("calibrate")
    calibrate_student(
        options.data,
        student,
        calibrated,
        method=options.method,
        num_samples=options.num_samples,
        seed=options.seed,
        task=options.task,
        in_pipeline=True,
    )
    return calibrated


def _output_dir(output_dir: Path | None, default: str, model: Path | None) -> Path:
    """Return the folder to write, after checking the default one. The command line has checked a passed one."""
    if output_dir is not None:
        return output_dir
    check_output(default, FOLDER, [model or DEFAULT_MODEL])
    return Path(default)


def _find_run(model: Path | None) -> Run:
    return load_run(model, "student", "calibration") if model else _default_run()


def _check_against_constants(student: DeployableStudent, *, allowed: bool) -> None:
    """Check on validation that the student beats a constant prediction.

    Raises:
        GateFailedError: It does not, and this is not allowed.
    """
    warning = find_baseline_warning(student.run, student.dataset)
    if not warning:
        return
    if not allowed:
        raise GateFailedError(
            f"gate: {warning} Nothing was written. Train a better model, or pass --allow-worse-than-constant."
        )
    print_note(warning)


def _default_run() -> Run:
    """Return the calibrated student of an earlier pipeline. If there is none, train one on the synthetic task."""
    if (DEFAULT_MODEL / INFO_NAME).is_file():
        print_note(f"No run was passed. Using {DEFAULT_MODEL}.")
    else:
        print_note(f"No run was passed. Training the default model in {DEFAULT_MODEL.parent}.")
        train_calibrated_student(DEFAULT_MODEL.parent)
    return load_run(DEFAULT_MODEL, "calibration")


def _check_remote(remote: RemoteConfig, profile: DeviceProfile, precision: str) -> None:
    if precision != "auto":
        raise UsageError(
            f"--host measures latency to choose a precision, which needs --precision auto, got {precision}. "
            "Omit one of the two options."
        )
    print_progress(f"{remote.host.address}: {probe_host(remote, profile.to_json())}")


def _notes(run: Run, profile: DeviceProfile) -> Iterator[str]:
    """Yield the notes to print before the slow work starts."""
    if run.info.kind != "calibration" and any(backend.scheme for backend in profile.backends):
        yield (
            f"{run.path} is not calibrated, so the bundle will not contain int8. "
            f"To add it, run: edge-msa calibrate {run.path}"
        )


def _unknown_features(
    features: Mapping[str, FeatureSource], run: Run, profile: DeviceProfile, output: Path
) -> Iterator[str]:
    """Yield a note for each modality of which the bundle will not state what computes its features."""
    arguments = ["--target", profile.name, "--model", str(run.path), "--output-dir", str(output)]
    for name in unknown_modalities(features, run.spec.dims):
        command = shlex.join(["edge-msa", "export", *arguments, "--features", "features.toml", "--overwrite"])
        yield (
            f"{name}: the bundle does not state what computes its features, so it cannot warn about other ones. State "
            f"it in a TOML file, [{name}] with extractor = ..., and run: {command}"
        )


def _latency_measurement(remote: RemoteConfig | None, precision: str) -> Callable[[Path], LatencyRounds] | None:
    """Return the function that measures latency: `skip_latency` if the precision is fixed, None for this machine."""
    if remote is not None:
        return partial(p50_on_host, remote=remote)
    return None if precision == "auto" else skip_latency


def _accuracy_record(measurements: tuple[PrecisionMeasurement, ...]) -> dict[str, dict[str, Any]]:
    """Return the measured accuracy by backend and precision, in the format of a manifest."""
    record: dict[str, dict[str, Any]] = {}
    for item in measurements:
        record.setdefault(item.backend, {})[item.precision] = {
            "measured_by": item.measured_by,
            "by_subset": item.by_subset,
        }
    return record


def _program_notes(export: ProgramExport) -> Iterator[str]:
    info = export.info
    if info.compiled:
        yield f"The programs in compiled/ run only on {info.compiled.gpu}. On another GPU, compile programs/ there."
    if not info.loads_on_target:
        yield (
            f"The programs were exported with torch {info.torch}. torch-tensorrt {info.profile.torch_tensorrt} needs "
            "the torch release of the same version and may not be able to load them."
        )


def _compile_error(export: ProgramExport, output: Path) -> BackendUnavailableError | RunError:
    info = export.info
    torch = "" if info.loads_on_target else f"export again with torch {info.profile.torch_tensorrt}, then "
    reason = str(export.error).removesuffix(".")
    kind = BackendUnavailableError if isinstance(export.error, BackendUnavailableError) else RunError
    return kind(
        f"{output} contains the programs, but they are not compiled: {reason}. To compile them on the device, "
        f"{torch}run {info.profile.torch_tensorrt_install} and follow {output}/README.md."
    )
