"""`edge-msa predict`: predict all samples of a file, with or without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import BundleBackend, BundlePrecision, Json
from edge_msa.cli.paths import FILE, INPUT, Output


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Run or bundle."), INPUT],
    data: Annotated[
        str,
        typer.Option("--data", metavar="FILE", help="Feature file or transcripts, labeled or not; or `synthetic`."),
        INPUT,
    ],
    split: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option("--split", help="Split to predict.", show_default="all splits"),
    ] = None,
    backend: BundleBackend = "auto",
    precision: BundlePrecision = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="File to write, .csv or .json: id, split, subset, score and label of every sample.",
            show_default="printed as CSV",
        ),
        Output(FILE),
    ] = None,
    json: Json = False,
) -> None:
    """Predict all samples of a file.

    Each sample is predicted from all modalities that it has. Labels in the file are ignored.
    """
    from edge_msa.workflows.predict import predict_file

    predict_file(model, data, split=split, backend=backend, precision=precision, output=output, json=json)
