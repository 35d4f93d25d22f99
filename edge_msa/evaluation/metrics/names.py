"""Printed names and number formats of metrics, and whether higher is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

_TITLES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "corr": "Corr",
    "r2": "R²",
    "acc2": "Acc-2",
    "acc3": "Acc-3",
    "acc5": "Acc-5",
    "acc7": "Acc-7",
    "f1": "F1",
    "acc2_has0": "Acc-2 Has0",
    "acc2_non0": "Acc-2 Non0",
    "f1_has0": "F1 Has0",
    "f1_non0": "F1 Non0",
    "acc_average": "Acc average",
    "f1_average": "F1 average",
    "accuracy": "Accuracy",
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "ece": "ECE",
    "nll": "NLL",
}
_ERRORS = frozenset({"mae", "rmse", "ece", "nll"})
_PLAIN = frozenset({"mae", "rmse", "nll", "corr", "r2"})


@dataclass(frozen=True)
class MetricName:
    """How a metric is printed."""

    title: str
    """Printed name."""
    percent: bool
    """Whether the metric is a share that is printed in percent."""
    higher_is_better: bool
    """Whether a higher value is better."""

    def format(self, value: float) -> str:
        """Return the value as text: shares in percent with one decimal, others with three decimals."""
        return f"{100.0 * value:.1f}" if self.percent else f"{value:.3f}"

    def format_signed(self, difference: float) -> str:
        """Return a difference of two values as text, with its sign."""
        return f"{'+' if difference >= 0 else ''}{self.format(difference)}"

    def format_interval(self, low: float, high: float) -> str:
        """Return the interval of a difference as text, with signs and without values that no difference can have."""
        limit = self.largest_difference
        return f"{self.format_signed(max(low, -limit))} to {self.format_signed(min(high, limit))}"

    @property
    def largest_difference(self) -> float:
        """The largest possible difference of two values: 1 for shares, 2 for correlations, else infinity."""
        return 1.0 if self.percent else 2.0 if self.title == _TITLES["corr"] else math.inf


def describe(metric: str) -> MetricName:
    """Return the printed name of a key of `measure`, e.g. `F1 happy` for `f1_happy`."""
    title = _TITLES.get(metric)
    if title is None:
        kind, _, label = metric.partition("_")
        title = f"{kind.capitalize()} {label}"
    return MetricName(title, metric not in _PLAIN, metric not in _ERRORS)
