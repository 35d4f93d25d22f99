"""The page of a sensitivity search: what int8 costs layer by layer, and the plan node by node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_msa.reporting.canvas import GRID, LIMIT, MUTED, PRECISIONS, STYLE, canvas, svg
from edge_msa.reporting.page import Table
from edge_msa.reporting.templates import fill

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEMPLATE = "sensitivity.html.j2"
_HEIGHT = 0.22
_FARTHEST = 2.0


@dataclass(frozen=True)
class LayerBar:
    """One layer: its distance where it alone is int8, and what its float saves of all int8's; None: not known."""

    name: str
    alone_int8: float | None
    saved: float | None
    is_float: bool


@dataclass(frozen=True)
class SensitivityPart:
    """One quantization scheme. `limit`: the distance that may be lost. `plan`: node, operator, int8 or float, reason."""

    scheme: str
    sentences: Sequence[str]
    layers: Sequence[LayerBar]
    limit: float
    plan: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class SensitivityPage:
    """All quantization schemes of a target."""

    title: str
    subtitle: str
    parts: Sequence[SensitivityPart]


def render_sensitivity(page: SensitivityPage) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    # The pictures are matplotlib's own markup; every text in them was escaped by it.
    parts = [(part, Markup(sensitivity_picture(part)), _plan(part)) for part in page.parts]  # noqa: S704
    return fill("edge_msa.reporting", TEMPLATE, page=page, parts=parts)


def sensitivity_picture(part: SensitivityPart) -> str:
    """A pair of bars a layer, in graph order from the top, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = canvas(7.6, 1.6 + 2 * _HEIGHT * len(part.layers))
        axes.grid(visible=False)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        _draw_bars(axes, part.layers)
        if part.limit < _FARTHEST * axes.get_xlim()[1]:  # farther out it would leave the bars no room
            axes.axvline(part.limit, color=LIMIT, linewidth=1.4, linestyle="--", label="limit of all together")
        axes.set_yticks(range(len(part.layers)), [_label(layer) for layer in part.layers])
        axes.invert_yaxis()
        # Long names of layers leave the axis little room: the words grow to the left.
        axes.set_xlabel("distance from fp32's predictions, in their standard deviations", loc="right")
        handles, _ = axes.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside lower left", ncols=3, handletextpad=0.4, columnspacing=1.6)
        return svg(figure, f"sensitivity-{part.scheme}", f"Sensitivity of each layer to int8 under {part.scheme}")


def _draw_bars(axes: Axes, layers: Sequence[LayerBar]) -> None:
    places = range(len(layers))
    alone = [layer.alone_int8 or 0.0 for layer in layers]
    saved = [layer.saved or 0.0 for layer in layers]
    above, below = [place - 0.2 for place in places], [place + 0.2 for place in places]
    axes.barh(above, alone, height=0.36, color=PRECISIONS["int8"], label="it alone in int8")
    axes.barh(below, saved, height=0.36, color=MUTED, label="what all int8 gains by its float")


def _label(layer: LayerBar) -> str:
    short = layer.name.removeprefix("encoders.").removeprefix("front.encoder.").removesuffix(".weight")
    return f"{short} (float)" if layer.is_float else short


def _plan(part: SensitivityPart) -> Table:
    floats = sum(row[2] == "float" for row in part.plan)
    caption = f"{part.scheme}: {len(part.plan) - floats} nodes int8, {floats} float"
    return Table(["node", "operator", "computes in", "why"], [list(row) for row in part.plan], caption, left=4)
