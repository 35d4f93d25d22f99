"""`edge-msa distill` and `edge-msa compare`: students, and what makes one better than another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import (
    Compile,
    Device,
    Epochs,
    Json,
    Language,
    Output,
    OwnData,
    Recipe,
    Seed,
    TaskName,
    TensorBoard,
    TrainingPrecision,
)

students_app = typer.Typer()

Transfer = Annotated[
    list[str] | None, typer.Option("--transfer", help="More training samples, with labels or without; repeatable.")
]


@students_app.command()
def distill(
    output_dir: Output,
    teacher: Annotated[list[Path], typer.Option("--teacher", help="A run of train, import or distill; repeatable.")],
    data: OwnData = None,
    transfer: Transfer = None,
    qat: Annotated[
        Path | None, typer.Option("--qat", help="A run of calibrate: train its student on, as in int8.")
    ] = None,
    language: Language = None,
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    tensorboard: TensorBoard = None,
    task: TaskName = None,
) -> None:
    """Distill one teacher or several into the student that devices run."""
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.distill import distill_student

    distill_student(
        data,
        teacher,
        output_dir,
        transfer=transfer or (),
        qat=qat,
        language=language,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        hardware=Hardware(device, precision, compiled, tensorboard),
        task=task,
    )


@students_app.command()
def compare(
    recipe: Annotated[Path, typer.Argument(help="A TOML file with [student] and a table [variants.NAME] each.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where the runs go.")],
    teacher: Annotated[list[Path], typer.Option("--teacher", help="As distill takes it; repeatable.")],
    data: OwnData = None,
    transfer: Transfer = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Trainings a variant, seeds 0, 1, ...")] = 3,
    split: Annotated[Literal["valid", "test"], typer.Option("--split", help="Which split to measure on.")] = "valid",
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Distill students that differ in one thing, several seeds each, and print what it is baseline check; goes on if killed."""
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
