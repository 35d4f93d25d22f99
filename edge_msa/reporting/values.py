"""How values with intervals are printed."""

from __future__ import annotations

import re

from edge_msa.evaluation.metrics import describe
from edge_msa.reporting.figures import Value
from edge_msa.text_tables import ABSENT, format_number


def format_value(value: Value, metric: str, *, interval: bool = True) -> str:
    """Return a metric as text, with its interval if there is one."""
    name = describe(metric)
    if value.value is None:
        return ABSENT
    text = name.format(value.value)
    if interval and value.low is not None and value.high is not None:
        text += f" ({name.format(value.low)} to {name.format(value.high)})"
    return text


def format_difference(metric: str, value: float) -> str:
    """Return a difference of a metric as text with its sign, without that of a zero."""
    return re.sub(r"^[+-](0(?:\.0*)?)$", r"\1", describe(metric).format_signed(value))


def format_differences(metric: str, low: float, high: float) -> str:
    """Return the interval of a difference as text, without values that no difference can have."""
    limit = describe(metric).largest_difference
    return f"{format_difference(metric, max(low, -limit))} to {format_difference(metric, min(high, limit))}"


def format_latency(value: Value | None, *, interval: bool = False) -> str:
    """Return a latency in milliseconds as text, with its interval if there is one and it is wanted."""
    if value is None or value.value is None:
        return ABSENT
    text = format_number(value.value)
    if interval and value.low is not None and value.high is not None:
        text += f" ({format_number(value.low)} to {format_number(value.high)})"
    return text
