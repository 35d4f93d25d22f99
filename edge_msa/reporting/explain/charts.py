"""Drawings of the explain page as SVG in relative units, for cells of tables and for strips of frames.

Positions are percentages, so a drawing fits any width. Colors are CSS variables of the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edge_msa.evaluation.metrics import Interval
from edge_msa.reporting.charts import MARKERS, Axis

_DOT = MARKERS["onnxruntime"]
PREDICTION_MARKERS = {
    "all": _DOT,
    "without language": MARKERS["torch"],
    "without audio": MARKERS["tensorrt"],
    "without vision": MARKERS["openvino"],
}
"""Outline of the marker of each prediction. Classes of the same names, with `-` for a space, have its color."""


@dataclass(frozen=True)
class Bars:
    """One row of bars of a strip.

    Attributes:
        kind: `attention`, `noise` or `effect`, which determines the color.
        title: What the bars are.
        values: One value per cell; None where there is none.
        limit: Value of a bar of full height. The largest absolute value, if bars go up and down.
        line: Value of the horizontal line.
        marked: Cell with a frame around it.
    """

    kind: str
    title: str
    values: Sequence[float | None]
    limit: float
    line: float
    marked: int | None = None


def zero_axis(intervals: Sequence[Interval]) -> Axis:
    """Return the axis that contains intervals and zero."""
    return _padded_axis([0.0, *(end for item in intervals for end in (item.low, item.high))])


def value_axis(values: Sequence[float]) -> Axis:
    """Return the axis that contains values, with a margin."""
    return _padded_axis(values)


def axis_header(axis: Axis, title: str) -> Markup:
    """Return the ticks of an axis as the title of a column of drawings."""
    ticks = axis.ticks(4)
    texts = [
        Markup('<text class="tick" x="{:.2f}%" y="1em" text-anchor="middle">{}</text>').format(
            axis.position(value), _tick(value, ticks)
        )
        for value in ticks
    ]
    template = Markup(
        '<span class="unseen">{}</span><svg class="bar" width="100%" height="18" aria-hidden="true">{}</svg>'
    )
    return template.format(title, Markup("").join(texts))


def interval_drawing(axis: Axis, interval: Interval, kind: str) -> Markup:
    """Return an interval with its value as a dot, and a line at zero."""
    parts = [_vertical(axis.position(0.0), "zero"), _whisker(axis, interval, 50.0), _mark(axis, interval.value, _DOT)]
    is_significant = not interval.low <= 0.0 <= interval.high
    return _drawing(parts, f"{kind}{'' if is_significant else ' hollow'}")


def before_after_drawing(axis: Axis, before: Interval, after: Interval) -> Markup:
    """Return two values with their intervals, joined by a line: the first hollow, the second filled."""
    start, end = axis.position(before.value), axis.position(after.value)
    path = Markup('<line class="path" x1="{:.2f}%" x2="{:.2f}%" y1="50%" y2="50%"/>').format(start, end)
    first = Markup('<g class="hollow">{}</g>').format(_mark(axis, before.value, _DOT))
    parts = [
        _vertical(axis.position(1.0), "zero"),
        path,
        _whisker(axis, after, 50.0),
        first,
        _mark(axis, after.value, _DOT),
    ]
    return _drawing(parts, "noise")


def predictions_drawing(axis: Axis, label: float | None, predictions: Mapping[str, float]) -> Markup:
    """Return the predictions of a sample from all modalities and without each, and its label."""
    parts = [] if label is None else [_vertical(axis.position(label), "label")]
    for name, value in reversed(list(predictions.items())):
        mark = _mark(axis, value, PREDICTION_MARKERS[name])
        parts.append(Markup('<g class="{}">{}</g>').format(name.replace(" ", "-"), mark))
    return _drawing(parts, "predictions")


def prediction_key(name: str) -> Markup:
    """Return the marker of a prediction, for a legend."""
    template = Markup(
        '<svg class="key {}" viewBox="-8 -8 16 16" aria-hidden="true" focusable="false"><path d="{}"/></svg>'
    )
    return template.format(name.replace(" ", "-"), PREDICTION_MARKERS[name])


def bars_drawing(bars: Bars) -> Markup:
    """Return a row of bars, one unit wide and 100 units high."""
    count = len(bars.values)
    is_signed = any(value is not None and value < 0 for value in bars.values) or bars.kind == "effect"
    low = -bars.limit if is_signed else 0.0

    def height(value: float) -> float:
        clipped = min(max(value, low), bars.limit)
        return 100.0 * (1.0 - (clipped - low) / (bars.limit - low))

    base = height(0.0)
    parts = []
    if bars.marked is not None:
        parts.append(Markup('<rect class="marked" x="{}" y="0" width="1" height="100"/>').format(bars.marked))
    for cell, value in enumerate(bars.values):
        if value is not None:
            top = height(value)
            kind = bars.kind if bars.kind != "effect" else "raises" if value >= 0 else "lowers"
            template = Markup('<rect class="{}" x="{}" y="{:.1f}" width=".86" height="{:.1f}"/>')
            parts.append(template.format(kind, f"{cell + 0.07:.2f}", min(top, base), abs(top - base)))
    line = height(bars.line)
    parts.append(Markup('<line class="level" x1="0" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(count, line, line))
    template = Markup('<svg class="bars" viewBox="0 0 {} 100" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    return template.format(count, Markup("").join(parts))


def _padded_axis(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05
    return Axis(low - margin, high + margin)


def _tick(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    text = f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return text.lstrip("-") if float(text) == 0 else text


def _vertical(position: float, kind: str) -> Markup:
    return Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="0" y2="100%"/>').format(kind, position)


def _whisker(axis: Axis, interval: Interval, top: float) -> Markup:
    left, right = axis.position(interval.low), axis.position(interval.high)
    template = Markup('<line class="whisker" x1="{:.2f}%" x2="{:.2f}%" y1="{:.0f}%" y2="{:.0f}%"/>')
    return template.format(left, right, top, top)


def _mark(axis: Axis, value: float, shape: str) -> Markup:
    template = Markup('<svg x="{:.2f}%" y="50%" overflow="visible"><path transform="scale(.8)" d="{}"/></svg>')
    return template.format(axis.position(value), shape)


def _drawing(parts: Sequence[Markup], kind: str) -> Markup:
    template = Markup('<svg class="bar mark {}" width="100%" height="24" aria-hidden="true" focusable="false">{}</svg>')
    return template.format(kind, Markup("").join(parts))
