"""Runs the rules on a graph."""

from __future__ import annotations

import onnx

from edge_msa_export.errors import ExportError
from edge_msa_export.lint.graph_view import GraphView
from edge_msa_export.lint.rule import ERROR, LintFinding
from edge_msa_export.lint.rules import RULES
from edge_msa_export.lint.target import LintTarget


def lint(model: onnx.ModelProto | GraphView, target: LintTarget, *, project_graph: bool = True) -> list[LintFinding]:
    """Return everything in a graph that the target cannot run, computes differently, or runs slowly.

    Args:
        model: the model, or a view of it.
        target: the backend and its version.
        project_graph: whether this project exported the graph. Such graphs must meet more than the backends require:
            opset 17, explicit axes, no local paths.
    """
    view = model if isinstance(model, GraphView) else GraphView(model)
    return [
        LintFinding(rule.name, rule.severity, location, message, rule.document)
        for rule in RULES
        if rule.applies_to(target, project_graph=project_graph)
        for location, message in rule.check(view, target)
    ]


def raise_for_errors(findings: list[LintFinding], target: LintTarget, name: str) -> None:
    """Raise an ExportError if any finding is an error.

    The message has the first error, the number of further ones, and the document. `name` is the name of the graph.
    """
    errors = [finding for finding in findings if finding.severity == ERROR]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ExportError(f"{name} does not run on {target}: {errors[0]}{more} See {errors[0].document}")
