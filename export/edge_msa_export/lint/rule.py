"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edge_msa_export.lint.reader import BEYOND, Reader, Version
from edge_msa_export.lint.view import GraphView

Hits = Iterator[tuple[str, str]]
"""Where in the graph, and what is to know."""
Check = Callable[[GraphView, Reader], Hits]


@dataclass(frozen=True)
class Rule:
    """One rule: its `name`, how bad a hit is, `what` it asks in one line, the `document` that says so, and the `check`.

    `engines`: whose graphs it is for; none names all. `since` and `until`: of TensorRT, the first version that it
    applies to, and the first that it does not any more. `dla`: only of graphs for a DLA. `ours`: only of graphs that
    this project wrote.
    """

    name: str
    severity: str
    what: str
    document: str
    check: Check
    engines: tuple[str, ...] = ("tensorrt",)
    since: Version = (0,)
    until: Version = BEYOND
    dla: bool = False
    ours: bool = False

    def applies(self, reader: Reader, *, ours: bool) -> bool:
        """Whether a graph for that reader, of this project or of another, is held against the rule."""
        named = not self.engines or reader.engine in self.engines
        return named and self.since <= reader.version < self.until and self.dla <= reader.dla and self.ours <= ours
