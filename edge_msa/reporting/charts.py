"""Charts of the report as SVG in relative units: they fit any width, and their text keeps its size.

Positions are percentages of the plot area, so a chart needs no script and no second drawing for narrow screens. Colors
are CSS variables of the page.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from edge_msa.evaluation.metrics import MetricName, describe
from edge_msa.reporting.figures import Figures, Peer, PeerComparison, Row, Value
from edge_msa.reporting.peers import peer_title
from edge_msa.reporting.values import format_latency, format_value
from edge_msa.text_tables import format_kilobytes
from edge_msa_runtime.wording import format_count

MARKERS = {
    "torch": "M-5-5H5V5H-5Z",
    "onnxruntime": "M-6 0A6 6 0 1 1 6 0A6 6 0 1 1-6 0Z",
    "openvino": "M0-7L7 0L0 7L-7 0Z",
    "tensorrt": "M0-7L7 5H-7Z",
}
"""Outline of the marker of each backend, centered on the point, in pixels."""
PEER_MARKER = "M-2-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z"
"""Outline of the marker of models that are not in the rows of the report."""
OTHER_MARKER = "M-6-3L-3-6L0-3L3-6L6-3L3 0L6 3L3 6L0 3L-3 6L-6 3L-3 0Z"
PRECISIONS = ("fp32", "fp16", "int8")
"""Precisions with a color of their own."""
_NOMINAL = (290.0, 270.0)
"""Width and height of the plot area on a phone, in pixels, for which numbers are placed so that they do not overlap."""
_LABEL_OFFSETS = tuple(
    (radius * dx, radius * dy)
    for radius in (15.0, 26.0, 37.0, 48.0)
    for dx, dy in ((0, -1), (0, 1), (1, 0), (-1, 0), (0.8, -0.8), (-0.8, -0.8), (0.8, 0.8), (-0.8, 0.8))
)
_MIN_DISTANCE = 12.0
"""Distance below which two numbers or markers overlap, in pixels."""
_LOG_RANGE = 4.0
"""Ratio of the largest to the smallest latency from which the axis is logarithmic."""


@dataclass(frozen=True)
class Axis:
    """A scale from values to percentages of the plot area."""

    low: float
    """Value at 0 %."""
    high: float
    """Value at 100 %."""
    is_log: bool = False
    """Whether the scale is logarithmic."""

    def position(self, value: float) -> float:
        """Return where a value is, in percent."""
        low, high, value = (math.log(item) if self.is_log else item for item in (self.low, self.high, value))
        return 100.0 * (value - low) / (high - low)

    def ticks(self, count: int = 6) -> list[float]:
        """Return round values inside the axis."""
        if self.is_log:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
                values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
                inside = [value for value in values if self.low <= value <= self.high]
                if len(inside) <= count:
                    return inside
            return inside
        raw = (self.high - self.low) / count
        scale = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= raw)
        first = math.ceil(self.low / step)
        return [step * number for number in range(first, math.floor(self.high / step) + 1)]


class _Point(NamedTuple):
    row: Row
    latency: Value
    metric: Value


class _PeerPoint(NamedTuple):
    peer: Peer
    path: str
    """Where the figures contain it."""
    latency: Value
    metric: Value | None
    """None if its accuracy is not known."""


class Series(NamedTuple):
    """Rows with equal metrics, which share one entry."""

    label: str
    """Numbers of the rows, and their name."""
    row: Row
    """The first of the rows."""


def tradeoff_chart(figures: Figures, subset: str, metric: str, winners: Collection[str]) -> Markup:
    """Return metric against p50 latency on a subset, with 95 % intervals, the Pareto front and the peers.

    Args:
        figures: The report.
        subset: The subset.
        metric: The metric.
        winners: Ids of the rows that the verdicts ship.

    Returns:
        The chart, "" if no row has both.
    """
    points = list(_tradeoff_points(figures.rows, subset, metric))
    if not points:
        return Markup("")
    peers = [
        point
        for index, comparison in enumerate(figures.peers)
        if comparison.row is not None
        for point in _peer_points(comparison, index, subset, metric)
    ]
    is_default = (subset, metric) == (figures.subset, figures.metric)
    optimal = [item for item in points if item.row.pareto] if is_default else []
    beside = f" and {format_count(len(peers), 'peer')}" if peers else ""
    label = f"{describe(metric).title} against p50 latency on {subset}, {format_count(len(points), 'row')}{beside}"
    return _draw_tradeoff(points, peers, metric, winners, optimal, label)


def peers_chart(comparison: PeerComparison, index: int, metric: str) -> Markup:
    """Return metric against p50 latency of a comparison that no row of the report belongs to, ours included.

    Args:
        comparison: The comparison.
        index: Its position in the figures.
        metric: The metric.

    Returns:
        The chart, "" if no model has both.
    """
    subset = comparison.ours.subset
    peers = list(_peer_points(comparison, index, subset, metric))
    if all(item.metric is None for item in peers):
        return Markup("")
    label = f"{describe(metric).title} against p50 latency on {subset}, {format_count(len(peers), 'model')}"
    return _draw_tradeoff([], peers, metric, (), [], label)


def _draw_tradeoff(
    points: Sequence[_Point],
    peers: Sequence[_PeerPoint],
    metric: str,
    winners: Collection[str],
    optimal: Sequence[_Point],
    label: str,
) -> Markup:
    name = describe(metric)
    drawn: list[tuple[Value, Value | None]] = [(item.latency, item.metric) for item in points]
    drawn += [(item.latency, item.metric) for item in peers]
    x = _latency_axis([latency for latency, _ in drawn])
    y = _metric_axis([value for _, value in drawn if value is not None], name)
    parts = [*_grid(y, name), *_latency_ticks(x), *_pareto_line(optimal, x, y)]
    places = [(x.position(_number(latency)), _height(value, y)) for latency, value in drawn]
    offsets = _label_offsets(places)
    marks = zip(peers, places[len(points) :], offsets[len(points) :], strict=True)
    for peer, place, offset in sorted(marks, key=lambda mark: mark[0].peer.is_ours):
        parts.append(_peer_mark(peer, metric, x, y, place, offset))
    ordered = sorted(zip(points, offsets, strict=False), key=lambda pair: pair[0].row.id in winners)
    for point, offset in ordered:
        parts.append(_tradeoff_mark(point, metric, x, y, offset, is_shipped=point.row.id in winners))
    return plot_element(parts, "plot tradeoff", label)


def _height(metric: Value | None, y: Axis) -> float:
    """Return where a metric is, in percent. Models without accuracy are on the lower edge."""
    return 0.0 if metric is None else y.position(_number(metric))


def subset_chart(series: Sequence[Series], figures: Figures, subsets: Sequence[str], metric: str) -> Markup:
    """Return a metric by subset: the series with their 95 % intervals, the Bayes optimum and the better baseline."""
    name = describe(metric)
    measured = [
        (item, [(index, found) for index, subset in enumerate(subsets) if (found := _metric(item.row, subset, metric))])
        for item in series
    ]
    optimum = [(index, figures.bayes_optimum.get(subset, {}).get(metric)) for index, subset in enumerate(subsets)]
    baselines = [value for items in figures.baselines.values() if (value := items.get(metric)) is not None]
    values = [value for _, items in measured for _, value in items]
    values += [Value(value=baseline) for baseline in baselines]
    values += [Value(value=value) for _, value in optimum if value is not None]
    y = _metric_axis(values, name)
    columns = len(subsets)
    parts = list(_grid(y, name))
    parts += [line_element(100 * edge / columns, 0, 100 * edge / columns, 100, "grid") for edge in range(1, columns)]
    parts += [
        text_element(f"{_share(index, columns):.2f}%", "100%", subset, dy="1.4em")
        for index, subset in enumerate(subsets)
    ]
    for baseline in dict.fromkeys(baselines):
        parts.append(line_element(0, y.position(baseline), 100, y.position(baseline), "baseline"))
    half = 42.0 / columns
    for index, optimal in optimum:
        if optimal is not None:
            center, height = _share(index, columns), y.position(optimal)
            parts.append(line_element(center - half, height, center + half, height, "optimum"))
    for number, (item, items) in enumerate(measured):
        shift = 0.0 if len(measured) == 1 else (number / (len(measured) - 1) - 0.5) * 56.0 / columns
        parts.append(_series(item, [(_share(index, columns) + shift, value) for index, value in items], y, metric))
    return plot_element(parts, "plot subsets", f"{name.title} by available modalities")


def latency_bar(latency: Mapping[str, Value], quantiles: Sequence[float], axis: Axis, precision: str) -> Markup:
    """Return a latency distribution for one row of a table: a bar to p99 with marks at p50, p90 and p99.

    Args:
        latency: Percentiles.
        quantiles: Equidistant quantiles of the distribution, from the minimum to the maximum. If they are known, the
            bar is a strip between the 5 % and the 95 % quantile that is darker where latencies are closer together.
        axis: The scale.
        precision: Determines the color.
    """
    ends = {name: axis.position(_number(value)) for name, value in latency.items() if value.value}
    if "p50" not in ends:
        return Markup("")
    last = max(ends.get(name, 0.0) for name in ("p50", "p90", "p99"))
    start = ends["p50"]
    parts = []
    if len(quantiles) > 4:
        edges = [axis.position(value) for value in quantiles[1:-1] if value > 0]
        start = edges[0]
        densest = max(1 / max(right - left, 0.1) for left, right in itertools.pairwise(edges))
        for left, right in itertools.pairwise(edges):
            strength = 0.15 + 0.55 / max(right - left, 0.1) / densest
            parts.append(_bar(left, right, strength))
        start = edges[-1]
    parts.append(_bar(start, max(last, start), 0.15 if parts else 0.3))
    parts += [_vertical(ends[name], name) for name in ("p90", "p99") if name in ends]
    p50 = latency["p50"]
    if p50.low and p50.high:
        left, right = axis.position(p50.low), axis.position(p50.high)
        parts.append(Markup('<line class="whisker" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>').format(left, right))
    parts.append(Markup('<svg x="{:.2f}%" y="50%" overflow="visible"><circle r="4.5"/></svg>').format(ends["p50"]))
    template = Markup('<svg class="bar {}" width="100%" height="22" aria-hidden="true" focusable="false">{}</svg>')
    return template.format(precision_class(precision), Markup("").join(parts))


def _bar(left: float, right: float, strength: float) -> Markup:
    template = Markup('<rect x="{:.2f}%" y="30%" width="{:.2f}%" height="40%" opacity="{:.2f}"/>')
    return template.format(left, max(right - left, 0.0), strength)


def latency_axis(values: Sequence[float]) -> Axis:
    """Return the axis that contains latencies in milliseconds."""
    low, high = min(values), max(values)
    if high / low >= _LOG_RANGE:
        return Axis(low / 1.15, high * 1.15, is_log=True)
    return Axis(0.0, high * 1.08)


def precision_class(precision: str) -> str:
    """Return the CSS class of the color of a precision."""
    return precision if precision in PRECISIONS else "other"


def marker(precision: str, backend: str, *, hollow: bool = False) -> Markup:
    """Return the marker of rows, for a legend. An empty name stands for all precisions or all backends."""
    color = precision_class(precision) if precision else ""
    template = Markup(
        '<svg class="key {}{}" viewBox="-8 -8 16 16" aria-hidden="true" focusable="false"><path d="{}"/></svg>'
    )
    shape = MARKERS.get(backend, OTHER_MARKER) if backend else MARKERS["onnxruntime"]
    return template.format(color, " hollow" if hollow else "", shape)


def peer_marker() -> Markup:
    """Return the marker of peers, for a legend."""
    template = Markup(
        '<svg class="key peer" viewBox="-8 -8 16 16" aria-hidden="true" focusable="false"><path d="{}"/></svg>'
    )
    return template.format(PEER_MARKER)


def _tradeoff_points(rows: Sequence[Row], subset: str, metric: str) -> Iterator[_Point]:
    for row in rows:
        latency, value = row.latency_ms.get(subset, {}).get("p50"), _metric(row, subset, metric)
        if row.executed and latency is not None and latency.value and value is not None:
            yield _Point(row, latency, value)


def _tradeoff_mark(
    point: _Point, metric: str, x: Axis, y: Axis, offset: tuple[float, float], *, is_shipped: bool
) -> Markup:
    row = point.row
    left, top = x.position(_number(point.latency)), y.position(_number(point.metric))
    kinds = [
        precision_class(row.precision),
        *(["hollow"] if not row.on_target else []),
        *(["ship"] if is_shipped else []),
    ]
    parts = [*_whiskers(point.latency, point.metric, x, y)]
    inner = Markup('<path d="{}"/>').format(MARKERS.get(row.backend, OTHER_MARKER))
    if is_shipped:
        inner = Markup('<circle class="ring" r="12"/>') + inner
    parts.append(Markup('<svg x="{:.2f}%" y="{:.2f}%" overflow="visible">{}</svg>').format(left, 100 - top, inner))
    number = Markup('<text class="number" x="{:.2f}%" y="{:.2f}%" dx="{:.0f}" dy="{:.0f}">{}</text>')
    parts.append(number.format(left, 100 - top, offset[0], offset[1] + 4, row.number))
    template = Markup('<a href="#row-{}" class="mark {}" data-figure="rows.{}" aria-label="{}" data-tip="{}">{}</a>')
    tip = describe_point(point.row, point.latency, point.metric, metric)
    mark = template.format(
        row.number, " ".join(kinds), row.number - 1, f"{row.number}: {tip}", tip, Markup("").join(parts)
    )
    name = "teacher" if row.kind == "teacher" else "ship" if is_shipped else ""
    lowest = y.position(_number(point.metric) if point.metric.low is None else point.metric.low)
    # Outside the link, whose accessible name need not contain it.
    if not name:
        return mark
    # On a narrow screen, a label in the middle would leave the page.
    anchor, dx = ("end", "8") if left > 90.0 else ("middle", "0")
    return mark + text_element(f"{left:.2f}%", f"{100 - lowest:.2f}%", name, dx=dx, dy="1.1em", anchor=anchor)


def describe_point(row: Row, latency: Value, value: Value, metric: str) -> str:
    """Return the name and the figures of a point, and what limits them."""
    figures = f"{describe(metric).title} {format_value(value, metric)}, p50 {format_latency(latency, interval=True)} ms"
    size = f", {format_kilobytes(row.size_bytes)} KB" if row.size_bytes else ""
    return f"{row.label}: {figures}{size}{f' ({row.remark})' if row.remark else ''}"


def _whiskers(latency: Value, metric: Value | None, x: Axis, y: Axis) -> Iterator[Markup]:
    left, top = x.position(_number(latency)), _height(metric, y)
    if metric is not None and metric.low is not None and metric.high is not None:
        yield line_element(left, y.position(metric.low), left, y.position(metric.high), "whisker")
    if latency.low and latency.high:
        yield line_element(x.position(latency.low), top, x.position(latency.high), top, "whisker")


def _peer_points(comparison: PeerComparison, index: int, subset: str, metric: str) -> Iterator[_PeerPoint]:
    for number, peer in enumerate(comparison.contenders):
        if peer.drawn_ms is not None and peer.subset == subset:
            value = peer.metrics.get(metric)
            # If others of the record have the metric and this one has others, it would be misleading on the lower edge.
            if value is not None or not peer.metrics:
                yield _PeerPoint(peer, f"peers.{index}.contenders.{number}", peer.drawn_ms, value)


def _peer_mark(
    point: _PeerPoint, metric: str, x: Axis, y: Axis, place: tuple[float, float], offset: tuple[float, float]
) -> Markup:
    peer, (left, top) = point.peer, place
    inner = Markup('<path d="{}"/>').format(PEER_MARKER)
    if peer.is_ours:
        inner = Markup('<circle class="ring" r="12"/>') + inner
    parts = [
        *_whiskers(point.latency, point.metric, x, y),
        Markup('<svg x="{:.2f}%" y="{:.2f}%" overflow="visible">{}</svg>').format(left, 100 - top, inner),
    ]
    letter = Markup('<text class="number" x="{:.2f}%" y="{:.2f}%" dx="{:.0f}" dy="{:.0f}">{}</text>')
    parts.append(letter.format(left, 100 - top, offset[0], offset[1] + 4, peer.label))
    tip = describe_peer(peer, metric)
    template = Markup('<a href="#peer-{}" class="mark peer{}" data-figure="{}" aria-label="{}" data-tip="{}">{}</a>')
    ours = " ours" if peer.is_ours else ""
    return template.format(peer.label, ours, point.path, f"{peer.label}: {tip}", tip, Markup("").join(parts))


def describe_peer(peer: Peer, metric: str) -> str:
    """Return the name and the figures of a peer, and what limits them."""
    value = peer.metrics.get(metric)
    accuracy = "accuracy unknown" if value is None else f"{describe(metric).title} {format_value(value, metric)}"
    time = "ours" if peer.is_ours else f"{format_latency(peer.ratio, interval=True)} times as long as ours"
    return f"{peer_title(peer)}: {accuracy}, {time}{f' ({peer.note})' if peer.note else ''}"


def _pareto_line(optimal: Sequence[_Point], x: Axis, y: Axis) -> Iterator[Markup]:
    """Yield the steps between the rows on the Pareto front: what is reached at each latency."""
    ends = sorted((x.position(_number(point.latency)), y.position(_number(point.metric))) for point in optimal)
    for (left, top), (right, above) in itertools.pairwise(ends):
        yield line_element(left, top, right, top, "pareto")
        yield line_element(right, top, right, above, "pareto")
    if ends:
        yield line_element(*ends[-1], 100, ends[-1][1], "pareto")


def _series(item: Series, values: Sequence[tuple[float, Value]], y: Axis, metric: str) -> Markup:
    name = describe(metric)
    parts = []
    for left, value in values:
        if value.low is not None and value.high is not None:
            parts.append(line_element(left, y.position(value.low), left, y.position(value.high), "whisker"))
        shape = MARKERS.get(item.row.backend, OTHER_MARKER)
        mark = Markup('<svg x="{:.2f}%" y="{:.2f}%" overflow="visible"><path transform="scale(.75)" d="{}"/></svg>')
        parts.append(mark.format(left, 100 - y.position(_number(value)), shape))
    tip = f"{item.label}: {name.title} " + ", ".join(format_value(value, metric) for _, value in values)
    template = Markup('<g class="mark series {}" data-figure="rows.{}" data-tip="{}">{}</g>')
    return template.format(precision_class(item.row.precision), item.row.number - 1, tip, Markup("").join(parts))


def plot_element(parts: Sequence[Markup], kind: str, label: str, *, role: str = "group") -> Markup:
    """Return a chart: its elements in an SVG that fills a block of the CSS classes `kind`.

    Args:
        parts: The elements.
        kind: CSS classes.
        label: Description for assistive technology.
        role: `group` if elements can be focused, `img` if a table beside the chart has their figures.
    """
    template = Markup('<div class="{}"><svg width="100%" height="100%" role="{}" aria-label="{}">{}</svg></div>')
    return template.format(kind, role, label, Markup("").join(parts))


def _grid(y: Axis, name: MetricName) -> Iterator[Markup]:
    ticks = y.ticks()
    for value in ticks:
        top = y.position(value)
        yield line_element(0, top, 100, top, "grid")
        yield text_element("0", f"{100 - top:.2f}%", _tick(value, ticks, name), dx="-8", dy=".35em", anchor="end")


def _latency_ticks(x: Axis) -> Iterator[Markup]:
    for value in x.ticks():
        left = x.position(value)
        yield Markup('<line class="tick-mark" x1="{0:.2f}%" x2="{0:.2f}%" y1="100%" y2="101.5%"/>').format(left)
        yield text_element(f"{left:.2f}%", "100%", f"{value:g}", dy="1.6em")


def _tick(value: float, ticks: Sequence[float], name: MetricName) -> str:
    """Return a tick as text, with as many decimals as its distance to the next one needs."""
    scale = 100.0 if name.percent else 1.0
    step = scale * (ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    return f"{scale * value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def line_element(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a line of a CSS class between two places, in percent from the lower left corner."""
    template = Markup('<line class="{}" x1="{:.2f}%" y1="{:.2f}%" x2="{:.2f}%" y2="{:.2f}%"/>')
    return template.format(kind, x1, 100 - y1, x2, 100 - y2)


