"""Export a student as torch programs for torch-tensorrt, and compile them where that is possible."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.deployment.request import make_export_request
from edge_msa.deployment.student import DeployableStudent
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.text_tables import text_table
from edge_msa_export.errors import ExportError
from edge_msa_export.folders import atomic_folder
from edge_msa_export.profiles import DeviceProfile, load_profiles
from edge_msa_export.torch_tensorrt.folder import ProgramsInfo, is_programs_folder, write_programs_info
from edge_msa_export.torch_tensorrt.programs import (
    PRECISIONS,
    CompiledPrograms,
    ProgramSet,
    compile_programs,
    get_torch_version,
    save_programs,
)
from edge_msa_export.torch_tensorrt.tables import find_operator_table

BACKEND = "torch-tensorrt"


@dataclass(frozen=True)
class ProgramExport:
    """A folder of torch programs."""

    programs: ProgramSet
    info: ProgramsInfo
    error: ExportError | BackendUnavailableError | None
    """Why the programs were not compiled; None if they were."""


def check_programs_precision(profile: DeviceProfile, precision: str) -> str:
    """Return the precision to compile programs for. `auto` is FP32.

    Raises:
        UsageError: The target or torch-tensorrt does not support it.
    """
    if profile.torch_tensorrt is None:
        supported = ", ".join(item.name for item in load_profiles().values() if item.torch_tensorrt)
        raise UsageError(
            f"torch-tensorrt with dynamo is not available for {profile.name}. Supported targets: {supported}."
        )
    chosen = "fp32" if precision == "auto" else precision
    if chosen not in PRECISIONS:
        raise UsageError(
            f"--precision must be one of auto, {', '.join(PRECISIONS)} for torch-tensorrt, got {precision}. "
            f"Export a bundle to use {precision} with TensorRT itself."
        )
    return chosen


def write_programs(
    student: DeployableStudent,
    profile: DeviceProfile,
    precision: str,
    output_dir: Path,
    recorded_request: Mapping[str, Any],
) -> ProgramExport:
    """Write a folder with the programs of a student, compiled for `precision` if torch-tensorrt is available here.

    Args:
        student: The student.
        profile: The target.
        precision: Precision to compile for.
        output_dir: Folder to write.
        recorded_request: The request of the export, for the provenance.

    Raises:
        ExportError: torch cannot export the student.
    """
    request = make_export_request(student, profile, output_dir.name, precision="fp32")
    compiled: CompiledPrograms | None = None
    error: ExportError | BackendUnavailableError | None = None
    with atomic_folder(output_dir, is_programs_folder) as folder:
        programs = save_programs(student.network, request, folder, find_operator_table(profile.torch_tensorrt or ""))
        try:
            compiled = compile_programs(programs, student.network, request, precision)
        except (ExportError, BackendUnavailableError) as caught:  # the programs can be compiled on the device
            error = caught
            shutil.rmtree(folder / "compiled", ignore_errors=True)
        provenance = dataclasses.replace(request.provenance, request=recorded_request)
        info = ProgramsInfo(profile, get_torch_version(), precision, compiled, provenance)
        write_programs_info(folder, programs, info)
    return ProgramExport(programs, info, error)


def format_programs(export: ProgramExport) -> str:
    """Return a text table of the programs and their parity with torch."""
    programs, info = export.programs, export.info
    compiled = info.compiled.parity if info.compiled else {}
    rows = [
        [
            saved.file,
            str(sum(saved.operators.values())),
            f"{saved.parity:.1e}",
            f"{compiled[saved.key]:.1e}" if saved.key in compiled else "-",
            ", ".join(saved.unconverted_operators) or "none",
        ]
        for saved in programs.saved
    ]
    table = text_table(["program", "operators", "parity", "compiled", "without a converter"], rows, texts=1)
    worst = max(saved.parity for saved in programs.saved)
    return (
        f"{table}\nlargest difference of a reloaded program from torch: {worst:.1e}, limit {programs.parity_limit:.0e}"
    )
