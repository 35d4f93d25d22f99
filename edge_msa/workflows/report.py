"""`edge-msa report`: write one HTML page from saved measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.architecture_search.answer import find_answer
from edge_msa.architecture_search.record import SearchRecord
from edge_msa.architecture_search.table import NAME_COLUMNS, failure_lines, header, pareto_rows
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.records import OtherRecord, load_records
from edge_msa.console import full_width_tables, print_notes, print_output, print_result
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.reproduction.record import Reproduction
from edge_msa.evaluation.reproduction.table import format_reproduction
from edge_msa.reporting import Report, format_tradeoff, join_points, write_report_page
from edge_msa.reporting.text_sweep import TextSweep, format_sweep
from edge_msa.text_tables import text_table


def write_report(
    paths: Sequence[Path],
    output: Path,
    *,
    title: str = "edge-msa: accuracy and latency",
    in_pipeline: bool = False,
) -> None:
    """Write the page and print its trade-off table.

    Args:
        paths: Folders with records of any command, or record files.
        output: HTML file to write.
        title: Heading of the page.
        in_pipeline: Whether the runs and bundles in the folders are expected, so they are not listed as skipped.

    Raises:
        RunError: A path has no valid measurements, or the evaluations use different data.
        EdgeMsaError: The page cannot be written.
    """
    records = load_records(paths)
    points = join_points(records)
    machine = records.benches[0].machine if records.benches else {}
    sections, invalid = _sections(records.others)
    models = () if in_pipeline else [(path, f"{kind}, not a measurement") for path, kind in records.models]
    skipped = [f"{path}: {reason}" for path, reason in (*records.skipped, *models, *invalid)]
    provenance = {**machine, **_describe_runs(paths)}
    write_report_page(Report(title, points, records.evaluations, provenance, sections, skipped), output)
    if points or not sections:
        print_result(format_tradeoff(points))
    for warning in dict.fromkeys(point.warning for point in points if point.warning):
        print_result(f"warning: {warning}")
    for name, _ in sections:
        print_result(f"Also in the report: {name}")
    print_notes(f"skipped {line}" for line in skipped)
    print_output("report", output)


def _sections(records: Sequence[OtherRecord]) -> tuple[list[tuple[str, str]], list[tuple[Path, str]]]:
    """Return title and text of each record of another command, and the records that are not valid, with the reason."""
    sections, invalid = [], []
    for record in records:
        try:
            with full_width_tables():
                sections.append((f"{record.kind}: {record.path}", _FORMATS[record.kind](record.value)))
        except (EdgeMsaError, KeyError, TypeError, ValueError, AttributeError) as error:
            invalid.append((record.path, f"not a valid {record.kind} ({error})"))
    return sections, invalid


def _format_search(value: Mapping[str, Any]) -> str:
    record = SearchRecord.from_json(value)
    table = text_table(header(record), pareto_rows(record), left=NAME_COLUMNS)
    return "\n".join([table, "* Pareto front", find_answer(record).text, *failure_lines(record)])


_FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "reproduction": lambda value: format_reproduction(Reproduction.from_json(value)),
    "sweep": lambda value: format_sweep(TextSweep.from_json(value)),
    "search": _format_search,
}
"""Returns the text of a record, by its kind."""


def _describe_runs(paths: Sequence[Path]) -> dict[str, str]:
    """Return seed, revision and digest of every run in the folders, so that you can reproduce the results."""
    runs: dict[str, str] = {}
    for folder in paths:
        for path in sorted(folder.glob(f"[!.]*/{INFO_NAME}")) if folder.is_dir() else ():
            run = load_run(path.parent)
            revision = (run.info.git_revision or "unknown")[:12]
            runs[f"run {path.parent.name}"] = f"seed {run.info.seed}, revision {revision}, {run.digest[:12]}"
    return runs
