"""Plots of the report: accuracy against latency, and accuracy by available modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_msa.evaluation.evaluate import merge_equal
from edge_msa.evaluation.metrics import MetricName, describe
from edge_msa.reporting.canvas import (
    GRID,
    MUTED,
    OTHER_COLOR,
    PRECISION_COLORS,
    REFERENCE,
    STYLE,
    create_figure,
    figure_to_svg,
)
from edge_msa.reporting.points import ReportPoint, omission_reason, pareto_front_points, short_names
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MARKERS = {"torch": "s", "onnxruntime": "o", "openvino": "D", "tensorrt": "^"}
_OTHER_MARKER = "X"
# Positions of a number relative to its marker, in typographic points, in order of preference.
_LABEL_OFFSETS = tuple(
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
_MIN_DISTANCE = 11.0
"""Distance below which two numbers or markers overlap, in typographic points."""


class _Series(NamedTuple):
    """A point with its row number in the trade-off table and its label in the legend."""

    number: int
    point: ReportPoint
    label: str


def tradeoff_plot(points: Sequence[ReportPoint], subset: str) -> str:
    """Return a plot of the gate metric against p50 latency on a subset, with the Pareto front, as SVG.

    Numbers are rows of the trade-off table, colors are precisions, and shapes are backends. Points with an
    `omission_reason` are left out. Return "" if no point remains.
    """
    series = [item for item in _number_points(points) if not omission_reason(item.point, subset)]
    if not series:
        return ""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = create_figure(7.6, 3.6)
        gate = describe(series[0].point.gate_metric)
        _draw_pareto_front(axes, pareto_front_points(points, subset), subset, gate)
        _draw_points(axes, series, subset, gate)
        axes.set_xlabel(f"p50 latency on {subset}, ms (left is better)")
        axes.set_title(
            f"{gate.title}{' %' if gate.percent else ''} on {subset} (up is better)", loc="left", fontsize=11
        )
        _add_legend(figure, axes)
        _draw_numbers(figure, axes, series, subset, gate)
        return figure_to_svg(figure, "tradeoff", f"{gate.title} against p50 latency, with the Pareto front")


def robustness_plot(points: Sequence[ReportPoint], metric: str) -> str:
    """Return a plot of one metric by subset, with baselines and the Bayes optimum, as SVG.

    Return "" if no point has the metric.
    """
    series = [item for item in _distinct_series(points) if any(metric in row for row in item.point.by_subset.values())]
    subsets = [
        item.value for item in Subset if any(metric in entry.point.by_subset.get(item.value, {}) for entry in series)
    ]
    if not subsets:
        return ""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        name = describe(metric)
        figure, axes = create_figure(7.6, 3.6)
        _draw_references(axes, series[0].point, subsets, metric, name)
        _draw_series(axes, series, subsets, metric, name)
        axes.set_xticks(range(len(subsets)), subsets)
        axes.set_xlim(-0.5, len(subsets) - 0.5)
        axes.set_xlabel("available modalities (l language, a audio, v vision)")
        axes.margins(y=0.04)
        better = "up" if name.higher_is_better else "down"
        axes.set_title(f"{name.title}{' %' if name.percent else ''} ({better} is better)", loc="left", fontsize=11)
        _add_legend(figure, axes)
        title = f"{name.title} by available modalities, with baselines and the Bayes optimum"
        return figure_to_svg(figure, f"robustness-{metric}", title)


def _draw_pareto_front(axes: Axes, best: Sequence[ReportPoint], subset: str, gate: MetricName) -> None:
    latencies = [point.p50(subset) or 0.0 for point in best]
    accuracies = [_scale(point.accuracy(subset) or 0.0, gate) for point in best]
    axes.step(latencies, accuracies, where="post", color=MUTED, linewidth=1.2, linestyle="--", zorder=1)
    axes.scatter(
        latencies, accuracies, s=230, facecolors="none", edgecolors=MUTED, linewidths=1.2, label="on the Pareto front"
    )


def _draw_points(axes: Axes, series: Sequence[_Series], subset: str, gate: MetricName) -> None:
    for _, point, label in series:
        x, y = _position(point, subset, gate)
        axes.scatter([x], [y], s=64, color=_color(point), marker=_marker(point), label=label)
    axes.margins(0.1, 0.2)
    _widen_y_range(axes, 2.0 if gate.percent else 0.02)
    latencies = [item.point.p50(subset) or 0.0 for item in series]
    if min(latencies) > 0 and max(latencies) / min(latencies) > 20:
        axes.set_xscale("log")


def _draw_numbers(figure: Figure, axes: Axes, series: Sequence[_Series], subset: str, gate: MetricName) -> None:
    """Write each point's number at the first offset that overlaps neither a marker nor an earlier number."""
    figure.draw_without_rendering()  # Compute the layout, so that positions are final.
    to_typographic_points = 72.0 / figure.dpi
    positions = [_position(item.point, subset, gate) for item in series]
    occupied = [to_typographic_points * position for position in axes.transData.transform(positions)]
    for item, position, center in zip(series, positions, tuple(occupied), strict=True):
        offset = next(
            (candidate for candidate in _LABEL_OFFSETS if not any(_overlaps(center + candidate, o) for o in occupied)),
            _LABEL_OFFSETS[0],
        )
        occupied.append(center + offset)
        axes.annotate(str(item.number), position, tuple(offset), textcoords="offset points", ha="center", va="center")


