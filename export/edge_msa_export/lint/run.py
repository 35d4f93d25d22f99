"""Holds a graph against the rules that apply to its lint_target."""

from __future__ import annotations

import onnx

from edge_msa_export.errors import ExportError
from edge_msa_export.lint.finding import REFUSED, Finding
from edge_msa_export.lint.lint_target import LintTarget
from edge_msa_export.lint.rules import RULES
from edge_msa_export.lint.view import GraphView


def lint(model: onnx.ModelProto | GraphView, lint_target: LintTarget, *, ours: bool = True) -> list[Finding]:
    """Everything in a graph that its lint_target would refuse, read wrongly or be slow with; empty when it is fine.

    Args:
        model: or a view of it.
        lint_target: the backend, and its version.
        ours: of this project, which asks for more than backends do: opset 17, axes that are named, no local paths.
    """
    view = model if isinstance(model, GraphView) else GraphView(model)
    return [
        Finding(rule.name, rule.severity, where, message, rule.document)
        for rule in RULES
        if rule.applies(lint_target, ours=ours)
        for where, message in rule.check(view, lint_target)
    ]


def refuse_findings(findings: list[Finding], lint_target: LintTarget, name: str) -> None:
    """Raise an ExportError with the first finding that is refused, how many more there are, and its document."""
    refused = [finding for finding in findings if finding.severity == REFUSED]
    if refused:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise ExportError(f"{name} is not fit for {lint_target}: {refused[0]}{more}; see {refused[0].document}")
