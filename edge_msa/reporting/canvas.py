"""Drawing for all pages: one Matplotlib style, and SVG whose colors follow the page's light or dark theme."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib draws with these placeholder colors. `figure_to_svg` replaces them with CSS variables of the page.
INK, MUTED, GRID, REFERENCE = "#010101", "#020202", "#030303", "#040404"
PRECISION_COLORS = {"fp32": "#0a0101", "fp16": "#0a0202", "int8": "#0a0303"}
OTHER_COLOR = "#0a0404"
_CSS_COLORS = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--line)",
    REFERENCE: "var(--reference)",
    **{placeholder: f"var(--{precision})" for precision, placeholder in PRECISION_COLORS.items()},
    OTHER_COLOR: "var(--other)",
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


def create_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a transparent figure of this size in inches, and its axes with horizontal grid lines."""
    figure, (axes,) = create_stacked_figure(width, [height])
    return figure, axes


def create_stacked_figure(width: float, heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Return a transparent figure with axes of these heights in inches below each other, which share their x axis."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    rows = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    for axes, height in zip(rows[:, 0], heights, strict=True):
        axes.yaxis.set_major_locator(MaxNLocator(6 if height >= 2 else 3))
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.tick_params(length=0)
        axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    return figure, list(rows[:, 0])


def figure_to_svg(figure: Figure, prefix: str, title: str) -> str:
    """Return the figure as an SVG element for use inside HTML.

    Args:
        figure: A figure drawn under `STYLE`.
        prefix: Prepended to all ids, so that several figures fit on one page.
        title: Description for assistive technology.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    for placeholder, css_color in _CSS_COLORS.items():
        text = text.replace(placeholder, css_color)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()
