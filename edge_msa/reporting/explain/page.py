"""The offline page about what a model attention maps at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_msa.reporting.templates import Table, render_template


@dataclass(frozen=True)
class Part:
    """One picture (SVG that this project drew, or "") with what is said about it."""

    svg: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Shown:
    """A sample on the page: its id, what was said (""), its label and prediction in words, and its attention."""

    name: str
    text: str
    facts: str
    part: Part = field(default_factory=Part)


@dataclass(frozen=True)
class Explanation:
    """What the page tells. `left_out` are lines on what is not there and why."""

    title: str
    subtitle: str
    verdicts: Sequence[str]
    removal: Table
    samples: Table
    how: str
    predictions: Part
    shown: Sequence[Shown]
    model: str
    guided: Part = field(default_factory=Part)
    shares: Table | None = None
    drawn: str = ""
    drawn_streams: str = ""
    joint: Part = field(default_factory=Part)
    streams: Part = field(default_factory=Part)
    left_out: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def render(explanation: Explanation) -> str:
    """The page as HTML."""
    return render_template("edge_msa.reporting.explain", "page.html.j2", page=explanation)
