"""`edge-msa evaluate`: measure accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import ADVANCED, BundleBackend, BundlePrecision, Json, Record, RunData, Split, TaskName
from edge_msa.cli.paths import FILE, INPUT, Output


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Run or bundle to evaluate."), INPUT],
    data: RunData = None,
    split: Split = "test",
    backend: BundleBackend = "auto",
    precision: BundlePrecision = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="NAME",
            help="Another precision of the bundle to compare the predictions with: fp32, fp16, int8 or int4.",
            show_default="no comparison",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    missing_frames: Annotated[
        bool,
        typer.Option(
            "--missing-frames",
            help="Measure the prediction intervals of a bundle also on utterances that are unfinished, interrupted or "
            "incomplete.",
            rich_help_panel=ADVANCED,
        ),
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="CSV file to write with id, label, subset and score of every prediction.",
            show_default="not written",
            rich_help_panel=ADVANCED,
        ),
        Output(FILE),
    ] = None,
    output: Record = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Measure the accuracy of a run or bundle on every subset of modalities.

    Prints the metrics next to those of two baselines: the median and the best constant. For a bundle, also prints how
    many labels are in the prediction intervals that it states.

    Example:
        edge-msa evaluate bundle-laptop --split test
    """
    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.evaluate import evaluate as run

    evaluation = run(
        path,
        data=data,
        split=split,
        backend=backend,
        precision=precision,
        against=against,
        missing_frames=missing_frames,
        predictions=predictions,
        output=output,
        task=task,
    )
    print_result(str(evaluation))
    if predictions:
        print_output("predictions", predictions)
    if output:
        print_output("evaluation", output, f"edge-msa report {output}")
    if json:
        print_json(evaluation.to_json())
