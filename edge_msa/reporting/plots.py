"""The report's pictures: inline SVG whose colors follow the page, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_msa.evaluation.evaluate import once
from edge_msa.evaluation.metrics import MetricName, describe
from edge_msa.reporting.canvas import GRID, LIMIT, MUTED, OTHER, PRECISIONS, STYLE, canvas, svg
from edge_msa.reporting.points import Metrics, ReportPoint, front_of, short_names, undrawn
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MARKERS = {"torch": "s", "onnxruntime": "o", "openvino": "D", "tensorrt": "^"}
# Where a point's number may stand, in typographic points from it, nearest first; and how far apart two things are.
_AROUND = tuple(
    radius * np.array(direction)
    for radius in (15.0, 26.0, 37.0)
    for direction in (
        (0.0, 1.0),
        (0.0, -1.0),
        (1.0, 0.0),
        (-1.0, 0.0),
        (0.8, 0.8),
        (-0.8, 0.8),
        (0.8, -0.8),
        (-0.8, -0.8),
    )
)
_APART = 11.0


class _Numbered(NamedTuple):
    """A point with its number in the trade-off table and its line in a legend."""

    number: int
    point: ReportPoint
    legend: str


def tradeoff_picture(points: Sequence[ReportPoint], subset: str) -> str:
    """Gate metric against p50 of that subset as SVG, with the front as a stair, or "" where no point has both.

    Latencies of a machine that is not of the target's kind are left out.

    Points carry their number in the trade-off table; color is precision, shape is the backend.
    """
    known = [item for item in _numbered(points) if not undrawn(item.point, subset)]
    if not known:
        return ""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = canvas(7.6, 3.6)
        gate = describe(known[0].point.gate_metric)
        _draw_front(axes, front_of(points, subset), subset, gate)
        _draw_points(axes, known, subset, gate)
        axes.set_xlabel(f"p50 latency of {subset}, ms (left is better)")
        axes.set_title(f"{gate.title}{' %' if gate.percent else ''}, {subset}", loc="left", fontsize=11)
        _legend(figure, axes)
        _draw_numbers(figure, axes, known, subset, gate)
        return svg(figure, "tradeoff", f"{gate.title} against median latency, with the Pareto front")


def robustness_picture(points: Sequence[ReportPoint], metric: str) -> str:
    """One metric by subset as SVG, baselines as lines and limits as bars, or "" where no point has it."""
    known = [item for item in _distinct(points) if _has(item.point.by_subset, metric)]
    subsets = [item.value for item in Subset if any(metric in k.point.by_subset.get(item.value, {}) for k in known)]
    if not known or not subsets:
        return ""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        name = describe(metric)
        figure, axes = canvas(7.6, 3.6)
        _draw_bounds(axes, known[0].point, subsets, metric, name)
        _draw_series(axes, known, subsets, metric, name)
        axes.set_xticks(range(len(subsets)), subsets)
        axes.set_xlim(-0.5, len(subsets) - 0.5)
        axes.set_xlabel("available modalities (l language, a audio, v vision)")
        better = "higher" if name.higher_is_better else "lower"
        axes.margins(y=0.04)
        axes.set_title(f"{name.title}{' %' if name.percent else ''} ({better} is better)", loc="left", fontsize=11)
        _legend(figure, axes)
        return svg(figure, f"robustness-{metric}", f"{name.title} by available modalities, with baselines and limits")


def _draw_front(axes: Axes, front: Sequence[ReportPoint], subset: str, gate: MetricName) -> None:
    costs = [point.p50(subset) or 0.0 for point in front]
    qualities = [_scaled(point.accuracy(subset) or 0.0, gate) for point in front]
    axes.step(costs, qualities, where="post", color=MUTED, linewidth=1.2, linestyle="--", zorder=1)
    axes.scatter(costs, qualities, s=230, facecolors="none", edgecolors=MUTED, linewidths=1.2, label="on the front")


def _draw_points(axes: Axes, known: Sequence[_Numbered], subset: str, gate: MetricName) -> None:
    for _, point, legend in known:
        x, y = _place(point, subset, gate)
        axes.scatter([x], [y], s=64, color=_color(point), marker=_marker(point), label=legend)
    axes.margins(0.1, 0.2)
    _at_least(axes, 2.0 if gate.percent else 0.02)
    costs = [point.p50(subset) or 0.0 for _, point, _ in known]
    if min(costs) > 0 and max(costs) / min(costs) > 20:
        axes.set_xscale("log")


def _draw_numbers(figure: Figure, axes: Axes, known: Sequence[_Numbered], subset: str, gate: MetricName) -> None:
    """Each point's number in the first direction around it that is clear of points and of numbers before it."""
    figure.draw_without_rendering()  # the layout decides where points are, and no number changes it
    to_points = 72.0 / figure.dpi
    places = [_place(item.point, subset, gate) for item in known]
    taken = [to_points * place for place in axes.transData.transform(places)]
    for item, place, center in zip(known, places, tuple(taken), strict=True):
        offset = next((o for o in _AROUND if all(_clear(center + o, other) for other in taken)), _AROUND[0])
        taken.append(center + offset)
        axes.annotate(str(item.number), place, tuple(offset), textcoords="offset points", ha="center", va="center")


