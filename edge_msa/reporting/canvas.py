"""What every picture of a page is drawn on: one style, and SVG whose colors follow the page, light or dark."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that matplotlib can draw with; the finished SVG has the page's own variables instead.
INK, MUTED, GRID, LIMIT = "#010101", "#020202", "#030303", "#040404"
PRECISIONS = {"fp32": "#0a0101", "fp16": "#0a0202", "int8": "#0a0303"}
OTHER = "#0a0404"
_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    LIMIT: "var(--limit)",
    **{value: f"var(--{name})" for name, value in PRECISIONS.items()},
    OTHER: "var(--other)",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edge-msa",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that many inches with one pair of axes, transparent, with lines across for the eye."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(length=0)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return figure, axes


def svg(figure: Figure, prefix: str, title: str) -> str:
    """The figure as an SVG element that can stand inside HTML: own ids, no style for the page, the page's colors."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    opening = f'<svg role="img" aria-label="{title}"'
    return text.replace("<svg", opening, 1).strip()
