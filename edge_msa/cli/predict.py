"""`edge-msa predict`: predict all samples of a file, with or without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import DATA_HELP, SPLIT_HELP, BundleBackend, BundlePrecision, Json
from edge_msa.cli.paths import FILE, INPUT, Output


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Run or bundle to predict with."), INPUT],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="FILE",
            help=f"{DATA_HELP} Labels are not needed. A CSV file of texts also works with a text model.",
        ),
        INPUT,
    ],
    split: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option("--split", metavar="NAME", help=SPLIT_HELP, show_default="all splits"),
    ] = None,
    backend: BundleBackend = "auto",
    precision: BundlePrecision = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="File to write: .csv or .json with id, split, subset, score and label of every sample.",
            show_default="printed as CSV",
        ),
        Output(FILE),
    ] = None,
    json: Json = False,
) -> None:
    """Predict all samples of a file, with or without labels.

    Each sample is predicted from all modalities that it has. Labels in the file are ignored.

    Example:
        edge-msa predict bundle-laptop --data synthetic --output predictions.csv
    """
    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.predict import predict as run

    predictions = run(model, data=data, split=split, backend=backend, precision=precision, output=output)
    if output is None:
        print_result(str(predictions))
    else:
        print_result(predictions.summary)
        print_output("predictions", output)
    if json:
        print_json(
            {
                "model": predictions.model,
                "data": predictions.data,
                "samples": len(predictions),
                "predicted": predictions.predicted,
                "output": output and str(output),
            }
        )
