"""`edge-msa report --compare`: what changed between two reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_msa.arguments import AnyPath, path_of
from edge_msa.benchmark.records import load_records
from edge_msa.reporting.comparison import ReportComparison, compare_figures
from edge_msa.reporting.content import Report, collect_figures
from edge_msa.reporting.figures import Figures, is_report_file, load_figures
from edge_msa.reporting.points import ReportPoint, join_points, point_ids
from edge_msa.workflows.api import OnProgress, api


@api
def compare_reports(
    before: AnyPath, after: AnyPath, *, verbose: bool = False, on_progress: OnProgress | None = None
) -> ReportComparison:
    """Compare two reports: what changed, and whether by more than noise.

    Records are compared paired by video. Pages and JSON files have only the interval of each value, so a change counts
    if the intervals do not overlap, which is stricter.

    Args:
        before: A page or JSON file that `report` wrote, or a folder or file with records.
        after: The other report, of the same models.
        verbose: Whether to print notes.
        on_progress: Not called.

    Returns:
        The comparison, as a table with one row per figure that both reports have.

    Raises:
        RunError: A file is no report and no record.
        UsageError: The reports have no model in common.

    Examples:
        >>> comparison = em.compare_reports("old/report.html", "new/report.html")
        >>> assert not comparison.regressions
    """
    first, points_first = load_report(path_of(before, "before"))
    second, points_second = load_report(path_of(after, "after"))
    return compare_figures(first, second, points_first, points_second)


def load_report(path: Path) -> tuple[Figures, Mapping[str, ReportPoint]]:
    """Return the figures of a page, a JSON file, a folder or a record, and the points if there are records.

    Raises:
        RunError: The path does not exist, or is none of these.
    """
    if path.is_file() and is_report_file(path):
        return load_figures(path), {}
    records = load_records([path])
    points = join_points(records)
    figures = collect_figures(Report(str(path), points, records.evaluations))
    return figures, dict(zip(point_ids(points), points, strict=True))
