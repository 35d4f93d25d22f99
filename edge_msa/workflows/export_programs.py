"""`edge-msa export --backend torch-tensorrt`: a student as exported programs of torch, compiled where that can be."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import read_run
from edge_msa.console import made, remark, say
from edge_msa.deployment.export_request import export_request
from edge_msa.errors import BackendUnavailableError, RunError, UsageError
from edge_msa.text_tables import text_table
from edge_msa.training.load import student_of
from edge_msa.workflows.data import opened_for
from edge_msa.workflows.export import default_run
from edge_msa_export.bundle.folders import whole_folder
from edge_msa_export.errors import ExportError
from edge_msa_export.profiles import DeviceProfile, load_profiles, profile_named
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
    run = read_run(model, "student", "calibration") if model else default_run()
    spec = ModelSpec.from_json(run.info.spec)
    dataset = spec.readable(opened_for(run, spec, data, task))
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
