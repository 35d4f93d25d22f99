"""`edge-msa report`: write one HTML page from saved measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.records import load_records
from edge_msa.console import print_output, print_result
from edge_msa.reporting import Report, format_tradeoff, join_points, write_report_page


def write_report(paths: Sequence[Path], output: Path, *, title: str = "edge-msa: accuracy and latency") -> None:
    """Write the page and print its trade-off table.

    Args:
        paths: Pipeline folders, or files that `edge-msa evaluate` or `edge-msa bench` wrote.
        output: HTML file to write.
        title: Heading of the page.

    Raises:
        RunError: A path has no valid measurements, or the evaluations use different data.
        EdgeMsaError: The page cannot be written.
    """
    records = load_records(paths)
    points = join_points(records)
    machine = records.benches[0].machine if records.benches else {}
    write_report_page(Report(title, points, records.evaluations, {**machine, **_describe_runs(paths)}), output)
    print_result(format_tradeoff(points))
    print_output("report", output)


def _describe_runs(paths: Sequence[Path]) -> dict[str, str]:
    """Return seed, revision and digest of every run in the folders, so that you can reproduce the results."""
    runs: dict[str, str] = {}
    for folder in paths:
        for path in sorted(folder.glob(f"[!.]*/{INFO_NAME}")) if folder.is_dir() else ():
            run = load_run(path.parent)
            revision = (run.info.git_revision or "unknown")[:12]
            runs[f"run {path.parent.name}"] = f"seed {run.info.seed}, revision {revision}, {run.digest[:12]}"
    return runs
