"""`edge-msa report`: write one HTML page from saved measurements."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_msa.architecture_search.answer import find_answer
from edge_msa.architecture_search.record import SearchRecord
from edge_msa.architecture_search.table import NAME_COLUMNS, failure_lines, header, pareto_rows
from edge_msa.arguments import AnyPath, path_of
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.layer_profile import KIND as LAYERS
from edge_msa.benchmark.layer_profile import LayerProfile
from edge_msa.benchmark.peer_table import KIND as PEERS
from edge_msa.benchmark.peer_table import PeerBenchmark
from edge_msa.benchmark.records import BenchRecord, OtherRecord, load_records
from edge_msa.console import full_width_tables, print_notes
from edge_msa.errors import EdgeMsaError, UsageError
from edge_msa.evaluation.baseline_check import DO_NOT_SHIP
from edge_msa.evaluation.evaluate import Evaluation
from edge_msa.evaluation.reproduction.record import Reproduction
from edge_msa.evaluation.reproduction.table import format_reproduction
from edge_msa.reporting import Report, ReportPoint, format_tradeoff, join_points, write_report_page
from edge_msa.reporting.points import headline_subset
from edge_msa.reporting.sources import find_sources
from edge_msa.reporting.text_sweep import TextSweep, format_sweep
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import text_table
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.bench import Benchmark
from edge_msa.workflows.outputs import output_file

Measurement = AnyPath | Evaluation | Benchmark
"""What a report can show: the result of `evaluate` or `bench`, a file or a folder."""


OUTPUT_SUFFIXES = (".html", ".md", ".csv", ".json")
"""Suffixes of the files that a report can be written to."""


@dataclass(frozen=True, repr=False)
class ReportPage(Table):
    """A report that was written, and the trade-off between accuracy and latency that it shows."""

    path: Path
    """The HTML page."""
    points: tuple[ReportPoint, ...]
    """One per model, backend and precision."""
    others: tuple[str, ...]
    """Kind and file of the records of other commands in the page."""
    skipped: tuple[str, ...]
    """What the page does not show, each with the reason."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return the path and the number of rows."""
        return f"<ReportPage {self.path}, {len(self.points)} rows>"

    def __str__(self) -> str:
        """Return the trade-off table for people."""
        lines = [format_tradeoff(self.points)] if self.points or not self.others else []
        warnings = {point.warning: point.name for point in self.points if point.warning}
        if len(warnings) > 1:
            names = ", ".join(dict.fromkeys(warnings.values()))
            lines.append(f"warning: {names}: no better than a constant. {DO_NOT_SHIP}. The report has the figures.")
        else:
            lines += [f"warning: {warning}" for warning in warnings]
        return "\n".join([*lines, *(f"Also in the report: {name}" for name in self.others)])

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per point, with its metrics and latencies on the subset with the most modalities."""
        subset = headline_subset(self.points)
        return tuple(
            {
                "name": point.name,
                "target": point.target,
                "backend": point.backend,
                "precision": point.precision,
                "chosen": point.chosen,
                "subset": subset,
                **point.by_subset.get(subset, {}),
                **{f"{name}_ms": value for name, value in point.latency_ms.get(subset, {}).items()},
                "size_bytes": point.size_bytes,
                "load_ms": None if point.load_ms is None else point.load_ms.value,
                "peak_memory_mib": None if point.peak_memory_mib is None else point.peak_memory_mib.value,
                "warning": point.warning,
            }
            for point in self.points
        )


@api
def report(
    measurements: Measurement | Sequence[Measurement],
    *,
    output: AnyPath = "report.html",
    title: str = "edge-msa: accuracy and latency",
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ReportPage:
    """Write one page that says what to ship for each target, and why. The page works offline.

    Args:
        measurements: Results of `evaluate` and `bench`; files that these functions wrote; folders, of which all records
            below are shown, also those of `bench_peers`, `bench_layers`, `reproduce`, `sweep_text` and `search`; or a
            list of these.
        output: File to write: a page if its name ends in `.html`, or the same figures as `.md`, `.csv` or `.json`. An
            existing page is replaced.
        title: Heading of the page.
        overwrite: Whether to replace an existing file whose name does not end in `.html`.
        verbose: Whether to print notes.
        on_progress: Not called: the report is one step.

    Returns:
        The page and its trade-off table.

    Raises:
        RunError: A path has no valid measurements, or the evaluations use different data.
        UsageError: An argument is invalid.

    Examples:
        >>> page = em.report([em.evaluate("bundle"), em.bench("bundle")], output="report.html")
        >>> print(page)
    """
    if isinstance(measurements, str | os.PathLike | Evaluation | Benchmark) or not isinstance(measurements, Iterable):
        items: list[object] = [measurements]
    else:
        items = list(measurements)
    if not items:
        raise UsageError("measurements must be results of evaluate or bench, or paths, got an empty list.")
    sources: list[Path | Evaluation | BenchRecord] = []
    for item in items:
        if isinstance(item, Evaluation):
            sources.append(item)
        elif isinstance(item, Benchmark):
            sources.extend(item.records)
        else:
            sources.append(path_of(item, "measurements", "results of evaluate or bench, or paths"))
    files = [item for item in sources if isinstance(item, Path) and not item.is_dir()]
    path = output_file(output, "output", files, replaceable="*.html")
    if path.suffix not in OUTPUT_SUFFIXES:
        raise UsageError(f"output must end in .html, .md, .csv or .json, got {path.name}. Choose one of these formats.")
    return write_report(sources, path, title)


def write_report(
    sources: Sequence[Path | Evaluation | BenchRecord],
    output: Path,
    title: str = "edge-msa: accuracy and latency",
    *,
    in_pipeline: bool = False,
) -> ReportPage:
    """Write the page.

    Args:
        sources: Records, and folders and files with records.
        output: File to write: a page, or the figures in the format of its suffix, one of `OUTPUT_SUFFIXES`.
        title: Heading of the page.
        in_pipeline: Whether the runs and bundles in the folders are expected, so they are not listed as skipped.

    Raises:
        RunError: A path has no valid measurements, or the evaluations use different data.
        EdgeMsaError: The page cannot be written.
    """
    records = load_records(sources)
    folders = [item for item in sources if isinstance(item, Path)]
    points = tuple(join_points(records, find_sources(records, folders)))
    others = _parse_others(records.others)
    models = () if in_pipeline else [(path, f"{kind}, not a measurement") for path, kind in records.models]
    skipped = [f"{path}: {reason}" for path, reason in (*records.skipped, *models, *others.invalid)]
    report_content = Report(
        title,
        points,
        records.evaluations,
        _describe_runs(folders),
        peers=others.peers,
        layers=others.layers,
        sections=others.sections,
        skipped=skipped,
    )
    write_report_page(report_content, output)
    print_notes(f"skipped {line}" for line in skipped)
    return ReportPage(output, points, tuple(others.titles), tuple(skipped))


@dataclass
class _Others:
    """Records of other commands."""

    peers: list[tuple[str, PeerBenchmark]] = field(default_factory=list)
    """File and content of each comparison with alternatives."""
    layers: list[tuple[str, LayerProfile]] = field(default_factory=list)
    """File and content of each profile of layers."""
    sections: list[tuple[str, str]] = field(default_factory=list)
    """Title and text of the others."""
    titles: list[str] = field(default_factory=list)
    """Kind and file of each."""
    invalid: list[tuple[Path, str]] = field(default_factory=list)
    """Records that are not valid, with the reason."""


def _parse_others(records: Sequence[OtherRecord]) -> _Others:
    others = _Others()
    for record in records:
        title = f"{record.kind}: {record.path}"
        try:
            if record.kind == PEERS:
                others.peers.append((str(record.path), PeerBenchmark.from_json(record.value)))
            elif record.kind == LAYERS:
                others.layers.append((str(record.path), LayerProfile.from_json(record.value)))
            else:
                with full_width_tables():
                    others.sections.append((title, _FORMATS[record.kind](record.value)))
        except (EdgeMsaError, KeyError, TypeError, ValueError, AttributeError) as error:
            others.invalid.append((record.path, f"not a valid {record.kind} ({error})"))
        else:
            others.titles.append(title)
    return others


def _format_search(value: Mapping[str, Any]) -> str:
    record = SearchRecord.from_json(value)
    table = text_table(header(record), pareto_rows(record), left=NAME_COLUMNS)
    return "\n".join([table, "* Pareto front", find_answer(record).text, *failure_lines(record)])


_FORMATS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "reproduction": lambda value: format_reproduction(Reproduction.from_json(value)),
    "sweep": lambda value: format_sweep(TextSweep.from_json(value)),
    "search": _format_search,
}
"""Returns the text of a record that the page shows as text, by its kind."""


def _describe_runs(paths: Sequence[Path]) -> dict[str, str]:
    """Return seed, revision and digest of every run in the folders, so that you can reproduce the results."""
    runs: dict[str, str] = {}
    for folder in paths:
        for path in sorted(folder.glob(f"[!.]*/{INFO_NAME}")) if folder.is_dir() else ():
            run = load_run(path.parent)
            revision = (run.info.git_revision or "unknown")[:12]
            runs[f"run {path.parent.name}"] = f"seed {run.info.seed}, revision {revision}, {run.digest[:12]}"
    return runs
