"""`edge-msa report` and `edge-msa explain`: write HTML pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Json, Page, RunData, Split, TaskName
from edge_msa.cli.paths import FILE, INPUT, Input, Output


def report(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDERS]", help="Folders with records of any command, or record files."),
        Input(collects=True),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            help="File to write: a page (.html), or its figures as .md, .csv or .json.",
        ),
        Output(FILE, replaceable="*.html"),
    ] = Path("report.html"),
    stream: Annotated[
        Path | None,
        typer.Option(
            "--stream",
            metavar="FILE",
            help="Log of `edge-msa-run stream` to draw, instead of records.",
            show_default="none",
        ),
        INPUT,
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Print what changed between two reports: pages or folders with records.")
    ] = False,
    replay: Annotated[
        bool, typer.Option("--replay", help="Run the commands in a page again, and check its figures.")
    ] = False,
    fail_on_regression: Annotated[
        bool,
        typer.Option(
            "--fail-on-regression",
            help="Exit with code 3 if a figure got worse by more than noise (--compare) or changed (--replay).",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write a page that says what to ship for each target, and why.

    The page works offline. It shows the trade-off between accuracy and latency, what is lost when modalities are
    missing, and the commands that measure every figure again. With --stream, it shows the timeline of a replayed stream
    instead. With --compare A B, it prints what changed between two reports. With --replay PAGE, it measures the figures
    of a page again.

    Example:
        edge-msa report runs --output report.html
    """
    from edge_msa.console import print_output, print_result
    from edge_msa.errors import UsageError
    from edge_msa.workflows.report import report as run
    from edge_msa.workflows.report_stream import report_stream

    if compare or replay:
        if compare and replay:
            raise UsageError("Pass either --compare or --replay.")
        if stream is not None:
            raise UsageError("--stream draws a page. Omit it with --compare and --replay.")
        _check_reports(paths or [], compare=compare, fail=fail_on_regression, json=json)
        return
    if fail_on_regression or json:
        raise UsageError("--fail-on-regression and --json need --compare or --replay. Pass one of them, or omit them.")
    if (stream is None) == (not paths):
        raise UsageError("Pass either FOLDERS with records, or --stream FILE with the log of a stream.")
    page = run(paths or [], output=output) if stream is None else report_stream(stream, output=output)
    print_result(str(page))
    print_output("report", output)


def _check_reports(paths: list[Path], *, compare: bool, fail: bool, json: bool) -> None:
    from edge_msa.console import print_json, print_result
    from edge_msa.errors import FiguresChangedError, UsageError
    from edge_msa.workflows.report_compare import compare_reports
    from edge_msa.workflows.report_replay import replay_report

    if len(paths) != (2 if compare else 1):
        wanted = "--compare needs two reports" if compare else "--replay needs one page"
        raise UsageError(f"{wanted}, got {len(paths)}.")
    if compare:
        comparison = compare_reports(*paths)
        found, what, result = len(comparison.regressions), "got worse by more than noise", comparison.to_json()
        print_result(str(comparison))
    else:
        replay = replay_report(paths[0])
        found, what, result = len(replay.changed), "changed", replay.to_json()
        print_result(str(replay))
    if json:
        print_json(result)
    if fail and found:
        raise FiguresChangedError(f"{found} of the figures {what}. The table lists them.")


def explain(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of train, distill, text, calibrate or import."), INPUT
    ],
    data: RunData = None,
    output: Page = Path("explain.html"),
    split: Split = "valid",
    sample: Annotated[
        list[str] | None,
        typer.Option(
            "--sample",
            metavar="ID",
            help="ID of a sample to show. Repeat the option for several samples.",
            show_default="samples across the range of labels",
        ),
    ] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Write a page that explains the predictions of a model.

    The page works offline. It shows which words and frames matter in single samples, what each feature and each
    modality changes, what noise does on the frames that the model attends to, and a t-SNE projection of the
    representations. Prefer the validation split: choices made after looking at the test split are biased.

    Example:
        edge-msa explain runs/teacher --output explain.html
    """
    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.explain import explain as explain_run

    page = explain_run(run, data=data, output=output, split=split, samples=sample or (), task=task)
    print_result(str(page))
    print_output("page", output)
    if json:
        print_json(page.to_json())
