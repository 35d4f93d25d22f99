"""`edge-msa report --replay`: run the commands in a report again, and check its figures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_msa.arguments import AnyPath, path_of
from edge_msa.benchmark.records import load_records
from edge_msa.console import activity, print_progress, report_progress
from edge_msa.errors import RunError, UsageError
from edge_msa.reporting.content import Report, collect_figures
from edge_msa.reporting.figures import Figures, load_figures
from edge_msa.reporting.points import join_points
from edge_msa.reporting.replay import ReportReplay, check_figures, check_page, parse_command, report_commands
from edge_msa.workflows.api import OnProgress, api

RAN = "ran"
LIMIT_SECONDS = 1800.0
"""A command of a page that runs longer is stopped."""


@api
def replay_report(page: AnyPath, *, verbose: bool = False, on_progress: OnProgress | None = None) -> ReportReplay:
    """Run the commands in a report again, and mark each of its figures as held, changed or not testable here.

    Only `edge-msa evaluate` and `edge-msa bench` are run, with the options that `report` writes, never in a shell. They
    run in the working folder, because models and data have the paths in the page, and write into a temporary folder. A
    command that takes longer than half an hour is stopped.

    Args:
        page: A page or JSON file that `report` wrote.
        verbose: Whether to print progress.
        on_progress: Called after every command.

    Returns:
        The checks, as a table with one row per figure.

    Raises:
        RunError: The file is no report.

    Examples:
        >>> replay = em.replay_report("demo/report.html")
        >>> assert not replay.changed, replay
    """
    path = path_of(page, "page")
    figures = load_figures(path)
    results: list[tuple[str, str]] = []
    commands = report_commands(figures)
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as folder:
        for index, command in enumerate(commands):
            with activity(f"Running {command}"):
                results.append((command, _run(command, Path(folder) / f"{index}.json")))
            report_progress("replay: command", index + 1, len(commands), f"{results[-1][1]}: {command}")
        measured = _load(Path(folder))
    failures = {command: result for command, result in results if result != RAN}
    text = [] if path.suffix == ".json" else list(check_page(path.read_text(encoding="utf-8"), figures))
    return ReportReplay(str(path), (*text, *check_figures(figures, measured, failures)), tuple(results))


def _run(command: str, output: Path) -> str:
    """Run one command of a report, and return what happened: `RAN`, or why there is no record."""
    try:
        arguments = parse_command(command)
    except UsageError as error:
        return f"refused: {error}"
    words: Sequence[str] = [sys.executable, "-m", "edge_msa", *arguments, "--output", str(output)]
    print_progress(f"Running {command}")
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"failed: it took longer than {LIMIT_SECONDS:g} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return f"failed: {lines[-1].removeprefix('edge-msa: ')}"
    return RAN


def _load(folder: Path) -> Figures | None:
    """Return the figures of the records in a folder; None if there are none."""
    files = sorted(folder.glob("*.json"))
    if not files:
        return None
    try:
        records = load_records(files)
    except RunError:
        return None
    points = join_points(records)
    return collect_figures(Report("replay", points, records.evaluations))
