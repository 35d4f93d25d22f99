"""A ladder as a picture and a page."""

from __future__ import annotations

from pathlib import Path

from edge_msa.files import write_text
from edge_msa.ladder.record import Ladder, Step, front
from edge_msa.ladder.table import LEFT, ladder_rows, notes
from edge_msa.report.canvas import MUTED, OTHER, PRECISIONS, STYLE, canvas, svg
from edge_msa.report.page import Table
from edge_msa.report.templates import fill


def ladder_picture(ladder: Ladder) -> str:
    """MAE against p50 as SVG: mean and deviation of each step, the Pareto front as a stair, the floor as a line."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = canvas(7.6, 4.2)
        best = front(ladder.steps)
        axes.step(
            [step.latency_ms["p50"] for step in best],
            [step.metrics["mae"].mean for step in best],
            where="post",
            color=MUTED,
            linestyle="--",
            linewidth=1,
        )
        named: set[str] = set()
        for step in ladder.steps:
            colour = PRECISIONS.get(step.precision, OTHER)
            values = step.metrics["mae"]
            axes.errorbar(
                step.latency_ms["p50"],
                values.mean,
                yerr=values.deviation,
                fmt="o",
                color=colour,
                capsize=3,
                label=None if step.precision in named else step.precision,
            )
            named.add(step.precision)
        for step in _named_once(ladder):
            place = (step.latency_ms["p50"], step.metrics["mae"].mean)
            axes.annotate(step.title, place, textcoords="offset points", xytext=(7, 7))
        least = min((metrics["mae"] for metrics in ladder.floors.values() if "mae" in metrics), default=None)
        if least is not None:
            axes.set_title(f"MAE (down is better); a constant reaches {least:.3f}", loc="left", fontsize=11)
        axes.set_xscale("log")
        axes.margins(x=0.2)
        axes.set_xlabel("p50 from raw words to the reading, ms (left is better)")
        axes.legend()
        return svg(figure, "ladder", "MAE against median latency, with the Pareto front")


def write_page(ladder: Ladder, output: Path) -> Path:
    """The offline page.

    Raises:
        EdgeMsaError: it cannot be written.
    """
    from markupsafe import Markup

    header, rows = ladder_rows(ladder)
    text = fill(
        "edge_msa.ladder",
        "page.html.j2",
        title=f"edge-msa: readers of words on {ladder.dataset}",
        picture=Markup(ladder_picture(ladder)),  # noqa: S704 - matplotlib's own markup
        table=Table(header, rows, left=LEFT),
        notes=notes(ladder),
        provenance=dict(ladder.machine),
    )
    return write_text(output, text)


def _named_once(ladder: Ladder) -> list[Step]:
    """The quickest step of each rung carries its name."""
    found: dict[str, Step] = {}
    for step in ladder.steps:
        known = found.get(step.rung)
        if known is None or step.latency_ms["p50"] < known.latency_ms["p50"]:
            found[step.rung] = step
    return list(found.values())
