"""The search's picture: error against latency, size as size, the front as a stair; SVG that follows the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_msa.reporting.canvas import MUTED, OTHER_COLOR, PRECISION_COLORS, STYLE, create_figure, figure_to_svg
from edge_msa.reporting.points import pareto_front
from edge_msa.search.answer import SHARE
from edge_msa.search.points import Point
from edge_msa.search.record import SearchRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SMALLEST, _LARGEST = 30.0, 260.0
"""Areas of marks, in square points."""


def search_picture(record: SearchRecord) -> str:
    """All trials that were measured, as SVG; "" where there is no default recipe to hold them against."""
    base = record.baseline
    if base is None:
        return ""
    import matplotlib as mpl

    done = [point for point in record.points if point.done]
    with mpl.rc_context(STYLE):
        figure, axes = create_figure(7.6, 4.4)
        _draw_front(axes, done, record)
        _draw_points(axes, done, record)
        axes.axvline(100 * SHARE, color=MUTED, linewidth=1.0, linestyle=":")
        axes.axhline(base.costs[0], color=MUTED, linewidth=1.0, linestyle=":")
        axes.set_xlabel("p50 latency, % of the default recipe's (left is better)")
        axes.set_title(f"Validation {record.error_name} (down is better)", loc="left", fontsize=11)
        axes.margins(0.08, 0.1)
        _draw_numbers(axes, record)
        _legend(figure, axes)
        return figure_to_svg(
            figure, "search", f"Validation {record.error_name} against median latency, with the Pareto front"
        )


def _draw_front(axes: Axes, done: list[Point], record: SearchRecord) -> None:
    """Of error and latency alone: what the plane shows."""
    known = [_place(point, record) for point in done]
    places = [known[index] for index in pareto_front((across, -up) for across, up in known)]
    axes.step(*zip(*places, strict=True), where="post", color=MUTED, linewidth=1.2, linestyle="--", zorder=1)


def _draw_points(axes: Axes, done: list[Point], record: SearchRecord) -> None:
    largest = max(point.costs[2] for point in done)
    smallest = min(point.costs[2] for point in done)
    for precision in dict.fromkeys(point.precision for point in done):
        own = [point for point in done if point.precision == precision]
        across, up = zip(*(_place(point, record) for point in own), strict=True)
        span = (largest - smallest) or 1.0
        areas = [_SMALLEST + (_LARGEST - _SMALLEST) * (point.costs[2] - smallest) / span for point in own]
        color = PRECISION_COLORS.get(precision, OTHER_COLOR)
        axes.scatter(across, up, s=areas, color=color, alpha=0.75, linewidths=0, label=precision, zorder=2)
    default = [_place(point, record) for point in done if point.default]
    across, up = zip(*default, strict=True)
    label = "the default recipe"
    axes.scatter(across, up, s=_LARGEST * 1.7, facecolors="none", edgecolors=MUTED, linewidths=1.4, label=label)


def _draw_numbers(axes: Axes, record: SearchRecord) -> None:
    for point in record.pareto:
        axes.annotate(
            str(point.number), _place(point, record), (0.0, -14.0), textcoords="offset points", ha="center", fontsize=9
        )


def _place(point: Point, record: SearchRecord) -> tuple[float, float]:
    """Percent of the default's latency, by the last measurement that has both, and the error."""
    return 100.0 * (record.share(point) or 0.0), point.costs[0]


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the axes, with marks of one size, for the area says something else."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower left", ncols=4, handletextpad=0.4, columnspacing=1.6)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([64.0])
