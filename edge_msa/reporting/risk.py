"""The report's section on prediction intervals or sets: coverage and width by subset, and risk against coverage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_msa.evaluation.evaluate import Evaluation
from edge_msa.evaluation.intervals.quality import CoverageLevel, quality_rows, quality_title
from edge_msa.reporting.canvas import OTHER_COLOR, PRECISION_COLORS, STYLE, create_figure, figure_to_svg
from edge_msa.reporting.figures import RiskCurve
from edge_msa.reporting.templates import Table

_COLORS = {1: OTHER_COLOR, 2: PRECISION_COLORS["fp16"], 3: PRECISION_COLORS["fp32"]}
"""By number of modalities."""
_MARKERS = ("o", "s", "^")
"""For the subsets with the same number of modalities."""


def measured_intervals(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """Return the first evaluation with prediction intervals, or None. Those of other precisions hardly differ."""
    return next((item for item in evaluations if item.prediction_intervals), None)


def interval_tables(evaluation: Evaluation) -> Iterator[Table]:
    """Yield one table per condition: observed coverage, width and risk, by subset."""
    for condition, levels in evaluation.prediction_intervals.items():
        sets = evaluation.predicts_classes
        header, rows = quality_rows(levels, sets=sets)
        yield Table(header, rows, quality_title(condition, sets=sets))


def risk_curves(evaluation: Evaluation) -> list[RiskCurve]:
    """Return the risk of each subset under the first condition. Empty if the scores have no sign."""
    levels = next(iter(evaluation.prediction_intervals.values()), {})
    return [
        RiskCurve(subset=subset, answered=[share for share, _ in points], risk=[risk for _, risk in points])
        for subset, items in levels.items()
        if len(points := _curve(items)) > 1
    ]


def risk_plot(curves: Sequence[RiskCurve], *, sets: bool) -> str:
    """Return a plot of the share of wrong signs or classes against that of answered predictions, by subset, as SVG.

    Args:
        curves: What `risk_curves` returned.
        sets: Whether the predictions have sets of classes.

    Returns:
        The plot, "" if there are no curves.
    """
    if not curves:
        return ""
    import matplotlib as mpl

    wrong = "wrong classes" if sets else "wrong signs"

    with mpl.rc_context(STYLE):
        figure, axes = create_figure(7.6, 3.6)
        counts: dict[int, int] = {}
        for curve in curves:
            size = len(curve.subset)
            marker = _MARKERS[counts.get(size, 0) % len(_MARKERS)]
            counts[size] = counts.get(size, 0) + 1
            x, y = ([100 * share for share in shares] for shares in (curve.answered, curve.risk))
            axes.plot(x, y, color=_COLORS[size], marker=marker, markersize=4, linewidth=1.3, label=curve.subset)
        axes.set_xlim(0, 102)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("predictions that are answered, %")
        axes.set_title(f"{wrong} among the answered, % (down is better)", loc="left", fontsize=11)
        figure.set_figheight(figure.get_figheight() + 0.24)
        figure.legend(loc="outside lower left", ncols=7, handletextpad=0.4, columnspacing=1.6)
        return figure_to_svg(figure, "risk", f"Share of {wrong} against the share of answered predictions")


def _curve(items: Sequence[CoverageLevel]) -> list[tuple[float, float]]:
    """Return (answered, risk) as shares without abstaining, then at each coverage."""
    points = [(1.0, items[0].risk_of_all), *((item.answered, item.risk) for item in items)]
    return [(share, risk) for share, risk in points if share and risk is not None]
