"""`edge-msa inspect`: graphs held against what a TensorRT reads, node by node, without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edge_msa.console import say, say_json
from edge_msa.errors import UsageError
from edge_msa.text_tables import text_table
from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.lint import ERROR, SEVERITIES, WARNING, Finding, LintTarget, parse_tensorrt_version
from edge_msa_export.lint.inspection import InspectedGraph, inspect_bundle, inspect_file, list_tensorrt_graphs
from edge_msa_export.profiles import find_profile, load_profiles
from edge_msa_runtime.bundle.loader import Bundle, open_bundle

KINDS = 5
"""Operators of a graph that are shown by name."""
SHOWN = 5
"""Rows a rule; --json has all."""


def inspect_path(
    path: Path, *, target: str | None = None, tensorrt: str | None = None, dla: bool = False, json: bool = False
) -> tuple[InspectedGraph, ...]:
    """Show what a TensorRT makes of a bundle's graphs, or of one file.

    Args:
        path: a bundle, or an `.onnx` file.
        target: whose TensorRT; for a bundle, left out, the one that it was exported for.
        tensorrt: a version of TensorRT, in the target's place.
        dla: hold them against the rules of a DLA too.
        json: end with one line of JSON, with every finding.

    Raises:
        UsageError: target and version both, or neither for a file.
        LintError: an unknown version, a target without TensorRT or DLA, a bundle without graphs for TensorRT.
        ExportError: a graph is refused, or cannot be read.
    """
    if target is not None and tensorrt is not None:
        raise UsageError("--target and --tensorrt say the same: give one of them")
    if not path.exists():
        raise UsageError(f"{path} does not exist: give a bundle or an .onnx file")
    if path.is_file():
        lint_target = _lint_target(target, tensorrt, dla=dla)
        if lint_target is None:
            raise UsageError(f"{path}: a file does not say for whom it is: give --tensorrt VERSION or --target NAME")
        graphs: tuple[InspectedGraph, ...] = (inspect_file(path, lint_target),)
    else:
        bundle = open_bundle(path)
        lint_target = _lint_target(target, tensorrt, dla=dla) or _own(bundle, dla=dla)
        graphs = inspect_bundle(bundle, lint_target)
    say(f"{path}: {len(graphs)} graphs held against {lint_target}")
    say(_graph_table(graphs))
    _say_findings(graphs)
    if json:
        say_json({"path": str(path), "target": str(lint_target), "graphs": [graph.to_json() for graph in graphs]})
    _refuse(graphs, lint_target)
    return graphs


def slow_line(findings: Iterable[Finding]) -> str | None:
    """One line on what is read and costs more than it saves; None where there is no such thing."""
    counts = Counter(finding.rule for finding in findings if finding.severity == WARNING)
    if not counts:
        return None
    told = ", ".join(f"{rule} {count}" for rule, count in counts.most_common())
    dla = " --dla" if any(rule.startswith("dla-") for rule in counts) else ""
    command = f"edge-msa inspect BUNDLE{dla} --json"
    return f"{counts.total()} places in the graphs for TensorRT cost more than they save ({told}): {command} lists them"


def _lint_target(target: str | None, tensorrt: str | None, *, dla: bool) -> LintTarget | None:
    if tensorrt is not None:
        return LintTarget("tensorrt", parse_tensorrt_version(tensorrt), dla=dla)
    if target is None:
        return None
    profile = find_profile(target)
    if profile.tensorrt is None:
        raise LintError(f"{profile.name} has no TensorRT; give a Jetson, or --tensorrt VERSION")
    return LintTarget.from_profile(profile, "tensorrt", dla=dla)


def _own(bundle: Bundle, *, dla: bool) -> LintTarget:
    """The TensorRT that a bundle was exported for."""
    list_tensorrt_graphs(bundle)  # of a bundle without them there is more to say than that it has no version
    profile = bundle.manifest.profile
    if dla and not profile.get("dla"):
        raise LintError(f"{bundle.manifest.target}, which {bundle.path.name} is for, has no DLA; leave --dla out")
    return LintTarget("tensorrt", parse_tensorrt_version(str(profile.get("tensorrt"))), dla=dla)


def _graph_table(graphs: Sequence[InspectedGraph]) -> str:
    rows = [
        [
            graph.name,
            graph.precision,
            str(sum(graph.operators.values())),
            str(graph.int8_nodes),
            "  " + _kinds(graph),
        ]
        for graph in graphs
    ]
    return text_table(["graph", "precision", "nodes", "int8", "  by type"], rows, left=5)


def _kinds(graph: InspectedGraph) -> str:
    """The most frequent operators; --json has all."""
    shown = [f"{kind} {count}" for kind, count in list(graph.operators.items())[:KINDS]]
    more = len(graph.operators) - len(shown)
    return ", ".join(shown) + (f", {more} other kinds" if more > 0 else "")


def _say_findings(graphs: Sequence[InspectedGraph]) -> None:
    found = [(graph, finding) for graph in graphs for finding in graph.findings]
    counts = Counter(finding.severity for _, finding in found)
    say("")
    say(", ".join(f"{severity}: {counts[severity]}" for severity in SEVERITIES))
    if found:
        header = ["severity", "rule", "graph", "node", "message", "document"]
        say(text_table(header, list(_rows(found)), left=len(header)))


def _rows(found: Sequence[tuple[InspectedGraph, Finding]]) -> Iterator[list[str]]:
    """By severity and rule; of each rule the first few."""
    rules = dict.fromkeys((finding.severity, finding.rule) for _, finding in found)
    for severity, rule in sorted(rules, key=lambda item: (SEVERITIES.index(item[0]), item[1])):
        hits = [(graph, finding) for graph, finding in found if (finding.severity, finding.rule) == (severity, rule)]
        for graph, finding in hits[:SHOWN]:
            yield [severity, rule, graph.name, finding.location, finding.message, finding.document]
        if len(hits) > SHOWN:
            yield [severity, rule, "", "", f"and {len(hits) - SHOWN} more; --json has all", ""]


def _refuse(graphs: Sequence[InspectedGraph], lint_target: LintTarget) -> None:
    refused = [finding for graph in graphs for finding in graph.findings if finding.severity == ERROR]
    if refused:
        counts = Counter(finding.rule for finding in refused)
        told = ", ".join(f"{rule} {count}" for rule, count in counts.most_common())
        held = sum(any(finding.severity == ERROR for finding in graph.findings) for graph in graphs)
        raise ExportError(f"{lint_target} refuses {held} of {len(graphs)} graphs ({told}); first: {refused[0]}")


def list_devices(*, json: bool) -> None:
    """Show every device that export knows, in a table or as JSON."""
    profiles = load_profiles()
    if json:
        say_json({name: profile.to_json() for name, profile in profiles.items()})
        return
    rows = [
        [
            profile.name + (f" (= {profile.family})" if profile.family_default else ""),
            profile.architecture,
            ", ".join(f"{backend.name} {'/'.join(backend.precisions)}" for backend in profile.backends),
            (profile.tensorrt or "-") + (", DLA" if profile.dla else ""),
            profile.description,
        ]
        for profile in profiles.values()
    ]
    say(text_table(["target", "architecture", "backends", "TensorRT", "what it is"], rows, left=5))
