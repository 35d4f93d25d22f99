"""`edge-msa inspect` and `edge-msa devices`: check graphs for TensorRT compatibility, and list the devices."""

from __future__ import annotations

from pathlib import Path

from edge_msa.console import print_json, print_notes, print_result
from edge_msa.deployment.lint_report import format_findings, format_graphs, summarize_errors
from edge_msa.errors import UsageError
from edge_msa.text_tables import text_table
from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.lint import LintTarget, parse_tensorrt_version
from edge_msa_export.lint.inspection import InspectedGraph, inspect_bundle, inspect_file, list_tensorrt_graphs
from edge_msa_export.profiles import find_profile, load_profiles, read_profile
from edge_msa_runtime.bundle.loader import Bundle, open_bundle


def inspect_path(
    path: Path, *, target: str | None = None, tensorrt: str | None = None, dla: bool = False, json: bool = False
) -> tuple[InspectedGraph, ...]:
    """Check the graphs of a bundle, or one file, against the rules of a TensorRT version, and print the findings.

    Args:
        path: A bundle, or an `.onnx` file.
        target: Device whose TensorRT version to check for (default for a bundle: its target).
        tensorrt: TensorRT version to check for, instead of a device.
        dla: Whether to check for the device's DLA as well.
        json: Whether to print all findings as one line of JSON at the end of stdout.

    Raises:
        UsageError: Both `target` and `tensorrt` are set, or neither is set for a file.
        LintError: The version is unknown, the target has no TensorRT or DLA, or the bundle has no TensorRT graphs.
        ExportError: A graph is not supported, or cannot be loaded.
    """
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
        graphs: tuple[InspectedGraph, ...] = (inspect_file(path, lint_target),)
    else:
        bundle = open_bundle(path)
        print_notes(bundle.notes)
        lint_target = lint_target or _bundle_target(bundle, dla=dla)
        graphs = inspect_bundle(bundle, lint_target)
    print_result(f"{path}: {len(graphs)} graphs checked for {lint_target}")
    print_result(format_graphs(graphs))
    print_result("")
    print_result(format_findings(graphs))
    if json:
        print_json({"path": str(path), "target": str(lint_target), "graphs": [graph.to_json() for graph in graphs]})
    if errors := summarize_errors(graphs):
        raise ExportError(f"{lint_target}: {errors}")
    return graphs


def list_devices(*, json: bool) -> None:
    """Print a table of the devices that you can export for, or their profiles as JSON."""
    profiles = load_profiles()
    if json:
        print_json({name: profile.to_json() for name, profile in profiles.items()})
        return
    rows = [
        [
            profile.name + (f" (= {profile.family})" if profile.family_default else ""),
            profile.architecture,
            (profile.tensorrt or "-") + (", DLA" if profile.dla else ""),
            ", ".join(f"{backend.name} {'/'.join(backend.precisions)}" for backend in profile.backends),
            profile.description,
        ]
        for profile in profiles.values()
    ]
    print_result(text_table(["target", "architecture", "TensorRT", "backends", "description"], rows, left=3, texts=2))


def show_device(target: str) -> None:
    """Print the TOML file of a device profile, to edit it and pass it to `--target`.

    Args:
        target: Name of a device, name of a device family, or a TOML file, which is checked.

    Raises:
        ProfileError: There is no such profile, or the file is not a valid one.
    """
    print_result(read_profile(target).rstrip("\n"))


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
