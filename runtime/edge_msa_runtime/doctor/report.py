"""All checks of this device, as `edge-msa-run doctor` runs them.

The checks only read files and import modules; they install and change nothing. The command exits with 4 if a problem
makes predictions impossible. Other problems, which make predictions slower or latencies less stable, do not change the
exit code.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Sequence

from edge_msa_runtime.doctor.bundle_checks import check_bundle
from edge_msa_runtime.doctor.findings import OPTIONAL, PROBLEM, Finding
from edge_msa_runtime.doctor.interpreter import Interpreter, current_interpreter
from edge_msa_runtime.doctor.machine_checks import check_machine
from edge_msa_runtime.doctor.nvidia_checks import check_nvidia
from edge_msa_runtime.doctor.python_checks import check_backends, check_python
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.system import System

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class DoctorReport:
    """The findings of all checks, in the order hardware, NVIDIA's software, Python, bundle."""

    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The problems that make predictions impossible."""
        return tuple(finding for finding in self.findings if finding.blocking)

    def raise_if_blocked(self) -> None:
        """Raise an error if a problem makes predictions impossible.

        Raises:
            BackendUnavailableError: names the first blocking problem and its fix.
        """
        for finding in self.blocking:
            fix = f". Suggested fix: {finding.fix}" if finding.fix else ""
            raise BackendUnavailableError(f"{finding.topic}: {finding.detail}{fix}")

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {"findings": [dataclasses.asdict(finding) for finding in self.findings], "can_run": not self.blocking}


def examine_device(
    manifest: Manifest | None = None, system: System | None = None, interpreter: Interpreter | None = None
) -> DoctorReport:
    """Check this device, and whether it can run a bundle.

    Args:
        manifest: manifest of the bundle. None: check only the device.
        system: the operating system. None: the current one.
        interpreter: the Python interpreter. None: the current one.
    """
    system, interpreter = system or System(), interpreter or current_interpreter()
    findings = [
        *check_machine(system, interpreter),
        *check_nvidia(system, interpreter, manifest),
        *check_python(system, interpreter),
        *check_backends(system, interpreter, manifest),
    ]
    if manifest is not None:
        findings += check_bundle(manifest, system, interpreter, findings)
    return DoctorReport(tuple(findings))


def format_report(report: DoctorReport) -> list[str]:
    """Format a report as a table followed by the suggested fixes."""
    lines = [f"{finding.status:9}{finding.topic:21}{finding.detail}" for finding in report.findings]
    others = [finding for finding in report.findings if finding.status == PROBLEM and not finding.blocking]
    if not report.blocking and not others:
        optional = [finding for finding in report.findings if finding.status == OPTIONAL and finding.topic != "backend"]
        return [*lines, "No problems found.", *_format_fixes("Optional:", optional)]
    lines += _format_fixes("Nothing can run until you fix:", report.blocking)
    return lines + _format_fixes("Suggested fixes:", others)


def _format_fixes(title: str, findings: Sequence[Finding]) -> list[str]:
    fixes = [f"  {finding.topic}: {finding.fix or finding.detail}" for finding in findings]
    return [title, *fixes] if fixes else []
