"""`edge-msa language`: readers of raw words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import Device, Layers, Output, Recipe, Seed, TrainingPrecision, Transcripts

language_app = typer.Typer(
    help="Make readers of raw words: language teachers, and students of theirs.", no_args_is_help=True
)


@language_app.command("train")
def language_train(
    transcripts: Transcripts,
    output_dir: Output,
    encoder: Annotated[
        str,
        typer.Option("--encoder", help="A BERT-like folder or hub name; an .npz of word vectors; or `wordpieces`."),
    ],
    layers: Layers = None,
    recipe: Recipe = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
) -> None:
    """Train a reader of words on transcripts with scores; the last file's task and validation split count."""
    from edge_msa.flow.language import train_language
    from edge_msa.training.engine import Hardware

    train_language(
        transcripts,
        output_dir,
        encoder=encoder,
        layers=layers,
        recipe=recipe,
        seed=seed,
        hardware=Hardware(device, precision),
    )


@language_app.command("distill")
def language_distill(
    teacher: Annotated[list[Path], typer.Option("--teacher", help="A language run; repeat it to average several.")],
    transcripts: Transcripts,
    output_dir: Output,
    front: Annotated[
        Literal["table", "encoder"], typer.Option("--front", help="A static table, or the teacher's first layers.")
    ] = "table",
    layers: Layers = None,
    recipe: Recipe = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
) -> None:
    """Distil readers of words into a smaller one, over all the words of the transcripts."""
    from edge_msa.flow.language import distill_language
    from edge_msa.training.engine import Hardware

    distill_language(
        teacher,
        transcripts,
        output_dir,
        front=front,
        layers=layers,
        recipe=recipe,
        seed=seed,
        hardware=Hardware(device, precision),
    )
