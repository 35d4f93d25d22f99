"""A sweep as a picture and a page."""

from __future__ import annotations

from pathlib import Path

from edge_msa.artifacts.files import write_text
from edge_msa.reporting.canvas import MUTED, OTHER, PRECISIONS, STYLE, canvas, svg
from edge_msa.reporting.page import Table
from edge_msa.reporting.templates import fill
from edge_msa.reporting.text_sweep.record import SweepPoint, TextSweep, front
from edge_msa.reporting.text_sweep.table import LEFT, notes, sweep_rows


def sweep_plot(sweep: TextSweep) -> str:
    """MAE against p50 as SVG: mean and deviation of each step, the Pareto front as a stair, the baseline as a line."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = canvas(7.6, 4.2)
        best = front(sweep.steps)
        axes.step(
            [step.latency_ms["p50"] for step in best],
            [step.metrics["mae"].mean for step in best],
            where="post",
            color=MUTED,
            linestyle="--",
            linewidth=1,
        )
        named: set[str] = set()
        for step in sweep.steps:
            color = PRECISIONS.get(step.precision, OTHER)
            values = step.metrics["mae"]
            axes.errorbar(
                step.latency_ms["p50"],
                values.mean,
                yerr=values.deviation,
                fmt="o",
                color=color,
                capsize=3,
                label=None if step.precision in named else step.precision,
            )
            named.add(step.precision)
        for step in _named_once(sweep):
            place = (step.latency_ms["p50"], step.metrics["mae"].mean)
            axes.annotate(step.title, place, textcoords="offset points", xytext=(7, 7))
        least = min((metrics["mae"] for metrics in sweep.baselines.values() if "mae" in metrics), default=None)
        if least is not None:
            axes.set_title(f"MAE (down is better); a constant reaches {least:.3f}", loc="left", fontsize=11)
        axes.set_xscale("log")
        axes.margins(x=0.2)
        axes.set_xlabel("p50 from raw words to the prediction, ms (left is better)")
        axes.legend()
        return svg(figure, "sweep", "MAE against median latency, with the Pareto front")


def write_page(sweep: TextSweep, output: Path) -> Path:
    """The offline page.

    Raises:
        EdgeMsaError: it cannot be written.
    """
    from markupsafe import Markup

    header, rows = sweep_rows(sweep)
    text = fill(
        "edge_msa.reporting.text_sweep",
        "page.html.j2",
        title=f"edge-msa: readers of words on {sweep.dataset}",
        picture=Markup(sweep_plot(sweep)),  # noqa: S704 - matplotlib's own markup
        table=Table(header, rows, left=LEFT),
        notes=notes(sweep),
        provenance=dict(sweep.machine),
    )
    return write_text(output, text)


def _named_once(sweep: TextSweep) -> list[SweepPoint]:
    """The quickest step of each variant carries its name."""
    found: dict[str, SweepPoint] = {}
    for step in sweep.steps:
        known = found.get(step.variant)
        if known is None or step.latency_ms["p50"] < known.latency_ms["p50"]:
            found[step.variant] = step
    return list(found.values())
