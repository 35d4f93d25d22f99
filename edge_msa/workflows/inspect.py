"""`edge-msa inspect` and `edge-msa devices`: check graphs for TensorRT compatibility, and list the devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, path_of
from edge_msa.console import print_notes
from edge_msa.deployment.lint_report import format_findings, format_graphs, summarize_errors
from edge_msa.errors import UsageError
from edge_msa.result_tables import Row, Table
from edge_msa.workflows.api import OnProgress, api
from edge_msa_export.errors import LintError
from edge_msa_export.lint import LintTarget, parse_tensorrt_version
from edge_msa_export.lint.inspection import InspectedGraph, inspect_bundle, inspect_file, list_tensorrt_graphs
from edge_msa_export.profiles import DeviceProfile, find_profile, load_profiles
from edge_msa_runtime.bundle.loader import Bundle, open_bundle


@dataclass(frozen=True, repr=False)
class GraphInspection(Table):
    """What the checks of a bundle, or of one ONNX file, report for a TensorRT version."""

    path: Path
    """The bundle or file."""
    target: LintTarget
    """What the graphs were checked for."""
    graphs: tuple[InspectedGraph, ...]
    """The checked graphs."""

    def __repr__(self) -> str:
        """Return what was checked, and the result."""
        return f"<GraphInspection of {self.path} for {self.target}: {self.problem or 'supported'}>"

    def __str__(self) -> str:
        """Return the tables of graphs and findings for people."""
        title = f"{self.path}: {len(self.graphs)} graphs checked for {self.target}"
        return "\n".join([title, format_graphs(self.graphs), "", format_findings(self.graphs)])

    @property
    def problem(self) -> str | None:
        """One sentence about the patterns that are not supported, or None if the graphs are supported."""
        return summarize_errors(self.graphs)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per finding."""
        return tuple(
            {"graph": graph.name, "precision": graph.precision, **finding.to_json()}
            for graph in self.graphs
            for finding in graph.findings
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": str(self.path),
            "target": str(self.target),
            "graphs": [graph.to_json() for graph in self.graphs],
        }


@api
def inspect(
    bundle: AnyPath,
    *,
    target: str | None = None,
    tensorrt: str | None = None,
    dla: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> GraphInspection:
    """Check the graphs of a bundle, or one ONNX file, against the rules of a TensorRT version. No GPU is needed.

    Args:
        bundle: A bundle, or an `.onnx` file.
        target: Device whose TensorRT version to check for (default for a bundle: its target).
        tensorrt: TensorRT version to check for, instead of a device, for example `"10.3"`.
        dla: Whether to check for the device's deep learning accelerator as well.
        verbose: Whether to print notes.
        on_progress: Not called: the check is one step.

    Returns:
        All findings. `result.problem` is None if the graphs are supported.

    Raises:
        UsageError: Both `target` and `tensorrt` are set, or neither is set for a file.
        LintError: The version is unknown, the target has no TensorRT or DLA, or the bundle has no TensorRT graphs.
        ExportError: A graph cannot be loaded.

    Examples:
        >>> em.inspect("bundle-jetson", tensorrt="8.5").problem
    """
    path = path_of(bundle, "bundle", "a bundle or the path of an .onnx file")
    if target is not None and tensorrt is not None:
        raise UsageError("--target and --tensorrt cannot be combined. Pass one of them.")
    if not path.exists():
        raise UsageError(f"{path} does not exist. Pass a bundle or an .onnx file.")
    lint_target = _lint_target(target, tensorrt, dla=dla)
    if path.is_file():
        if lint_target is None:
            raise UsageError(
                f"{path} is not a bundle, so its target is unknown. Pass --tensorrt VERSION or --target NAME."
            )
        return GraphInspection(path, lint_target, (inspect_file(path, lint_target),))
    opened = open_bundle(path)
    print_notes(opened.notes)
    lint_target = lint_target or _bundle_target(opened, dla=dla)
    return GraphInspection(path, lint_target, inspect_bundle(opened, lint_target))


def devices() -> dict[str, DeviceProfile]:
    """Return the profiles of the devices that you can export for, by name.

    Raises:
        ProfileError: A profile in the folder that `EDGE_MSA_DEVICES` names is invalid.

    Examples:
        >>> em.devices()["jetson-orin-nano"].tensorrt
    """
    return dict(load_profiles())


def _lint_target(target: str | None, tensorrt: str | None, *, dla: bool) -> LintTarget | None:
    if tensorrt is not None:
        return LintTarget("tensorrt", parse_tensorrt_version(tensorrt), dla=dla)
    if target is None:
        return None
    profile = find_profile(target)
    if profile.tensorrt is None:
        raise LintError(f"{profile.name} has no TensorRT. Pass a Jetson, or --tensorrt VERSION.")
    return LintTarget.from_profile(profile, "tensorrt", dla=dla)


def _bundle_target(bundle: Bundle, *, dla: bool) -> LintTarget:
    """Return the TensorRT version that a bundle was exported for."""
    list_tensorrt_graphs(bundle)  # raises a clearer error than the missing version would
    profile = bundle.manifest.profile
    if dla and not profile.get("dla"):
        raise LintError(f"{bundle.manifest.target}, the target of {bundle.path.name}, has no DLA. Omit --dla.")
    return LintTarget("tensorrt", parse_tensorrt_version(str(profile.get("tensorrt"))), dla=dla)
