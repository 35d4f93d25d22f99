"""The types of the lint: rules, the checks that they run, and the findings that they report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from edge_msa_export.lint.graph_view import GraphView
from edge_msa_export.lint.target import FIRST_UNKNOWN_VERSION, LintTarget, Version

ERROR = "error"
"""The backend cannot run the graph, or computes something else."""
WARNING = "warning"
"""The backend runs the graph, but this pattern costs more time than it saves."""
NOTE = "note"
"""The backend runs the graph, but the code that loads it must consider this."""
SEVERITIES = (ERROR, WARNING, NOTE)

Matches = Iterator[tuple[str, str]]
"""Pairs of a location in the graph and a message about it."""
Check = Callable[[GraphView, LintTarget], Matches]


@dataclass(frozen=True)
class LintFinding:
    """One problem in one graph.

    Attributes:
        rule: name of the rule that reports it.
        severity: `error`, `warning` or `note`.
        location: node, tensor or attribute of the graph, or `model` for the graph as a whole.
        message: what is wrong, in one line.
        document: the document that the rule follows.
    """

    rule: str
    severity: str
    location: str
    message: str
    document: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.location}: {self.message}"

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Rule:
    """One rule of the lint.

    Attributes:
        name: identifier, such as `static-shape`.
        severity: severity of its findings.
        requirement: what the rule requires, in one line.
        document: the document that states the requirement.
        check: yields a location and a message for each violation.
        backends: backends that the rule applies to; empty for all of them.
        since: first TensorRT version that the rule applies to.
        until: first TensorRT version that the rule no longer applies to.
        dla: apply the rule only to graphs for a DLA.
        project_only: apply the rule only to graphs that this project exported.
    """

    name: str
    severity: str
    requirement: str
    document: str
    check: Check
    backends: tuple[str, ...] = ("tensorrt",)
    since: Version = (0,)
    until: Version = FIRST_UNKNOWN_VERSION
    dla: bool = False
    project_only: bool = False

    def applies_to(self, target: LintTarget, *, project_graph: bool) -> bool:
        """Return whether the rule applies to graphs for `target`."""
        if self.backends and target.backend not in self.backends:
            return False
        if (self.dla and not target.dla) or (self.project_only and not project_graph):
            return False
        return self.since <= target.version < self.until
