"""`edge-msa distill` and `edge-msa compare`: distill students, and compare variants of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import (
    ADVANCED,
    RECIPE_HELP,
    Compile,
    Device,
    Epochs,
    Json,
    OutputDir,
    Recipe,
    ResultsDir,
    Seed,
    Seeds,
    TaskName,
    TeacherData,
    Teachers,
    TensorBoard,
    TrainingPrecision,
    Transfer,
)
from edge_msa.cli.paths import INPUT


def distill(
    output_dir: OutputDir,
    teacher: Teachers,
    data: TeacherData = None,
    transfer: Transfer = None,
    qat: Annotated[
        Path | None,
        typer.Option(
            "--qat",
            metavar="RUN",
            help="Run of calibrate. Fine-tune its student with quantization-aware training.",
            show_default="train a new student",
            rich_help_panel=ADVANCED,
        ),
        INPUT,
    ] = None,
    text_model: Annotated[
        Path | None,
        typer.Option(
            "--text-model",
            metavar="RUN",
            help="Run of `edge-msa text`. Its text encoder turns the transcripts into the language features.",
            show_default="the run of --qat or the first teacher if it takes text; otherwise the features of the file",
            rich_help_panel=ADVANCED,
        ),
        INPUT,
    ] = None,
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    tensorboard: TensorBoard = None,
    task: TaskName = None,
) -> None:
    """Distill one or several teachers into a small student for devices.

    The student is causal, so it also predicts streams, and it accepts every subset of modalities.

    Example:
        edge-msa distill --teacher runs/teacher --output-dir runs/student
    """
    from edge_msa.workflows.distill import distill as run

    run(
        teacher,
        output_dir=output_dir,
        data=data,
        transfer=transfer or (),
        qat=qat,
        text_model=text_model,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        device=device,
        precision=precision,
        compiled=compiled,
        tensorboard=tensorboard,
        task=task,
    )


def compare(
    recipe: Annotated[
        Path,
        typer.Option(
            "--recipe",
            metavar="FILE",
            help=f"{RECIPE_HELP} It has one table [variants.NAME] per variant.",
        ),
        INPUT,
    ],
    output_dir: ResultsDir,
    teacher: Teachers,
    data: TeacherData = None,
    transfer: Transfer = None,
    seeds: Seeds = 3,
    split: Annotated[
        Literal["valid", "test"], typer.Option("--split", metavar="NAME", help="Split to use: valid or test.")
    ] = "valid",
    task: TaskName = None,
    json: Json = False,
) -> None:
    r"""Compare variants of a student recipe over several seeds.

    Distills every variant with every seed and prints how much each variant gains over the first.

    Example:
        edge-msa compare --recipe variants.toml --teacher runs/teacher \
          --output-dir compared
    """
    from edge_msa.console import print_json, print_result
    from edge_msa.workflows.compare import compare as run

    result = run(
        recipe,
        teachers=teacher,
        output_dir=output_dir,
        data=data,
        transfer=transfer or (),
        seeds=seeds,
        split=split,
        task=task,
    )
    print_result(str(result))
    if json:
        print_json(result.to_json())
