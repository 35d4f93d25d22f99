"""`edge-msa evaluate`: measure accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import BundleBackend, BundlePrecision, Json, RunData, Split, TaskName
from edge_msa.cli.paths import FILE, INPUT, Output


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Run or bundle."), INPUT],
    data: RunData = None,
    split: Split = "test",
    backend: BundleBackend = "auto",
    precision: BundlePrecision = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="PRECISION",
            help="Another precision of the bundle to compare the predictions with.",
            show_default="no comparison",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE.csv",
            help="File to write with id, label, subset and score of every prediction.",
            show_default="not written",
        ),
        Output(FILE),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE.json",
            help="File to write with the metrics, for `edge-msa report`.",
            show_default="not written",
        ),
        Output(FILE),
    ] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Measure accuracy on every subset of modalities.

    Prints the metrics next to those of two baselines: the median and the best constant.
    """
    from edge_msa.workflows.evaluate import evaluate_path

    evaluate_path(
        path,
        data,
        split,
        backend=backend,
        precision=precision,
        against=against,
        predictions=predictions,
        output=output,
        task=task,
        json=json,
    )
