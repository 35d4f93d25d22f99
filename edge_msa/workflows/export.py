"""`edge-msa export`: build every precision for a target, measure each on validation data, and write the bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from edge_msa.arguments import AnyPath, check_choice, optional_source, path_of, path_or_tables, source_of
from edge_msa.artifacts.dry_run import declare_steps, is_dry_run, report_lookup
from edge_msa.artifacts.durations import record_seconds
from edge_msa.artifacts.requests import Request, check_may_replace
from edge_msa.artifacts.runs import INFO_NAME, Run, load_run
from edge_msa.benchmark.machine import unavailable_reason
from edge_msa.benchmark.precisions import (
    LatencyRounds,
    PrecisionChoice,
    PrecisionMeasurement,
    choose_precision,
    measure_precisions,
    skip_latency,
)
from edge_msa.benchmark.remote import RemoteConfig, p50_on_host, probe_host, remote_config
from edge_msa.config.recipes import student_recipe
from edge_msa.config.settings import Settings
from edge_msa.console import (
    activity,
    format_size,
    print_note,
    print_notes,
    print_output,
    print_progress,
    print_result,
    print_step,
    print_up_to_date,
)
from edge_msa.data.dataset import Dataset, FloatArray, Split
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
from edge_msa.evaluation.baseline_check import DO_NOT_SHIP
from edge_msa.evaluation.conversation_memory import ContextFit, find_context
from edge_msa.evaluation.intervals import ValidationOutputs, calibrate_intervals, calibrate_sets, collect_outputs
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.evaluation.subsets import Predict
from edge_msa.evaluation.temperature import fit_temperature
from edge_msa.result_tables import Row, Table
from edge_msa.training.run_data import encode_texts_for_run, open_dataset_for_run, open_unencoded_dataset_for_run
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.baseline_warning import ConstantCheck, check_against_constants
from edge_msa.workflows.calibrate import calibrate
from edge_msa.workflows.distill import distill
from edge_msa.workflows.outputs import output_folder
from edge_msa.workflows.sign import check_key
from edge_msa.workflows.sign import sign as sign_bundle
from edge_msa.workflows.train import train
from edge_msa_calibrate.errors import GateFailedError
from edge_msa_calibrate.gate import MAX_DISTANCE, GateLimits
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import is_bundle, write_bundle
from edge_msa_export.folders import check_destination
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.lint import LintTarget
from edge_msa_export.profiles import DeviceProfile, find_profile
from edge_msa_export.request import ExportRequest, list_variants
from edge_msa_export.torch_tensorrt.folder import is_programs_folder, load_provenance
from edge_msa_runtime import load
from edge_msa_runtime.atomic_files import restore_folder
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.classes import ClassCalibration
from edge_msa_runtime.conformal import DEFAULT_COVERAGE
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.features import FeatureSource, features_to_json
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session
from edge_msa_runtime.wording import format_count

BackendPrecision = Literal["auto", "fp32", "fp16", "int8", "int4"]
DEFAULT_MODEL = Path("runs/calibrated")
_MIN_VIDEOS = 19
"""With fewer, 95 % coverage is not supported."""
_KEY, _FAILURE = "cache_key", "gate_failure"
_DEFAULTS = {("--precision", "auto"), ("--max-drop", "1"), ("--max-distance", f"{MAX_DISTANCE:g}")}


@dataclass(frozen=True, repr=False)
class ExportedBundle(Table):
    """A bundle that `export` wrote: the folder that a device runs.

    A bundle is a path-like object, so you can pass it wherever the path of a bundle is expected.
    """

    path: Path
    """The bundle's folder."""
    target: str
    """Device profile that it is for."""
    precisions: Mapping[str, str]
    """The precision that was chosen for each backend."""
    variants: tuple[Row, ...]
    """One row per backend and precision, as in `rows`."""
    gate_failure: str = ""
    """Why a requested precision failed the accuracy gate, or an empty string."""

    @classmethod
    def of(cls, path: Path, gate_failure: str = "") -> ExportedBundle:
        """Return the description of a bundle on disk.

        Raises:
            BundleError: The bundle is damaged.
        """
        bundle = open_bundle(path)
        rows = tuple(_bundle_rows(bundle))
        return cls(path, bundle.manifest.target, dict(bundle.manifest.precision), rows, gate_failure)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return what the bundle contains, e.g. `<ExportedBundle for laptop-x86: openvino int8 177 KB, bundle/>`."""
        parts = ", ".join(
            f"{row['backend']} {row['precision']} {format_size(int(row['size_bytes'] or 0))}"
            for row in self.rows
            if row["chosen"]
        )
        return f"<ExportedBundle for {self.target}: {parts}, {self.path}/>"

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per backend and precision in the bundle.

        It says whether the precision was chosen, the size of its files, the largest difference of a prediction from
        torch, and its metrics on validation with all modalities.
        """
        return self.variants

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Size in bytes of the files that a backend needs at a precision, by backend and precision."""
        sizes: dict[str, dict[str, int]] = {}
        for row in self.rows:
            sizes.setdefault(str(row["backend"]), {})[str(row["precision"])] = int(row["size_bytes"] or 0)
        return sizes

    def load(
        self,
        backend: str = "auto",
        *,
        precision: str | None = None,
        threads: int = 1,
        device: str = "",
        coverage: float = DEFAULT_COVERAGE,
        abstain: bool = False,
    ) -> Session:
        """Open the bundle, as `edge_msa_runtime.load` does.

        Args:
            backend: Name of a backend, or `"auto"` for the first one that is available here.
            precision: Precision (default: the one that was chosen for the backend).
            threads: CPU threads of one prediction.
            device: Device of the backend (default: the backend's).
            coverage: Share of the intervals or sets of predictions, between 0 and 1, that contain the label.
            abstain: Whether a prediction is labeled `uncertain` if its interval has values on both sides of zero, or
                its prediction set has several classes.

        Raises:
            UsageError: `coverage` is invalid, or the bundle cannot abstain.
            BundleError: The bundle is damaged.
            BackendUnavailableError: No backend of the bundle is available here.

        Examples:
            >>> with bundle.load() as session:
            ...     session.predict(audio=frames).score
        """
        return load(
            self.path,
            backend,
            precision=precision,
            threads=threads,
            device=device,
            coverage=coverage,
            abstain=abstain,
        )


def _bundle_rows(bundle: Bundle) -> Iterator[Row]:
    manifest = bundle.manifest
    subset = Subset.of(manifest.modalities).value
    for backend in manifest.backends:
        for precision in bundle.precisions(backend):
            measured = manifest.accuracy.get(backend, {}).get(precision, {})
            parity = [item.parity for item in manifest.graphs if (item.backend, item.precision) == (backend, precision)]
            yield {
                "backend": backend,
                "precision": precision,
                "chosen": manifest.precision.get(backend) == precision,
                "size_bytes": bundle.size(bundle.needed_files(backend, precision)),
                "parity": max(parity, default=None),
                "measured_by": measured.get("measured_by"),
                **measured.get("by_subset", {}).get(subset, {}),
            }


@api
def export(
    model: AnyPath | None = None,
    *,
    target: str,
    output_dir: AnyPath | None = None,
    data: AnyPath | None = None,
    precision: BackendPrecision = "auto",
    max_drop: float = 1.0,
    max_distance: float = MAX_DISTANCE,
    allow_worse_than_constant: bool = False,
    ir: bool = False,
    dla: bool = False,
    host: str | None = None,
    ssh_options: Sequence[str] = (),
    python: str = "python3",
    keep: bool = False,
    offline: bool = False,
    task: str | None = None,
    features: AnyPath | Mapping[str, Any] | None = None,
    sign: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportedBundle:
    """Export a verified bundle of a student for a device.

    Every precision is built, verified against torch, and measured on the validation split. The fastest precision that
    passes the accuracy gate is chosen. The step is skipped if `output_dir` is up to date.

    Args:
        model: Run of a student: of `calibrate`, `sensitivity`, `distill`, `train_text` or `distill_text`. Without
            calibration, the bundle has no int8. (Default: `runs/calibrated`; if it does not exist, it is trained on the
            synthetic data.)
        target: Device to export for: its name, the name of its family, or a TOML file with a device profile.
        output_dir: Bundle to write (default: `bundle-TARGET`). It appears only when it is complete.
        data: Data whose validation split measures accuracy (default: the student's training data).
        precision: `"fp32"`, `"fp16"` or `"int8"`, or `"auto"` to measure these and choose. `"int4"` computes as int8
            does, and stores the weights of a text encoder in 4 bits.
        max_drop: Accuracy gate: largest loss, in percentage points, that a precision may have on its worst subset.
        max_distance: Accuracy gate: largest mean distance of the predictions from those of fp32, in standard deviations
            of the latter.
        allow_worse_than_constant: Whether to export a model that does not beat a constant on validation.
        ir: Whether to store the OpenVINO graphs as OpenVINO IR, for use in other programs.
        dla: Whether to check TensorRT graphs for the target's deep learning accelerator as well.
        host: A device of the target's kind, `"user@device"`, on which every precision is verified and timed over ssh
            (default: this machine).
        ssh_options: With `host`: options for ssh, for example `["Port=2222"]`.
        python: With `host`: Python interpreter on the device.
        keep: With `host`: whether to keep the temporary folder on the device.
        offline: With `host`: whether to install nothing, and use the backends that the device has.
        task: What the labels mean (default: what the data states).
        features: TOML file or mapping that states what computed the features, as far as the run does not
            (default: nothing).
        sign: Private key without a password, with which the bundle is signed as `edge_msa.sign` does (default: the
            bundle is not signed).
        overwrite: Whether to replace a bundle of another model or other options in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every precision that was measured.

    Returns:
        The bundle: its path, target, chosen precisions and sizes.

    Raises:
        UsageError: An argument is invalid.
        RunUsageError: `model` is no run of a student, or `output_dir` contains a bundle of another request.
        OutputError: `output_dir` contains something else.
        BackendUnavailableError: The host cannot be reached, or cannot run a bundle for the target.
        LintError: `dla` is set and the target has no DLA.
        GateFailedError: The requested precision loses too much accuracy; the bundle is written with the best precisions
            that passed. Or the model does not beat a constant; nothing is written.

    Examples:
        >>> bundle = em.export(calibrated, target="laptop-x86", output_dir="bundle")
        >>> bundle
        <ExportedBundle for laptop-x86: openvino int8 177 KB, onnxruntime int8 165 KB, bundle/>
        >>> with bundle.load() as session:
        ...     session.predict(audio=frames).score
    """
    if sign is not None:
        check_key(sign)
    bundle = export_bundle(
        model,
        target=target,
        output_dir=output_dir,
        data=data,
        precision=precision,
        max_drop=max_drop,
        max_distance=max_distance,
        allow_worse_than_constant=allow_worse_than_constant,
        ir=ir,
        dla=dla,
        remote=remote_config(host, ssh_options, python, keep=keep, offline=offline),
        task=task,
        features=features,
    )
    if bundle.gate_failure:
        raise GateFailedError(bundle.gate_failure)
    if sign is not None:
        sign_bundle(bundle, key=sign)
    return bundle


def export_bundle(
    model: AnyPath | None = None,
    *,
    target: str,
    output_dir: AnyPath | None = None,
    data: AnyPath | None = None,
    precision: str = "auto",
    max_drop: float = 1.0,
    max_distance: float = MAX_DISTANCE,
    allow_worse_than_constant: bool = False,
    ir: bool = False,
    dla: bool = False,
    remote: RemoteConfig | None = None,
    task: str | None = None,
    features: AnyPath | Mapping[str, Any] | None = None,
) -> ExportedBundle:
    """Write a bundle as `export` does. If a requested precision fails the accuracy gate, the result says so."""
    # Check the arguments and the destination before any slow work.
    model_path = None if model is None else path_of(model, "model", "a run of a student")
    source = optional_source(data)
    check_choice(precision, "precision", BackendPrecision)
    profile = find_profile(target_name(target))
    inputs = [model_path or DEFAULT_MODEL, source, features]
    output = output_folder(bundle_name(target_name(target)) if output_dir is None else output_dir, "output_dir", inputs)
    check_destination(output, is_bundle)
    if dla:
        LintTarget.from_profile(profile, "tensorrt", dla=True)
    if remote:
        _check_remote(remote, profile, precision)
    stated = load_features(path_or_tables(features, "features"))
    run = load_run(model_path, "student", "calibration") if model_path else _default_run()
    known = complete_features(run.spec.features, stated, run.spec.dims, str(run.path))
    unencoded = open_unencoded_dataset_for_run(run, source, task)
    settings = {
        "target": profile.name,
        "precision": precision,
        "max_drop": max_drop,
        "max_distance": max_distance,
        "allow_worse_than_constant": allow_worse_than_constant,
        "ir": ir,
        "dla": dla,
        "host": remote.host.address if remote else None,
        "features": features_to_json(stated),
    }
    requested = _make_request("export", settings, profile, run, unencoded)
    started = time.monotonic()
    if (failure := _find_current_bundle(output, requested)) is not None:
        print_up_to_date(output)
        return ExportedBundle.of(output, failure and f"{failure}: {output}.")
    student = load_deployable_student(run, encode_texts_for_run(run, unencoded))
    make_request = partial(
        make_export_request, student, profile, output.name, precision=precision, features=known, ir=ir, dla=dla
    )
    list_variants(make_request())  # raises before the slow export of graphs if the target does not support an option
    _check_student(student, allowed=allow_worse_than_constant)
    graphs = load_all_graphs(student)
    request = make_request(graphs=graphs)
    print_notes(_notes(student.run, profile))
    options: dict[str, object] = {"--target": profile.name, "--output-dir": output, "--data": source, "--task": task}
    limits = GateLimits(max_drop, max_distance)
    options |= {"--precision": precision, "--max-drop": f"{max_drop:g}", "--max-distance": f"{max_distance:g}"}
    flags = {"--allow-worse-than-constant": allow_worse_than_constant, "--ir": ir, "--dla": dla}
    print_notes(_unknown_features(known, run, {**options, **flags}))
    failure = _build_and_write(output, student, request, requested, graphs, precision, limits, remote)
    record_seconds(output, requested.command, requested.recipe, time.monotonic() - started)
    runs_here = any(unavailable_reason(item.name) is None for item in profile.backends)
    next_command = f"edge-msa-run verify {output}" if runs_here else f"edge-msa bench {output} --host USER@DEVICE"
    print_output(f"bundle for {profile.name}", output, next_step(next_command))
    return ExportedBundle.of(output, failure and f"{failure}: {output}.")


def _build_and_write(
    output: Path,
    student: DeployableStudent,
    request: ExportRequest,
    requested: Request,
    graphs: GraphsByKey,
    precision: str,
    limits: GateLimits,
    remote: RemoteConfig | None,
) -> str:
    """Build and measure every precision, choose one per backend, and write the bundle.

    Returns:
        Why the requested precision failed the gate, or an empty string.
    """
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as folder:
        scratch = Path(folder)
        built = _build(student, request, graphs, scratch / "graphs")
        print_progress("Measuring on validation data.")
        predict = run_predictor(student.run)
        measure_latency = _latency_measurement(remote, precision)
        measurements = measure_precisions(built, request, student.dataset, predict, scratch, measure_latency)
        backends = [item.name for item in request.profile.backends]
        choices = tuple(choose_precision(name, measurements, precision, limits) for name in backends)
        failure = _describe_failure(choices)
        with activity("Fitting the conversation memory"):
            memory = find_context(predict, student.dataset)
        print_notes(filter(None, [memory.note]))
        intervals, classes = _calibrate(student.dataset, predict, measurements, memory)
        request = dataclasses.replace(request, context=memory.head)
        write_bundle(
            output,
            built,
            _with_record(request, requested, failure, student.dataset, choices),
            {choice.backend: choice.precision for choice in choices},
            _accuracy_record(measurements),
            also_passed={choice.backend: choice.passing for choice in choices},
            intervals=intervals,
            class_calibration=classes,
        )
    _print_choices(output, choices)
    print_notes(_advice_for_int8(student.run, request.profile, choices))
    return failure


def _build(student: DeployableStudent, request: ExportRequest, graphs: GraphsByKey, folder: Path) -> GraphSet:
    """Build and verify the graphs of every precision for every backend, and print which are not available."""
    names = ", ".join(item.name for item in request.profile.backends)
    print_progress(f"Building and verifying every precision for {names}.")
    with activity("Building and verifying the graphs"):
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


def _advice_for_int8(run: Run, profile: DeviceProfile, choices: Sequence[PrecisionChoice]) -> Iterator[str]:
    """Yield what to do if int8 failed the accuracy gate."""
    if any("int8" in choice.rejected for choice in choices):
        yield (
            "To find the layers that must stay in floating point, run: "
            f"edge-msa sensitivity {run.path} --target {profile.name} --output-dir mixed"
        )


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
    inputs = {"model": run.digest, "data": dataset.digest, "task": dataset.task.option, "device profile": device}
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
    if not is_dry_run():
        restore_folder(output.absolute())
    failure = _find_bundle(output, requested)
    report_lookup(output, requested, is_current=failure is not None)
    return failure


def _find_bundle(output: Path, requested: Request) -> str | None:
    if not (output / MANIFEST_NAME).is_file():
        return None
    record: Mapping[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = dict(json.loads((output / MANIFEST_NAME).read_text(encoding="utf-8"))["provenance"]["request"])
    if record.get(_KEY) == requested.cache_key and _is_valid_bundle(output):
        return str(record.get(_FAILURE, ""))
    check_may_replace(output, Request.from_json(record), requested)
    return None


def _is_valid_bundle(path: Path) -> bool:
    try:
        open_bundle(path)
    except (BundleError, UsageError):
        return False
    return True


@dataclass(frozen=True, repr=False)
class ExportedPrograms:
    """A folder of torch programs that `export_programs` wrote."""

    path: Path
    """The folder."""
    programs: ProgramExport
    """The programs and their largest differences from torch."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return the target and the path."""
        return f"<ExportedPrograms for {self.programs.info.profile.name}, {self.path}/>"

    def __str__(self) -> str:
        """Return the table of programs for people."""
        return format_programs(self.programs)


@api
def export_programs(
    model: AnyPath | None = None,
    *,
    target: str,
    output_dir: AnyPath | None = None,
    data: AnyPath | None = None,
    precision: BackendPrecision = "auto",
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ExportedPrograms:
    """Export torch programs of a student for torch-tensorrt, instead of a bundle.

    Args:
        model: Run of a student: of `calibrate`, `sensitivity`, `distill`, `train_text` or `distill_text`.
        target: Device to export for: its name, the name of its family, or a TOML file with a device profile.
        output_dir: Folder to write (default: `torch-tensorrt-TARGET`).
        data: Data that the golden samples come from (default: the student's training data).
        precision: Precision to compile for; `"auto"` is fp32.
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace programs of another model or other options in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Not called: the export is one step.

    Raises:
        UsageError: An argument is invalid, or the target has no torch-tensorrt.
        BackendUnavailableError: torch-tensorrt is not available here. The programs are written but not compiled.
        RunError: torch-tensorrt cannot compile the programs. They are written but not compiled.
    """
    model_path = None if model is None else path_of(model, "model", "a run of a student")
    source = optional_source(data)
    check_choice(precision, "precision", BackendPrecision)
    profile = find_profile(target_name(target))
    chosen = check_programs_precision(profile, precision)
    default = f"torch-tensorrt-{profile.name}"
    output = output_folder(
        default if output_dir is None else output_dir, "output_dir", [model_path or DEFAULT_MODEL, source]
    )
    run = load_run(model_path, "student", "calibration") if model_path else _default_run()
    dataset = open_dataset_for_run(run, source, task)
    settings = {"target": profile.name, "precision": chosen}
    requested = _make_request("export --torch-tensorrt", settings, profile, run, dataset)
    if is_programs_folder(output):
        check_may_replace(output, Request.from_json(load_provenance(output).request or {}), requested)
    check_destination(output, is_programs_folder)
    report_lookup(output, requested, is_current=False)  # programs are always written again
    student = load_deployable_student(run, dataset)
    written = write_programs(student, profile, chosen, output, requested.to_json())
    print_result(format_programs(written))
    print_notes(_program_notes(written))
    print_output(f"programs for torch-tensorrt {profile.torch_tensorrt} on {profile.name}", output)
    if written.error is not None:
        raise _compile_error(written, output)
    return ExportedPrograms(output, written)


def train_calibrated_student(output_dir: Path, settings: Settings | None = None) -> Run:
    """Train a teacher, distill a student and calibrate it, in the folders `teacher`, `student` and `calibrated`.

    Steps that are up to date are skipped.

    Returns:
        The calibrated run.
    """
    require_single_process("training a calibrated student")
    settings = settings or Settings()
    options = settings.pipeline
    teacher, student, calibrated = (output_dir / name for name in ("teacher", "student", "calibrated"))
    print_step("train")
    train(
        options.data,
        output_dir=teacher,
        model=options.teacher,
        recipe={"hrlf": settings.hrlf, "almt": settings.almt},
        epochs=options.epochs,
        seed=options.seed,
        device=options.device,
        task=options.task,
    )
    print_step("distill")
    distill(
        teacher,
        output_dir=student,
        data=options.data,
        recipe={"student": settings.student},
        epochs=options.epochs,
        seed=options.seed,
        device=options.device,
        task=options.task,
    )
    print_step("calibrate")
    return calibrate(
        student,
        output_dir=calibrated,
        data=options.data,
        method=options.method,
        num_samples=options.num_samples,
        seed=options.seed,
        task=options.task,
    )


def training_steps(output_dir: Path) -> list[tuple[str, Path | None]]:
    """Return the names and outputs of the steps of `train_calibrated_student`."""
    names = {"train": "teacher", "distill": "student", "calibrate": "calibrated"}
    return [(name, output_dir / folder) for name, folder in names.items()]


def target_name(target: object) -> str:
    """Return a target argument as the text of a name or of the path of a TOML file.

    Raises:
        UsageError: It is something else.
    """
    return source_of(target, "target", "the name of a device, or a TOML file with a device profile")


def bundle_name(target: str) -> str:
    """Return the name of the folder of a bundle, by default: the target as it was passed, or the name of its file."""
    return f"bundle-{Path(target).stem if target.endswith('.toml') else target}"


def _check_student(student: DeployableStudent, *, allowed: bool) -> None:
    """Check on validation that the student beats a constant prediction.

    Raises:
        GateFailedError: It does not, and this is not allowed.
    """
    check = check_against_constants(student.run, student.dataset)
    if check.warning and not allowed:
        reason, _, details = check.warning.partition(f". {DO_NOT_SHIP}. ")
        print_notes(filter(None, [details]))
        raise GateFailedError(
            f"{reason.rstrip('.')}. Nothing was written. {_remedies(student.run, check)}, or pass "
            "--allow-worse-than-constant to export anyway."
        )
    print_notes(filter(None, (check.warning, check.note)))


def _remedies(run: Run, check: ConstantCheck) -> str:
    """Return what to do: add validation samples if there are too few to decide, or else train a better model."""
    if check.samples_to_add and check.lacks_only_samples:
        return check.samples_to_add
    default, epochs = student_recipe({}, run.spec.data_source).epochs, run.training_epochs
    lowered = epochs if epochs is not None and epochs < default else None
    trained = "" if lowered is None else f"The student was trained with {format_count(lowered, 'epoch')}. "
    samples = f"{check.samples_to_add}. " if check.samples_to_add else ""
    return (
        f"{samples}{trained}Train a better model: pass more --epochs, more samples, or, for small data, a recipe with "
        "a smaller batch_size"
    )


def _default_run() -> Run:
    """Return the calibrated student of an earlier pipeline. If there is none, train one on the synthetic task."""
    if (DEFAULT_MODEL / INFO_NAME).is_file():
        print_note(f"No run was passed. Using {DEFAULT_MODEL}.")
        return load_run(DEFAULT_MODEL, "calibration")
    print_note(f"No run was passed. Training the default model in {DEFAULT_MODEL.parent}.")
    declare_steps(training_steps(DEFAULT_MODEL.parent))
    return train_calibrated_student(DEFAULT_MODEL.parent)


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


def _unknown_features(features: Mapping[str, FeatureSource], run: Run, options: Mapping[str, object]) -> Iterator[str]:
    """Yield a note that lists the modalities of which the bundle will not state what computes their features.

    `options` are those of the command, which the command in the note repeats.
    """
    arguments = [str(run.path)]
    for option, value in options.items():
        if value is True:
            arguments.append(option)
        elif value is not None and value is not False and (option, value) not in _DEFAULTS:
            arguments += [option, str(value)]
    if unknown := unknown_modalities(features, run.spec.dims):
        command = shlex.join(["edge-msa", "export", *arguments, "--features", "features.toml", "--overwrite"])
        tables = " ".join(f"[{name}]" for name in unknown)
        yield (
            f"{', '.join(unknown)}: the bundle does not state what computes these features, so it cannot warn about "
            f"other ones. State it in a TOML file, {tables} with extractor = ..., and run: {command}"
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


def _calibrate(
    dataset: Dataset, predict: Predict, measurements: Sequence[PrecisionMeasurement], memory: ContextFit
) -> tuple[Intervals | None, ClassCalibration | None]:
    """Return what states the uncertainty of predictions, for every backend and precision that was measured.

    Returns:
        The intervals of scores, or the temperature and the sets of classes. Emotions have neither.
    """
    split, task = dataset.split("valid"), dataset.task
    measured = {(item.backend, item.precision): item.predictions for item in measurements if item.predictions}
    with activity("Calibrating prediction sets" if task.kind == "classes" else "Calibrating prediction intervals"):
        outputs = collect_outputs(task, split, predict)
        if outputs is None:
            return None, None
        if task.kind == "classes":
            classes = _calibrate_classes(outputs, split, measured)
            videos, what, whole = len(set(outputs.groups)), "sets are large", "have all classes"
        else:
            changes = {subset.value: change for subset, change in memory.left_out.items()}
            intervals = calibrate_intervals(outputs, split, measured, changes)
            videos, what, whole = intervals.videos, "intervals are wide", "are the whole scale"
    if videos < _MIN_VIDEOS:
        better = "smaller" if task.kind == "classes" else "narrower"
        print_note(
            f"The validation split has {videos} videos, so prediction {what}. Above "
            f"{100 * videos / (videos + 1):.0f} % coverage, they {whole}. More validation videos make them {better}."
        )
    return (None, classes) if task.kind == "classes" else (intervals, None)


def _calibrate_classes(
    outputs: ValidationOutputs, split: Split, measured: Mapping[tuple[str, str], Mapping[str, FloatArray]]
) -> ClassCalibration:
    """Fit the temperature to the fp32 predictions, and then calibrate the sets of all precisions.

    The logits of int8 differ so little from those of fp32 that they need no temperature of their own. Their sets do.
    """
    reference = next(predictions for (_, precision), predictions in measured.items() if precision == "fp32")
    fit = fit_temperature(split, reference)
    if fit is None:
        return ClassCalibration()
    if fit.temperature == fit.fitted:
        print_note(
            f"Temperature {fit.temperature:.2f}: on validation, the expected calibration error of the probabilities is "
            f"{100 * fit.ece:.1f} % instead of {100 * fit.ece_before:.1f} %."
        )
    else:
        print_note(
            f"Temperature 1: the fitted one, {fit.fitted:.2f}, is not reliable. The validation split has too few "
            "videos, or no wrong prediction."
        )
    return ClassCalibration(fit.temperature, calibrate_sets(outputs, split, measured, fit.temperature))


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
