"""`edge-msa report --stream`: draw the log of a replayed stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_msa.arguments import AnyPath, path_of
from edge_msa.reporting.stream_log import load_stream_log
from edge_msa.reporting.stream_timeline import subset_rows, summarize_stream, write_stream_page
from edge_msa.result_tables import Row, Table
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file


@dataclass(frozen=True, repr=False)
class StreamPage(Table):
    """The page of a stream that was written."""

    path: Path
    """The HTML page."""
    summary: tuple[str, ...]
    """What happened, in sentences."""
    subsets: tuple[Row, ...]
    """Predictions, width of the intervals and latency, by subset."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return the path."""
        return f"<StreamPage {self.path}>"

    def __str__(self) -> str:
        """Return the summary for people."""
        return "\n".join(self.summary)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per subset."""
        return self.subsets


@api
def report_stream(
    log: AnyPath,
    *,
    output: AnyPath = "report.html",
    title: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> StreamPage:
    """Write one page with the timeline of a stream. The page works offline.

    It shows scores with their intervals, the modalities of the predictions, frames that were not used, and latency over
    time.

    Args:
        log: File that `edge-msa-run stream --log` wrote.
        output: HTML file to write. An existing one is replaced.
        title: Heading of the page. None: the name of the bundle.
        overwrite: Whether to replace an existing file whose name does not end in `.html`.
        verbose: Whether to print notes.
        on_progress: Not called: the report is one step.

    Returns:
        The page and its summary.

    Raises:
        DataError: The log cannot be read, or is not the log of a stream.
        UsageError: An argument is invalid.

    Examples:
        >>> page = em.report_stream("stream.jsonl", output="stream.html")
        >>> print(page)
    """
    path = path_of(log, "log", "the path of a log")
    page = output_file(output, "output", [path], replaceable="*.html")
    loaded = load_stream_log(path)
    heading = title or f"edge-msa: stream of {loaded.header.get('bundle', 'a bundle')}"
    write_stream_page(loaded, page, heading)
    return StreamPage(page, tuple(summarize_stream(loaded)), tuple(subset_rows(loaded)))