def _overlaps(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    return bool((np.abs(first - second) < _MIN_DISTANCE).all())


def _position(point: ReportPoint, subset: str, gate: MetricName) -> tuple[float, float]:
    return point.p50(subset) or 0.0, _scale(point.accuracy(subset) or 0.0, gate)


def _draw_references(axes: Axes, point: ReportPoint, subsets: Sequence[str], metric: str, name: MetricName) -> None:
    baselines = merge_equal({constant: row[metric] for constant, row in point.baselines.items() if metric in row})
    for (baseline, value), dashes in zip(baselines.items(), ("--", ":"), strict=False):
        label = f"baseline: {baseline}"
        axes.axhline(_scale(value, name), color=MUTED, linestyle=dashes, linewidth=1.3, label=label)
    label = "Bayes optimum"
    for position, subset in enumerate(subsets):
        optimum = point.bayes_optimum.get(subset, {}).get(metric)
        if optimum is not None:
            left, right = position - 0.4, position + 0.4
            axes.hlines(_scale(optimum, name), left, right, color=REFERENCE, linewidth=2.2, label=label)
            label = ""


def _draw_series(axes: Axes, series: Sequence[_Series], subsets: Sequence[str], metric: str, name: MetricName) -> None:
    offsets = np.linspace(-0.28, 0.28, len(series)) if len(series) > 1 else np.zeros(1)
    for offset, (_, point, label) in zip(offsets, series, strict=True):
        values = {i: point.by_subset.get(subset, {}).get(metric) for i, subset in enumerate(subsets)}
        x = [i + offset for i, value in values.items() if value is not None]
        y = [_scale(value, name) for value in values.values() if value is not None]
        axes.scatter(x, y, s=34, color=_color(point), marker=_marker(point), label=label, zorder=3)
    for edge in range(1, len(subsets)):
        axes.axvline(edge - 0.5, color=GRID, linewidth=0.8)


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Add a legend below the axes, and make the figure taller by its height."""
    handles, _ = axes.get_legend_handles_labels()
    figure.set_figheight(figure.get_figheight() + 0.24 * ((len(handles) + 1) // 2))
    figure.legend(handles=handles, loc="outside lower left", ncols=2, handletextpad=0.4, columnspacing=1.6)


def _widen_y_range(axes: Axes, min_range: float) -> None:
    """Widen the y axis to at least this range, so that negligible differences do not look large."""
    low, high = axes.get_ylim()
    if high - low < min_range:
        middle = (low + high) / 2
        axes.set_ylim(middle - min_range / 2, middle + min_range / 2)


def _scale(value: float, name: MetricName) -> float:
    return 100.0 * value if name.percent else value


def _color(point: ReportPoint) -> str:
    return PRECISION_COLORS.get(point.precision, OTHER_COLOR)


def _marker(point: ReportPoint) -> str:
    return _MARKERS.get(point.backend, _OTHER_MARKER)


def _number_points(points: Sequence[ReportPoint]) -> list[_Series]:
    names = short_names(points)
    return [_Series(n, point, f"{n} {name}") for n, (point, name) in enumerate(zip(points, names, strict=True), 1)]


def _distinct_series(points: Sequence[ReportPoint]) -> list[_Series]:
    """Merge points whose drawn metrics agree to three decimals, and drop fp16 if fp32 of the same bundle is present."""
    with_fp32 = {point.name for point in points if point.precision == "fp32"}
    groups: dict[object, list[_Series]] = {}
    for item in _number_points(points):
        if item.point.precision != "fp16" or item.point.name not in with_fp32:
            groups.setdefault(_rounded_metrics(item.point), []).append(item)
    return [_merge_series(group) for group in groups.values()]


def _rounded_metrics(point: ReportPoint) -> frozenset[tuple[str, str, float]]:
    return frozenset(
        (subset, name, round(metrics[name], 3))
        for subset, metrics in point.by_subset.items()
        for name in (point.gate_metric, "mae")
        if name in metrics
    )


def _merge_series(group: Sequence[_Series]) -> _Series:
    if len(group) == 1:
        return group[0]
    numbers = ", ".join(str(item.number) for item in group)
    precisions = " and ".join(dict.fromkeys(item.point.precision for item in group))
    return group[0]._replace(label=f"{numbers}: {precisions}, equal results")
