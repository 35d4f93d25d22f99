"""Format lint findings as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from edge_msa.text_tables import text_table
from edge_msa_export.lint import ERROR, SEVERITIES, WARNING, LintFinding
from edge_msa_export.lint.inspection import InspectedGraph

MAX_OPERATORS = 5
"""Number of operators that the table lists for each graph."""
MAX_FINDINGS = 5
"""Number of findings that the table lists for each rule."""


def format_graphs(graphs: Sequence[InspectedGraph]) -> str:
    """Return a table of graphs with their precision, node counts and most frequent operators."""
    rows = [
        [
            graph.name,
            graph.precision,
            str(sum(graph.operators.values())),
            str(graph.int8_nodes),
            _format_operators(graph),
        ]
        for graph in graphs
    ]
    return text_table(["graph", "precision", "nodes", "int8", "operators"], rows, left=2, texts=1)


def format_findings(graphs: Sequence[InspectedGraph]) -> str:
    """Return the number of findings per severity, and a table of them: the first few of each rule."""
    findings = [(graph, finding) for graph in graphs for finding in graph.findings]
    counts = Counter(finding.severity for _, finding in findings)
    summary = ", ".join(f"{severity}: {counts[severity]}" for severity in SEVERITIES)
    if not findings:
        return summary
    header = ["severity", "rule", "graph", "node", "message", "document"]
    return f"{summary}\n{text_table(header, list(_finding_rows(findings)), left=4, texts=2)}"


def summarize_warnings(findings: Iterable[LintFinding]) -> str | None:
    """Return one sentence about the patterns that are supported but slow, or None if there are none."""
    counts = Counter(finding.rule for finding in findings if finding.severity == WARNING)
    if not counts:
        return None
    dla = " --dla" if any(rule.startswith("dla-") for rule in counts) else ""
    return (
        f"{counts.total()} patterns in the TensorRT graphs are supported but slow ({_format_counts(counts)}). "
        f"To list them, run: edge-msa inspect BUNDLE{dla} --json"
    )


def summarize_errors(graphs: Sequence[InspectedGraph]) -> str | None:
    """Return one sentence about the patterns that are not supported, or None if there are none."""
    errors = [finding for graph in graphs for finding in graph.findings if finding.severity == ERROR]
    if not errors:
        return None
    counts = Counter(finding.rule for finding in errors)
    rejected = sum(any(finding.severity == ERROR for finding in graph.findings) for graph in graphs)
    return f"{rejected} of {len(graphs)} graphs are not supported ({_format_counts(counts)}). First error: {errors[0]}"


def _format_operators(graph: InspectedGraph) -> str:
    listed = [f"{operator} {count}" for operator, count in list(graph.operators.items())[:MAX_OPERATORS]]
    more = len(graph.operators) - len(listed)
    return ", ".join(listed) + (f", {more} more" if more > 0 else "")


def _finding_rows(findings: Sequence[tuple[InspectedGraph, LintFinding]]) -> Iterator[list[str]]:
    """Yield rows sorted by severity and rule, at most `MAX_FINDINGS` of each rule."""
    rules = dict.fromkeys((finding.severity, finding.rule) for _, finding in findings)
    for severity, rule in sorted(rules, key=lambda item: (SEVERITIES.index(item[0]), item[1])):
        matches = [item for item in findings if (item[1].severity, item[1].rule) == (severity, rule)]
        for graph, finding in matches[:MAX_FINDINGS]:
            yield [severity, rule, graph.name, finding.location, finding.message, finding.document]
        if len(matches) > MAX_FINDINGS:
            yield [severity, rule, "", "", f"and {len(matches) - MAX_FINDINGS} more; --json lists all", ""]


def _format_counts(counts: Counter[str]) -> str:
    return ", ".join(f"{rule} {count}" for rule, count in counts.most_common())
