"""`edge-msa reproduce`: repeat the experiments of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import Compile, Data, Device, Epochs, Json, Recipe, TaskName, TextModel, TrainingPrecision
from edge_msa.cli.paths import CONTAINER, Output


def reproduce(
    model: Annotated[
        Literal["hrlf", "almt"], typer.Argument(metavar="MODEL", help="Model whose paper to reproduce: hrlf or almt.")
    ],
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", metavar="DIR", help="Folder for the runs, reproduce.json and the plots."),
        Output(CONTAINER),
    ],
    data: Data = "synthetic",
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, max=100, help="Number of trainings, with seeds 0, 1, ...")
    ] = 5,
    paper: Annotated[
        Literal["mosi", "mosei", "iemocap", "sims", "none"] | None,
        typer.Option(
            "--paper",
            help="Corpus whose published table to print.",
            show_default="inferred from the task and the split sizes",
        ),
    ] = None,
    ablations: Annotated[
        bool,
        typer.Option("--ablations", help="Train the ablations of the paper, and the method as published, as well."),
    ] = False,
    noise: Annotated[bool, typer.Option("--noise", help="Measure robustness to noise as well.")] = False,
    recipe: Recipe = None,
    epochs: Epochs = None,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    task: TaskName = None,
    text_model: TextModel = None,
    json: Json = False,
) -> None:
    """Train several seeds and compare with the paper.

    Prints the published table next to the measured one. An interrupted command resumes where it stopped.
    """
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.reproduce import reproduce as reproduce_paper

    reproduce_paper(
        model,
        data,
        output_dir,
        seeds=seeds,
        paper=paper,
        ablations=ablations,
        noise=noise,
        recipe=recipe,
        epochs=epochs,
        hardware=Hardware(device, precision, compiled),
        task=task,
        text_model=text_model,
        json=json,
    )
