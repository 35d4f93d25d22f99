"""`edge-msa report` and `edge-msa explain`: write HTML pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import Json, RunData, TaskName
from edge_msa.cli.paths import FILE, INPUT, Input, Output

Page = Annotated[
    Path, typer.Option("--output", metavar="FILE.html", help="Page to write."), Output(FILE, replaceable="*.html")
]


def report(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Folders with records of any command, or record files."),
        Input(collects=True),
    ],
    output: Page = Path("report.html"),
) -> None:
    """Write a page that compares accuracy and latency.

    The page works offline. It shows the trade-offs, the Pareto front, and the robustness per modality subset.
    """
    from edge_msa.workflows.report import write_report

    write_report(paths, output)


def explain(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run of train, distill, text, calibrate or import."), INPUT
    ],
    data: RunData = None,
    output: Page = Path("explain.html"),
    split: Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Split to explain.")] = "valid",
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
    """Write a page that explains a model's predictions.

    The page works offline. It shows what removing a modality changes, attention maps, and a t-SNE projection of the
    representations. Prefer the validation split: choices made after looking at the test split are biased.
    """
    from edge_msa.workflows.explain import explain_run

    explain_run(run, data, output, split=split, samples=sample or (), task=task, json=json)
