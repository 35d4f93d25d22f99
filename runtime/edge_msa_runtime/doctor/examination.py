"""`edge-msa-run doctor`: what this device has, what is wrong with it, and the command that mends it.

It reads and imports; it installs and changes nothing. What stands in the way of running ends with exit code 4; what
only makes figures slower or less steady does not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Sequence

from edge_msa_runtime.doctor.bundle import bundle_findings
from edge_msa_runtime.doctor.findings import Finding
from edge_msa_runtime.doctor.jetson import jetson_findings
from edge_msa_runtime.doctor.machine import machine_findings
from edge_msa_runtime.doctor.python import backend_findings, python_findings
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.system import Interpreter, System, this_interpreter

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class Examination:
    """Everything that was found, in the order in which a device is put together."""

    findings: tuple[Finding, ...]

    @property
    def stops(self) -> tuple[Finding, ...]:
        """What stands in the way of running."""
        return tuple(finding for finding in self.findings if finding.stops)

    def require(self) -> None:
        """Refuse a device that cannot run.

        Raises:
            BackendUnavailableError: names the first thing that stands in the way, and what mends it.
        """
        for finding in self.stops:
            fix = f"; what mends it: {finding.fix}" if finding.fix else ""
            raise BackendUnavailableError(f"{finding.topic}: {finding.found}{fix}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"findings": [dataclasses.asdict(finding) for finding in self.findings], "runs": not self.stops}


def examine(
    manifest: Manifest | None = None, system: System | None = None, interpreter: Interpreter | None = None
) -> Examination:
    """Look at this device, and whether a bundle fits it.

    Args:
        manifest: of the bundle that is to run here; None: only the device.
        system: what is asked of the operating system; this one's by default.
        interpreter: the Python; this one by default.
    """
    known, python = system or System(), interpreter or this_interpreter()
    found = [
        *machine_findings(known, python),
        *jetson_findings(known, python, needed=manifest is not None and "tensorrt" in manifest.backends),
        *python_findings(known, python),
        *backend_findings(known, python, manifest),
    ]
    if manifest is not None:
        found += bundle_findings(manifest, known, python, found)
    return Examination(tuple(found))


def examination_lines(found: Examination) -> list[str]:
    """A table, then what to do."""
    lines = [f"{finding.state:8}{finding.topic:18}{finding.found}" for finding in found.findings]
    lines += _advice("stands in the way of running:", found.stops)
    others = [finding for finding in found.findings if finding.state == "wrong" and not finding.stops]
    lines += _advice("is wrong, and runs all the same:", others)
    return lines if found.stops or others else [*lines, "nothing is wrong"]


def _advice(title: str, findings: Sequence[Finding]) -> list[str]:
    told = [f"  {finding.topic}: {finding.fix or finding.found}" for finding in findings]
    return [title, *told] if told else []
