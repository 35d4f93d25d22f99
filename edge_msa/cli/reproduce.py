"""`edge-msa reproduce`: repeat the experiments of a paper."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from edge_msa.cli.options import (
    Compile,
    Data,
    Device,
    Epochs,
    Json,
    Recipe,
    ResultsDir,
    Seeds,
    TaskName,
    Teacher,
    TextModel,
    TrainingPrecision,
)


def reproduce(
    output_dir: ResultsDir,
    model: Teacher = "hrlf",
    data: Data = "synthetic",
    seeds: Seeds = 5,
    paper: Annotated[
        Literal["mosi", "mosei", "iemocap", "sims", "none"] | None,
        typer.Option(
            "--paper",
            metavar="NAME",
            help="Corpus whose published table to print: mosi, mosei, iemocap, sims or none.",
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
    """Train a teacher with several seeds and compare it with its paper.

    Prints the published table next to the measured one.

    Example:
        edge-msa reproduce --model hrlf --data mosi.pkl --output-dir reproduced
    """
    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.reproduce import reproduce as run

    result = run(
        model,
        output_dir=output_dir,
        data=data,
        seeds=seeds,
        paper=paper,
        ablations=ablations,
        noise=noise,
        recipe=recipe,
        epochs=epochs,
        device=device,
        precision=precision,
        compiled=compiled,
        task=task,
        text_model=text_model,
    )
    print_result(f"\n{result}\n")
    for plot in result.plots:
        print_output("plot", plot)
    print_output("record", result.path)
    if json:
        print_json(result.to_json())
