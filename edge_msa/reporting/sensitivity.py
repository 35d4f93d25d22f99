"""The HTML page of a sensitivity analysis: what int8 costs in each layer, and the resulting quantization plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_msa.reporting.canvas import GRID, MUTED, PRECISION_COLORS, REFERENCE, STYLE, create_figure, figure_to_svg
from edge_msa.reporting.templates import Table, render_template

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR_HEIGHT = 0.22
_MAX_AXIS_EXTENSION = 2.0
"""Largest factor by which the line of the allowed distance may extend the axis. Beyond it, the bars would be tiny."""


@dataclass(frozen=True)
class LayerBar:
    """Sensitivity of one layer. Distances are None if they were not measured.

    Attributes:
        name: Name of the layer's weight.
        int8_distance: Distance from the fp32 predictions if only this layer is int8.
        fp32_gain: Reduction of the distance if all layers are int8 except this one.
        is_float: Whether the plan keeps the layer in float.
    """

    name: str
    int8_distance: float | None
    fp32_gain: float | None
    is_float: bool


@dataclass(frozen=True)
class SensitivityPart:
    """Result for one quantization scheme.

    Attributes:
        scheme: Name of the quantization scheme.
        sentences: Summary of the result.
        layers: Sensitivities in graph order.
        max_distance: Allowed distance of the whole plan from the fp32 predictions.
        plan: Node, operator, `int8` or `float`, and reason, for each node.
    """

    scheme: str
    sentences: Sequence[str]
    layers: Sequence[LayerBar]
    max_distance: float
    plan: Sequence[tuple[str, str, str, str]]


@dataclass(frozen=True)
class SensitivityPage:
    """Content of the page: the results for all quantization schemes of a target."""

    title: str
    subtitle: str
    parts: Sequence[SensitivityPart]


def render_sensitivity(page: SensitivityPage) -> str:
    """Return the page as HTML."""
    from markupsafe import Markup

    # Matplotlib generated this markup and escaped every text in it.
    parts = [(part, Markup(sensitivity_plot(part)), _plan_table(part)) for part in page.parts]  # noqa: S704
    return render_template(
        "edge_msa.reporting", "sensitivity.html.j2", title=page.title, subtitle=page.subtitle, parts=parts
    )


def sensitivity_plot(part: SensitivityPart) -> str:
    """Return a bar chart with two bars per layer, in graph order from top to bottom, as SVG."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = create_figure(7.6, 1.6 + 2 * _BAR_HEIGHT * len(part.layers))
        axes.grid(visible=False)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        _draw_bars(axes, part.layers)
        if part.max_distance < _MAX_AXIS_EXTENSION * axes.get_xlim()[1]:
            label = "allowed for all layers together"
            axes.axvline(part.max_distance, color=REFERENCE, linewidth=1.4, linestyle="--", label=label)
        axes.set_yticks(range(len(part.layers)), [_label(layer) for layer in part.layers])
        axes.invert_yaxis()
        # Aligned right, because long layer names leave little space for the axis.
        axes.set_xlabel("distance from fp32 predictions, in standard deviations", loc="right")
        handles, _ = axes.get_legend_handles_labels()
        figure.legend(handles=handles, loc="outside lower left", ncols=2, handletextpad=0.4, columnspacing=1.6)
        return figure_to_svg(figure, f"sensitivity-{part.scheme}", f"Sensitivity of each layer to int8 ({part.scheme})")


def _draw_bars(axes: Axes, layers: Sequence[LayerBar]) -> None:
    upper, lower = ([row + shift for row in range(len(layers))] for shift in (-0.2, 0.2))
    distances = [layer.int8_distance or 0.0 for layer in layers]
    gains = [layer.fp32_gain or 0.0 for layer in layers]
    axes.barh(upper, distances, height=0.36, color=PRECISION_COLORS["int8"], label="cost: only this layer in int8")
    axes.barh(lower, gains, height=0.36, color=MUTED, label="gain: all layers in int8 except this one")


def _label(layer: LayerBar) -> str:
    name = layer.name.removeprefix("encoders.").removeprefix("text_encoder.encoder.").removesuffix(".weight")
    return f"{name} (float)" if layer.is_float else name


def _plan_table(part: SensitivityPart) -> Table:
    floats = sum(row[2] == "float" for row in part.plan)
    caption = f"{part.scheme}: number of nodes in int8 {len(part.plan) - floats}, in float {floats}"
    return Table(["node", "operator", "precision", "reason"], [list(row) for row in part.plan], caption, left=4)
