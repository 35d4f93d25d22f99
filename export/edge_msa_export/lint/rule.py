"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_msa_export.lint.lint_target import BEYOND, LintTarget, Version
from edge_msa_export.lint.view import GraphView

Hits = Iterator[tuple[str, str]]
"""Where in the graph, and what is to know."""
Check = Callable[[GraphView, LintTarget], Hits]


@dataclass(frozen=True)
class Rule:
    """One rule: its `name`, how bad a hit is, `what` it asks in one line, the `document` that says so, and the `check`.

    `backends`: whose graphs it is for; none names all. `since` and `until`: of TensorRT, the first version that it
    applies to, and the first that it does not any more. `dla`: only of graphs for a DLA. `ours`: only of graphs that
    this project wrote.
    """

    name: str
    severity: str
    what: str
    document: str
    check: Check
    backends: tuple[str, ...] = ("tensorrt",)
    since: Version = (0,)
    until: Version = BEYOND
    dla: bool = False
    ours: bool = False

    def applies(self, lint_target: LintTarget, *, ours: bool) -> bool:
        """Whether a graph for that lint_target, of this project or of another, is held against the rule."""
        named = not self.backends or lint_target.backend in self.backends
        return (
            named
            and self.since <= lint_target.version < self.until
            and self.dla <= lint_target.dla
            and self.ours <= ours
        )
