"""`edge-msa language`: readers of raw words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import Device, Json, Layers, Output, Recipe, Seed, TrainingPrecision, Transcripts

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


@language_app.command("ladder")
def language_ladder(
    transcripts: Transcripts,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs, bundles, record and page go.")],
    encoder: Annotated[str, typer.Option("--encoder", help="A BERT-like folder or hub name, as for train.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Trainings of each rung, 0, 1, ...")] = 3,
    layers: Annotated[
        list[int] | None, typer.Option("--layers", min=1, help="Layers of a rung between; repeatable. Else 3 and 1.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="What the bundles are for.")] = "laptop-x86",
    recipe: Recipe = None,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    json: Json = False,
) -> None:
    """All readers of words, from the whole encoder down to a table, exported and measured on one picture."""
    from edge_msa.flow.ladder import climb
    from edge_msa.training.engine import Hardware

    climb(
        transcripts,
        encoder,
        output_dir,
        seeds=seeds,
        layers=layers or (3, 1),
        target=target,
        recipe=recipe,
        hardware=Hardware(device, precision),
        json=json,
    )
