"""The search's offline page."""

from __future__ import annotations

from edge_msa.reporting.templates import Table, render_template
from edge_msa.search.answer import SHARE, answer
from edge_msa.search.plot import search_picture
from edge_msa.search.record import SearchRecord
from edge_msa.search.table import NAMES, failed_lines, header_of, pareto_rows, trial_rows


def render(record: SearchRecord) -> str:
    """The page as HTML."""
    from markupsafe import Markup

    header = header_of(record)
    return render_template(
        "edge_msa.search",
        "page.html.j2",
        record=record,
        share=f"{SHARE:.0%}",
        answer=answer(record).text,
        # matplotlib's own markup; every text in it was escaped by it.
        picture=Markup(search_picture(record)),  # noqa: S704
        pareto=Table(header, pareto_rows(record), left=NAMES),
        trials=Table(header, trial_rows(record), left=NAMES, notes=failed_lines(record)),
    )