def _vertical(position: float, kind: str) -> Markup:
    return Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="25%" y2="75%"/>').format(kind, position)


def text_element(x: str, y: str, text: str, *, dx: str = "0", dy: str = "0", anchor: str = "middle") -> Markup:
    """Return a text of an axis at a place in percent from the upper left corner, shifted by `dx` and `dy`."""
    template = Markup('<text class="tick" x="{}" y="{}" dx="{}" dy="{}" text-anchor="{}">{}</text>')
    return template.format(x, y, dx, dy, anchor, text)


def _latency_axis(latencies: Sequence[Value]) -> Axis:
    return latency_axis([end for item in latencies for end in (item.low, item.value, item.high) if end])


def _metric_axis(values: Sequence[Value], name: MetricName) -> Axis:
    """Return the axis that contains values with their intervals, with a margin. It spans at least 2 points or 0.02."""
    ends = [end for value in values for end in (value.low, value.value, value.high) if end is not None]
    low, high = min(ends), max(ends)
    margin = max(0.08 * (high - low), 0.0)
    low, high = low - margin, high + margin
    missing = max(0.02 - (high - low), 0.0) / 2
    low, high = low - missing, high + missing
    return Axis(low, min(high, 1.0) if name.percent and max(ends) <= 1.0 else high)


def _label_offsets(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return where to write the number of each point, in pixels from it, so that none overlaps another or a marker."""
    width, height = _NOMINAL
    occupied = [(x / 100 * width, (100 - y) / 100 * height) for x, y in points]
    offsets = []
    for x, y in tuple(occupied):
        free = (
            (dx, dy)
            for dx, dy in _LABEL_OFFSETS
            if not any(
                abs(x + dx - other) < _MIN_DISTANCE and abs(y + dy - above) < _MIN_DISTANCE for other, above in occupied
            )
        )
        offset = next(free, _LABEL_OFFSETS[0])
        occupied.append((x + offset[0], y + offset[1]))
        offsets.append(offset)
    return offsets


def _share(index: int, columns: int) -> float:
    """Return the center of a column, in percent."""
    return 100.0 * (index + 0.5) / columns


def _metric(row: Row, subset: str, metric: str) -> Value | None:
    value = row.metrics.get(subset, {}).get(metric)
    return value if value is not None and value.value is not None else None


def _number(value: Value) -> float:
    return value.value or 0.0
