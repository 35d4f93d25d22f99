"""`edge-msa report` and `edge-msa explain`: write HTML pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Json, Page, RunData, Split, TaskName
from edge_msa.cli.paths import INPUT, Input


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDERS", help="Folders with records of any command, or record files."),
        Input(collects=True),
    ],
    output: Page = Path("report.html"),
) -> None:
    """Write a page that compares the accuracy and latency of all measured models.

    The page works offline. It shows the trade-offs, the Pareto front, and the robustness per modality subset.

    Example:
        edge-msa report runs --output report.html
    """
    from edge_msa.console import print_output, print_result
    from edge_msa.workflows.report import report as run

    page = run(paths, output=output)
    print_result(str(page))
    print_output("report", output)


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

    The page works offline. It shows what removing a modality changes, attention maps, and a t-SNE projection of the
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
