"""`edge-msa export`: every precision is built, measured on validation, held against the gate; one is chosen."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.artifacts.cache import compute_cache_key, is_current, mark_current
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.benchmark.precisions import (
    PrecisionChoice,
    PrecisionMeasurement,
    choose_precision,
    measure_precisions,
    skip_latency,
)
from edge_msa.benchmark.remote import RemoteConfig, p50_on_host, probe_host
from edge_msa.config.settings import Settings
from edge_msa.console import made, print_step, print_up_to_date, remark, remarks, say
from edge_msa.deployment.export_request import export_request
from edge_msa.deployment.graphs import graphs_of, with_text_encoders
from edge_msa.errors import BackendUnavailableError, RunError, UsageError
from edge_msa.evaluation.predictors import by_run
from edge_msa.quantization.calibration_files import explained
from edge_msa.text_tables import text_table
from edge_msa.training.context import Hardware
from edge_msa.training.load import student_of
from edge_msa.training.run_data import open_dataset_for_run
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.calibrate import calibrate_student
from edge_msa.workflows.distill import distill_student
from edge_msa.workflows.inspect import slow_line
from edge_msa.workflows.train import train_teacher
from edge_msa_calibrate.errors import GateFailedError
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.folders import whole_folder
from edge_msa_export.bundle.write import write_bundle
from edge_msa_export.errors import ExportError
from edge_msa_export.lint import LintTarget
from edge_msa_export.profiles import DeviceProfile, load_profiles, profile_named
from edge_msa_export.request import ExportRequest, variants_of
from edge_msa_export.torch_tensorrt.folder import Facts, is_programs_folder, write_facts
from edge_msa_export.torch_tensorrt.programs import (
    PRECISIONS,
    Compiled,
    Programs,
    compile_programs,
    save_programs,
    torch_version,
)
from edge_msa_export.torch_tensorrt.tables import table_of
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.errors import BundleError

DEFAULT_MODEL = Path("runs/calibrated")


@dataclass(frozen=True)
class Exported:
    """What `export_model` made: the bundle, and what was chosen for each backend."""

    path: Path
    choices: tuple[PrecisionChoice, ...]


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
    task: str | None = None,
    in_pipeline: bool = False,
) -> Exported:
    """Write a bundle for a target.

    `ir` gives OpenVINO its own IR, `dla` holds TensorRT's graphs against the rules of the board's DLA too. With a
    `remote` every precision is verified and timed there, on the target itself.

    Raises:
        BackendUnavailableError: the remote is not reached, or cannot run a bundle for that target.
        LintError: a DLA is wanted, and the target has none.
        GateFailedError: the precision that was asked for loses too much; the bundle that passes is written all the
            same.
    """
    profile = profile_named(target)
    if dla:
        LintTarget.of(profile, "tensorrt", dla=True)  # before slow work
    if remote:
        _check_remote(remote, profile, precision)
    output = output_dir or Path(f"bundle-{profile.name}")
    run = load_run(model, "student", "calibration") if model else default_run()
    spec = run.spec
    dataset = spec.select_inputs(open_dataset_for_run(run, data, task))
    asked = replace(export_request(run, spec, dataset, profile, precision, output.name), ir=ir, dla=dla)
    exported = with_text_encoders(graphs_of(run), asked.text)
    request = explained(asked, exported)
    variants_of(request)  # which refuses what the target cannot be given, before slow work
    remarks(_before(run, profile, output))
    remark(f"building for {', '.join(backend.name for backend in profile.backends)}, each precision checked")
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        graphs = build_graphs(student_of(run), request, Path(scratch) / "graphs", exported)
        for (backend, name), reason in graphs.refused.items():
            remark(f"note: {backend} cannot be given {name}: {reason}")
        remarks(filter(None, [slow_line(graphs.findings)]))
        remark("measuring on validation")
        timed_by = partial(p50_on_host, remote=remote) if remote else None if precision == "auto" else skip_latency
        measured = measure_precisions(graphs, request, dataset, by_run(run), Path(scratch), timed_by)
        choices = tuple(choose_precision(backend.name, measured, precision, max_drop) for backend in profile.backends)
        _write(output, graphs, request, choices, measured)
    for choice in choices:
        say(f"{choice.backend}: {choice.precision}, {choice.reason}")
    following = f"edge-msa-run verify {output}   (on the device: see {output}/README.md)"
    made(f"bundle for {profile.name}", output, None if in_pipeline else following)
    failed = [choice.failure for choice in choices if choice.failure]
    if failed:
        raise GateFailedError(f"{failed[0]}; {output} holds {choices[0].precision}, the best that passed")
    return Exported(output, choices)


def _before(run: Run, profile: DeviceProfile, output: Path) -> Iterator[str]:
    """What to know before the slow work."""
    if run.info.kind != "calibration" and any(backend.scheme for backend in profile.backends):
        yield f"note: {run.path} is not calibrated, so int8 is not offered: edge-msa calibrate --model {run.path}"
    with contextlib.suppress(BundleError, UsageError):
        there = open_bundle(output).manifest.target
        if there != profile.name:
            yield f"note: {output} holds a bundle for {there}, which this one for {profile.name} replaces"


def _check_remote(remote: RemoteConfig, profile: DeviceProfile, precision: str) -> None:
    if precision != "auto":
        raise UsageError(f"--host times what --precision auto chooses from: leave --precision {precision} or it out")
    remark(f"{remote.host.address}: {probe_host(remote, profile.to_json())}")


def export_once(
    target: str,
    output_dir: Path,
    model: Path,
    *,
    data: str | None = None,
    precision: str = "auto",
    max_drop: float = 1.0,
    task: str | None = None,
    accept_gate_failure: bool = False,
) -> Path:
    """Export a bundle unless `output_dir` is up to date with the run, the target and the settings. Return its path.

    With `accept_gate_failure`, print a note if the accuracy gate fails instead of raising GateFailedError.
    """
    inputs = {"model": load_run(model).digest, "target": json.dumps(profile_named(target).to_json(), sort_keys=True)}
    settings = {"precision": precision, "max_drop": max_drop}

    def cache_key() -> str:
        manifest = file_sha256(output_dir / MANIFEST_NAME)
        return compute_cache_key("export", settings, 0, inputs | {"manifest": manifest})

    if _is_valid_bundle(output_dir) and is_current(output_dir, cache_key()):
        print_up_to_date(output_dir)
        return output_dir
    try:
        export_model(
            target,
            output_dir,
            model=model,
            data=data,
            precision=precision,
            max_drop=max_drop,
            task=task,
            in_pipeline=True,
        )
    except GateFailedError as error:
        if not accept_gate_failure:
            raise
        remark(f"note: {error}")
    mark_current(output_dir, cache_key())
    return output_dir


def _is_valid_bundle(path: Path) -> bool:
    try:
        open_bundle(path)
    except (BundleError, UsageError):
        return False
    return True


def _write(
    output: Path,
    graphs: GraphSet,
    request: ExportRequest,
    choices: tuple[PrecisionChoice, ...],
    measured: tuple[PrecisionMeasurement, ...],
) -> None:
    accuracy: dict[str, dict[str, Any]] = {}
    for item in measured:
        accuracy.setdefault(item.backend, {})[item.precision] = {
            "measured_by": item.measured_by,
            "by_subset": item.by_subset,
        }
    write_bundle(
        output,
        graphs,
        request,
        {choice.backend: choice.precision for choice in choices},
        accuracy,
        kept={choice.backend: choice.passing for choice in choices},
    )


def default_run() -> Run:
    """The calibrated student of an earlier pipeline, or one made now on the embedded default."""
    if (DEFAULT_MODEL / "run.json").is_file():
        remark(f"note: no --model given, taking {DEFAULT_MODEL} of an earlier run")
    else:
        remark(f"note: no --model given and no earlier run: making the embedded default in {DEFAULT_MODEL.parent}")
        train_calibrated_student(DEFAULT_MODEL.parent)
    return load_run(DEFAULT_MODEL, "calibration")


BACKEND = "torch-tensorrt"


def export_programs(
    target: str,
    output_dir: Path | None,
    *,
    model: Path | None = None,
    data: str | None = None,
    precision: str = "auto",
    task: str | None = None,
    unfit: Sequence[str] = (),
) -> Path:
    """Write a folder of programs for a target that has torch-tensorrt; `unfit` are options given that it cannot honour.

    Raises:
        UsageError: the target has none, or an option that does not go that way.
        BackendUnavailableError: the programs are written, and nothing here can compile them.
        RunError: the programs are written, and torch-tensorrt cannot compile them.
    """
    profile = profile_named(target)
    wanted = _check(profile, precision, unfit)
    output = output_dir or Path(f"torch-tensorrt-{profile.name}")
    run = load_run(model, "student", "calibration") if model else default_run()
    spec = run.spec
    dataset = spec.select_inputs(open_dataset_for_run(run, data, task))
    request = dataclasses.replace(
        export_request(run, spec, dataset, profile, "fp32", output.name), ranges=None, precisions=("fp32",)
    )
    student = student_of(run)
    failed: ExportError | BackendUnavailableError | None = None
    compiled: Compiled | None = None
    with whole_folder(output, is_programs_folder) as folder:
        programs = save_programs(student, request, folder, table_of(profile.torch_tensorrt or ""))
        try:
            compiled = compile_programs(programs, student, request, wanted)
        except (ExportError, BackendUnavailableError) as error:  # keep the exported programs
            failed = error
            shutil.rmtree(folder / "compiled", ignore_errors=True)
        facts = Facts(profile, torch_version(), wanted, compiled, request.provenance)
        write_facts(folder, programs, facts)
    _tell(programs, facts)
    made(f"programs for torch-tensorrt {profile.torch_tensorrt} on {profile.name}", output)
    if failed is not None:
        again = "" if facts.fits_torch else f"make this folder again with torch {profile.torch_tensorrt}, then "
        kind = BackendUnavailableError if isinstance(failed, BackendUnavailableError) else RunError
        raise kind(
            f"{output} holds the programs, and nothing compiled of them: {failed}; "
            f"{again}on the device: {profile.torch_tensorrt_install}, and what {output}/README.md says"
        )
    return output


def _check(profile: DeviceProfile, precision: str, unfit: Sequence[str]) -> str:
    """The precision to compile at; everything that can be refused before slow work."""
    if profile.torch_tensorrt is None:
        others = ", ".join(item.name for item in load_profiles().values() if item.torch_tensorrt)
        raise UsageError(f"no torch-tensorrt with a dynamo path is made for {profile.name}; it is for {others}")
    if unfit:
        raise UsageError(f"{unfit[0]} is for bundles: leave it out with --backend {BACKEND}")
    wanted = "fp32" if precision == "auto" else precision
    if wanted not in PRECISIONS:
        raise UsageError(
            f"--backend {BACKEND} has {', '.join(PRECISIONS)}; {precision} is for the bundle's own TensorRT"
        )
    return wanted


def _tell(programs: Programs, facts: Facts) -> None:
    compiled = facts.compiled.parity if facts.compiled else {}
    rows = [
        [
            saved.file,
            str(sum(saved.operators.values())),
            f"{saved.parity:.1e}",
            f"{compiled[saved.key]:.1e}" if saved.key in compiled else "-",
            "  " + (", ".join(saved.unconverted) or "none"),
        ]
        for saved in programs.saved
    ]
    say(text_table(["program", "operators", "parity", "compiled", "  without a converter"], rows, left=1))
    say(f"parity: at most {programs.parity_limit:.0e} from torch, reloaded; worst {_worst(programs):.1e}")
    if facts.compiled:
        remark(f"note: compiled/ is for {facts.compiled.gpu} alone; another GPU compiles programs/ itself")
    if not facts.fits_torch:
        other = f"torch-tensorrt {facts.profile.torch_tensorrt} goes with a torch of its own series"
        remark(f"note: these programs are of torch {facts.torch}; {other}, which may not read them")


def _worst(programs: Programs) -> float:
    return float(np.max([saved.parity for saved in programs.saved]))


def train_calibrated_student(output_dir: Path, settings: Settings | None = None) -> Path:
    """Train a teacher, distill a student and calibrate it, in the folders `teacher`, `student` and `calibrated`.

    Steps that are up to date are skipped.

    Returns:
        The calibrated run.
    """
    require_single_process("the way from data to a calibrated student")
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
