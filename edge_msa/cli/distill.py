"""`edge-msa distill` and `edge-msa compare`: distill students, and compare variants of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import (
    Compile,
    Device,
    Epochs,
    Json,
    OutputDir,
    Recipe,
    Seed,
    TaskName,
    TensorBoard,
    TrainingPrecision,
)
from edge_msa.cli.paths import CONTAINER, INPUT, Output

Teachers = Annotated[
    list[Path],
    typer.Option(
        "--teacher",
        metavar="RUN",
        help="Run of train, import, distill or text. Repeat the option for several teachers.",
    ),
    INPUT,
]
TeacherData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Feature file, or `synthetic` for the built-in synthetic data.",
        show_default="the data that the first teacher was trained on",
    ),
    INPUT,
]
Transfer = Annotated[
    list[str] | None,
    typer.Option(
        "--transfer",
        metavar="FILE",
        help="Feature file with more training samples, labeled or not. Repeat the option for several files.",
        show_default="none",
    ),
    INPUT,
]


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
    """Distill one or more teachers into a small student."""
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.distill import distill_student

    distill_student(
        data,
        teacher,
        output_dir,
        transfer=transfer or (),
        qat=qat,
        text_model=text_model,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        hardware=Hardware(device, precision, compiled, tensorboard),
        task=task,
    )


def compare(
    recipe: Annotated[
        Path,
        typer.Argument(
            metavar="VARIANTS.toml", help="TOML file with a [student] table and one [variants.NAME] table per variant."
        ),
        INPUT,
    ],
    output_dir: Annotated[
        Path, typer.Option("--output-dir", metavar="DIR", help="Folder for the runs."), Output(CONTAINER)
    ],
    teacher: Teachers,
    data: TeacherData = None,
    transfer: Transfer = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, max=100, help="Number of trainings per variant, with seeds 0, 1, ..."
        ),
    ] = 3,
    split: Annotated[Literal["valid", "test"], typer.Option("--split", help="Split to measure on.")] = "valid",
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Compare variants of a student recipe over several seeds.

    Distills every variant with every seed and prints how much each variant gains over the first. An interrupted
    comparison resumes where it stopped.
    """
    from edge_msa.workflows.compare import compare_students

    compare_students(
        recipe,
        teacher,
        output_dir,
        data=data,
        transfer=transfer or (),
        seeds=seeds,
        split=split,
        task=task,
        json=json,
    )
