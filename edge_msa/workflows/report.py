"""`edge-msa report`: one page from measurements that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_msa.artifacts.files import check_file
from edge_msa.artifacts.runs import INFO_NAME, read_run
from edge_msa.benchmark.records import load_records
from edge_msa.console import made, say
from edge_msa.reporting import Report, build_report, format_tradeoff, join_points


def write_report(paths: Sequence[Path], output: Path, *, title: str = "edge-msa: accuracy and latency") -> None:
    """Write the page and print its trade-off table."""
    check_file(output)
    records = load_records(paths)
    points = join_points(records)
    machine = records.benches[0].machine if records.benches else {}
    provenance = dict(machine) | _runs_below(paths)
    build_report(Report(title, points, records.evaluations, provenance), output)
    say(format_tradeoff(points))
    made("report", output)


def _runs_below(paths: Sequence[Path]) -> dict[str, str]:
    """Seed, revision and digest of every run in those folders, so that a figure can be made again."""
    found: dict[str, str] = {}
    for folder in paths:
        for path in sorted(folder.glob(f"[!.]*/{INFO_NAME}")) if folder.is_dir() else ():
            run = read_run(path.parent)
            revision = (run.info.git_revision or "unknown")[:12]
            found[f"run {path.parent.name}"] = f"seed {run.info.seed}, revision {revision}, {run.digest[:12]}"
    return found
