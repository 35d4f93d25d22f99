"""`edge-msa text`: train and distill text models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.help import Command
from edge_msa.cli.options import (
    Device,
    Encoder,
    EncoderLayers,
    Json,
    OutputDir,
    Recipe,
    ScoreTask,
    Seed,
    TrainingPrecision,
    Transcripts,
)
from edge_msa.cli.paths import CONTAINER, INPUT, Output

text_app = typer.Typer(help="Train and distill models of raw text.", no_args_is_help=True)


@text_app.command("train", cls=Command)
def text_train(
    transcripts: Transcripts,
    output_dir: OutputDir,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="BERT-like encoder (a folder or a name on the Hugging Face Hub), .npz file with word vectors, or "
            "`wordpieces` for a trained table.",
        ),
        INPUT,
    ],
    layers: EncoderLayers = None,
    recipe: Recipe = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    task: ScoreTask = None,
) -> None:
    """Train a text model on transcripts with scores.

    The last file determines the task, and its validation split selects the best epoch.
    """
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.text import train_text_model

    train_text_model(
        transcripts,
        output_dir,
        encoder=encoder,
        layers=layers,
        recipe=recipe,
        seed=seed,
        hardware=Hardware(device, precision),
        task=task,
    )


@text_app.command("distill", cls=Command)
def text_distill(
    teacher: Annotated[
        list[Path],
        typer.Option(
            "--teacher",
            metavar="RUN",
            help="Run of `edge-msa text`. Repeat the option to learn from the average of several teachers.",
        ),
        INPUT,
    ],
    transcripts: Transcripts,
    output_dir: OutputDir,
    text_encoder: Annotated[
        Literal["table", "encoder"],
        typer.Option("--text-encoder", help="Static embedding table, or the first layers of the teacher's encoder."),
    ] = "table",
    layers: EncoderLayers = None,
    recipe: Recipe = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    task: ScoreTask = None,
) -> None:
    """Distill text models into a smaller one.

    The student learns from the teachers' predictions on all transcripts, with or without scores.
    """
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.text import distill_text_model

    distill_text_model(
        teacher,
        transcripts,
        output_dir,
        text_encoder=text_encoder,
        layers=layers,
        recipe=recipe,
        seed=seed,
        hardware=Hardware(device, precision),
        task=task,
    )


@text_app.command("sweep", cls=Command)
def text_sweep(
    transcripts: Transcripts,
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", metavar="DIR", help="Folder for the runs, the bundles and the page."),
        Output(CONTAINER),
    ],
    encoder: Encoder,
    seeds: Annotated[
        int,
        typer.Option("--seeds", metavar="N", min=1, max=100, help="Number of trainings per size, with seeds 0, 1, ..."),
    ] = 3,
    layers: Annotated[
        list[int] | None,
        typer.Option(
            "--layers",
            metavar="N",
            min=1,
            help="Number of layers of a smaller encoder. Repeat the option for several sizes.",
            show_default="3 and 1",
        ),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="Device to export for. `edge-msa devices` lists the names.")
    ] = "laptop-x86",
    recipe: Recipe = None,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    task: ScoreTask = None,
    json: Json = False,
) -> None:
    """Compare text models of all sizes.

    Trains the whole encoder, distills it into smaller encoders and a static table, exports and measures each size, and
    plots accuracy over latency on one page. An interrupted sweep resumes where it stopped.
    """
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.text_sweep import run_text_sweep

    run_text_sweep(
        transcripts,
        encoder,
        output_dir,
        seeds=seeds,
        layers=layers or (3, 1),
        target=target,
        recipe=recipe,
        hardware=Hardware(device, precision),
        task=task,
        json=json,
    )
