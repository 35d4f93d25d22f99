"""`edge-msa export`: every precision is built, measured on validation, held against the gate; one is chosen."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, read_run
from edge_msa.benchmark.precision_choice import Choice, Measured, choose
from edge_msa.benchmark.precisions import measure_variants, untimed
from edge_msa.benchmark.remote import RemoteHost, p50_on_host, reach
from edge_msa.console import made, remark, remarks, say
from edge_msa.deployment.export_request import export_request
from edge_msa.deployment.graphs import graphs_of, with_text_encoders
from edge_msa.errors import UsageError
from edge_msa.evaluation.predictors import by_run
from edge_msa.quantization.calibration_files import explained
from edge_msa.training.load import student_of
from edge_msa.workflows.calibrated_student import make_model
from edge_msa.workflows.data import opened_for
from edge_msa.workflows.inspect import slow_line
from edge_msa_calibrate.errors import GateFailedError
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle.write import write_bundle
from edge_msa_export.lint import LintTarget
from edge_msa_export.profiles import DeviceProfile, profile_named
from edge_msa_export.request import ExportRequest, variants_of
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.errors import BundleError

DEFAULT_MODEL = Path("runs/calibrated")


@dataclass(frozen=True)
class Exported:
    """What `export_model` made: the bundle, and what was chosen for each backend."""

    path: Path
    choices: tuple[Choice, ...]


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
    remote: RemoteHost | None = None,
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
    run = read_run(model, "student", "calibration") if model else default_run()
    spec = ModelSpec.from_json(run.info.spec)
    dataset = spec.readable(opened_for(run, spec, data, task))
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
        timed_by = partial(p50_on_host, remote=remote) if remote else None if precision == "auto" else untimed
        measured = measure_variants(graphs, request, dataset, by_run(run), Path(scratch), timed_by)
        choices = tuple(choose(backend.name, measured, precision, max_drop) for backend in profile.backends)
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


def _check_remote(remote: RemoteHost, profile: DeviceProfile, precision: str) -> None:
    if precision != "auto":
        raise UsageError(f"--host times what --precision auto chooses from: leave --precision {precision} or it out")
    remark(f"{remote.host.address}: {reach(remote.host, profile.to_json(), offline=remote.offline)}")


def export_once(target: str, output_dir: Path, model: Path) -> Path:
    """`export_model` with what it chooses by itself; skipped where the bundle is of that very run and target."""
    digest, profile = read_run(model).digest, profile_named(target)
    try:
        manifest = open_bundle(output_dir).manifest
        # As JSON has it: what was a tuple is a list there.
        same = manifest.profile == json.loads(json.dumps(profile.to_json()))
        current = same and manifest.provenance.get("run") == digest
    except (BundleError, UsageError):
        current = False
    if current:
        say(f"bundle: {output_dir} is up to date, skipped")
    else:
        export_model(target, output_dir, model=model, in_pipeline=True)
    return output_dir


def _write(
    output: Path, graphs: GraphSet, request: ExportRequest, choices: tuple[Choice, ...], measured: tuple[Measured, ...]
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
        kept={choice.backend: choice.kept for choice in choices},
    )


def default_run() -> Run:
    """The calibrated student of an earlier pipeline, or one made now on the embedded default."""
    if (DEFAULT_MODEL / "run.json").is_file():
        remark(f"note: no --model given, taking {DEFAULT_MODEL} of an earlier run")
    else:
        remark(f"note: no --model given and no earlier run: making the embedded default in {DEFAULT_MODEL.parent}")
        make_model(DEFAULT_MODEL.parent)
    return read_run(DEFAULT_MODEL, "calibration")