def _clear(place: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    across, up = np.abs(place - other)
    return bool(across >= _APART or up >= _APART)


def _place(point: ReportPoint, subset: str, gate: MetricName) -> tuple[float, float]:
    return point.p50(subset) or 0.0, _scaled(point.accuracy(subset) or 0.0, gate)


def _draw_bounds(axes: Axes, point: ReportPoint, subsets: Sequence[str], metric: str, name: MetricName) -> None:
    baselines = once({constant: row[metric] for constant, row in point.baselines.items() if metric in row})
    for (text, baseline), dashes in zip(baselines.items(), ("--", ":"), strict=False):
        axes.axhline(_scaled(baseline, name), color=MUTED, linestyle=dashes, linewidth=1.3, label=f"baseline: {text}")
    label = "limit: the best possible reader, on average"
    for position, subset in enumerate(subsets):
        value = point.limits.get(subset, {}).get(metric)
        if value is not None:
            axes.hlines(_scaled(value, name), position - 0.4, position + 0.4, color=LIMIT, linewidth=2.2, label=label)
            label = ""


def _draw_series(axes: Axes, known: Sequence[_Numbered], subsets: Sequence[str], metric: str, name: MetricName) -> None:
    offsets = np.linspace(-0.28, 0.28, len(known)) if len(known) > 1 else np.zeros(1)
    for offset, (_, point, legend) in zip(offsets, known, strict=True):
        found = {i: point.by_subset.get(subset, {}).get(metric) for i, subset in enumerate(subsets)}
        places = [i + offset for i, value in found.items() if value is not None]
        values = [_scaled(value, name) for value in found.values() if value is not None]
        axes.scatter(places, values, s=34, color=_color(point), marker=_marker(point), label=legend, zorder=3)
    for edge in range(1, len(subsets)):
        axes.axvline(edge - 0.5, color=GRID, linewidth=0.8)


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the axes, on room of its own: the picture grows with it."""
    handles, _ = axes.get_legend_handles_labels()
    figure.set_figheight(figure.get_figheight() + 0.24 * ((len(handles) + 1) // 2))
    figure.legend(handles=handles, loc="outside lower left", ncols=2, handletextpad=0.4, columnspacing=1.6)


def _at_least(axes: Axes, span: float) -> None:
    """Widen the y range, so that a difference of a hundredth of a point does not look like an abyss."""
    low, high = axes.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axes.set_ylim(middle - span / 2, middle + span / 2)


def _has(by_subset: Mapping[str, Metrics], metric: str) -> bool:
    return any(metric in metrics for metrics in by_subset.values())


def _scaled(value: float, name: MetricName) -> float:
    return 100.0 * value if name.percent else value


def _color(point: ReportPoint) -> str:
    return PRECISIONS.get(point.precision, OTHER)


def _marker(point: ReportPoint) -> str:
    return _MARKERS.get(point.backend, "X")


def _numbered(points: Sequence[ReportPoint]) -> list[_Numbered]:
    names = short_names(points)
    return [_Numbered(n, point, f"{n} {name}") for n, (point, name) in enumerate(zip(points, names, strict=True), 1)]


def _distinct(points: Sequence[ReportPoint]) -> list[_Numbered]:
    """The predictions that differ in what is drawn, to three decimals; fp16 is left out where its fp32 is there."""
    full = {point.name for point in points if point.precision == "fp32"}
    groups: dict[object, list[_Numbered]] = {}
    for item in _numbered(points):
        if item.point.precision != "fp16" or item.point.name not in full:
            groups.setdefault(_prediction(item.point), []).append(item)
    return [_together(group) for group in groups.values()]


def _prediction(point: ReportPoint) -> object:
    return frozenset(
        (subset, name, round(metrics[name], 3))
        for subset, metrics in point.by_subset.items()
        for name in (point.gate_metric, "mae")
        if name in metrics
    )


def _together(group: Sequence[_Numbered]) -> _Numbered:
    if len(group) == 1:
        return group[0]
    numbers = ", ".join(str(item.number) for item in group)
    precisions = " and ".join(dict.fromkeys(item.point.precision for item in group))
    return group[0]._replace(legend=f"{numbers}: {precisions}, alike")
