"""How each metric is called on paper, in which unit it is printed, and which way is better."""

from __future__ import annotations

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
}
_ERRORS = frozenset({"mae", "rmse"})
_PLAIN = _ERRORS | {"corr", "r2"}


@dataclass(frozen=True)
class MetricName:
    """`title` as printed; `percent`: a share, printed times 100; `higher_is_better`."""

    title: str
    percent: bool
    higher_is_better: bool

    def format(self, value: float) -> str:
        """The value as a table shows it: shares as percent with one decimal, the others with three."""
        return f"{100.0 * value:.1f}" if self.percent else f"{value:.3f}"


def describe(metric: str) -> MetricName:
    """The printed name of a key of `measure`; an emotion's key (`f1_happy`) is read from its parts."""
    title = _TITLES.get(metric)
    if title is None:
        measured, _, label = metric.partition("_")
        title = f"{measured.capitalize()} {label}"
    return MetricName(title, metric not in _PLAIN, metric not in _ERRORS)
