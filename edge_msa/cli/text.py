"""`edge-msa text`: readers of raw words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import Device, Json, Layers, Output, Recipe, Seed, TrainingPrecision, Transcripts

text_app = typer.Typer(
    help="Make readers of raw words: language teachers, and students of theirs.", no_args_is_help=True
)


@text_app.command("train")
def text_train(
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
    )


@text_app.command("distill")
def text_distill(
    teacher: Annotated[list[Path], typer.Option("--teacher", help="A language run; repeat it to average several.")],
    transcripts: Transcripts,
    output_dir: Output,
    text_encoder: Annotated[
        Literal["table", "encoder"],
        typer.Option("--text-encoder", help="A static table, or the teacher's first layers."),
    ] = "table",
    layers: Layers = None,
    recipe: Recipe = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
) -> None:
    """Distill readers of words into a smaller one, over all the words of the transcripts."""
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
    )


@text_app.command("sweep")
def text_sweep(
    transcripts: Transcripts,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs, bundles, record and page go.")],
    encoder: Annotated[str, typer.Option("--encoder", help="A BERT-like folder or hub name, as for train.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="Trainings of each variant, 0, 1, ...")] = 3,
    layers: Annotated[
        list[int] | None, typer.Option("--layers", min=1, help="Layers of a variant between; repeatable. Else 3 and 1.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="What the bundles are for.")] = "laptop-x86",
    recipe: Recipe = None,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    json: Json = False,
) -> None:
    """All readers of words, from the whole encoder down to a table, exported and measured on one picture."""
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
        json=json,
    )
