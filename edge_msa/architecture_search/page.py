"""The HTML page of a search, which works offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_msa.architecture_search.answer import MAX_RELATIVE_LATENCY, find_answer
from edge_msa.architecture_search.record import SearchRecord
from edge_msa.architecture_search.table import NAME_COLUMNS, failure_lines, header, pareto_rows, trial_rows
from edge_msa.architecture_search.trials import TrialResult
from edge_msa.reporting.canvas import MUTED, OTHER_COLOR, PRECISION_COLORS, STYLE, create_figure, figure_to_svg
from edge_msa.reporting.points import pareto_front
from edge_msa.reporting.templates import Table, render_template

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MIN_AREA, _MAX_AREA = 30.0, 260.0
"""Areas of markers, in square typographic points."""


def render_page(record: SearchRecord) -> str:
    """Return the page as HTML."""
    from markupsafe import Markup

    columns = header(record)
    return render_template(
        "edge_msa.architecture_search",
        "search.html.j2",
        title=f"edge-msa: search for {record.target}",
        subtitle=(f"{record.data}, validation split · {len(record.trials)} trials · {record.backend}, one thread"),
        record=record,
        max_latency=f"{MAX_RELATIVE_LATENCY:.0%}",
        answer=find_answer(record).text,
        # Matplotlib generated this markup and escaped every text in it.
        plot=Markup(search_plot(record)),  # noqa: S704
        pareto=Table(columns, pareto_rows(record), left=NAME_COLUMNS),
        trials=Table(columns, trial_rows(record), left=NAME_COLUMNS, notes=failure_lines(record)),
        provenance={
            **record.provenance,
            **{f"bundle of trial {number}": path for number, path in record.bundles.items()},
        },
    )


def search_plot(record: SearchRecord) -> str:
    """Return a plot of error against relative latency of all measured trials, as SVG.

    Return "" if the default recipe failed.
    """
    default = record.default
    if default is None:
        return ""
    import matplotlib as mpl

    trials = [trial for trial in record.trials if trial.is_measured]
    with mpl.rc_context(STYLE):
        figure, axes = create_figure(7.6, 4.4)
        _draw_pareto_front(axes, trials, record)
        _draw_trials(axes, trials, record)
        axes.axvline(100 * MAX_RELATIVE_LATENCY, color=MUTED, linewidth=1.0, linestyle=":")
        axes.axhline(default.costs[0], color=MUTED, linewidth=1.0, linestyle=":")
        axes.set_xlabel("p50 latency, % of the default recipe (left is better)")
        axes.set_title(f"Validation {record.error_name} (down is better)", loc="left", fontsize=11)
        axes.margins(0.08, 0.1)
        _draw_numbers(axes, record)
        _add_legend(figure, axes)
        title = f"Validation {record.error_name} against p50 latency, with the Pareto front"
        return figure_to_svg(figure, "search", title)


def _draw_pareto_front(axes: Axes, trials: list[TrialResult], record: SearchRecord) -> None:
    """Draw the Pareto front of error and latency alone, the two axes of the plot."""
    positions = [_position(trial, record) for trial in trials]
    best = [positions[index] for index in pareto_front((latency, -error) for latency, error in positions)]
    axes.step(*zip(*best, strict=True), where="post", color=MUTED, linewidth=1.2, linestyle="--", zorder=1)


def _draw_trials(axes: Axes, trials: list[TrialResult], record: SearchRecord) -> None:
    sizes = [trial.costs[2] for trial in trials]
    smallest, size_range = min(sizes), (max(sizes) - min(sizes)) or 1.0
    for precision in dict.fromkeys(trial.precision for trial in trials):
        group = [trial for trial in trials if trial.precision == precision]
        x, y = zip(*(_position(trial, record) for trial in group), strict=True)
        areas = [_MIN_AREA + (_MAX_AREA - _MIN_AREA) * (trial.costs[2] - smallest) / size_range for trial in group]
        color = PRECISION_COLORS.get(precision, OTHER_COLOR)
        axes.scatter(x, y, s=areas, color=color, alpha=0.75, linewidths=0, label=precision, zorder=2)
    x, y = zip(*(_position(trial, record) for trial in trials if trial.is_default), strict=True)
    area, label = _MAX_AREA * 1.7, "default recipe"
    axes.scatter(x, y, s=area, facecolors="none", edgecolors=MUTED, linewidths=1.4, label=label)


def _draw_numbers(axes: Axes, record: SearchRecord) -> None:
    for trial in record.pareto:
        axes.annotate(
            str(trial.number),
            _position(trial, record),
            (0.0, -14.0),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )


def _position(trial: TrialResult, record: SearchRecord) -> tuple[float, float]:
    """Return the latency in percent of the default recipe's, and the error."""
    return 100.0 * (record.relative_latency(trial) or 0.0), trial.costs[0]


def _add_legend(figure: Figure, axes: Axes) -> None:
    """Add a legend below the axes, with markers of equal size, because their area has a meaning in the plot."""
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower left", ncols=4, handletextpad=0.4, columnspacing=1.6)
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([64.0])
