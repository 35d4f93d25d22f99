"""`edge-msa text`: train and distill text models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.help import Command, Group, SlowCommand
from edge_msa.cli.options import (
    ENCODER_HELP,
    LAYERS_HELP,
    Context,
    Device,
    EncoderLayers,
    Epochs,
    Json,
    OutputDir,
    Recipe,
    ResultsDir,
    ScoreTask,
    Seed,
    Seeds,
    Target,
    Teachers,
    TrainingPrecision,
    Transcripts,
)
from edge_msa.cli.paths import INPUT

_OTHER_ENCODERS = (
    "Or a run of `edge-msa text`, an .npz file with word vectors, or `wordpieces` for a table of new wordpieces."
)

text_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Train, distill and shrink text models, which take raw words.\n\n"
    "Example:\n    edge-msa text train --transcripts mosi.csv --encoder wordpieces \\\n      --output-dir words",
)
MoreTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--texts",
        metavar="FILE",
        help="File with more transcripts, whose labels are ignored. Repeat the option for several files.",
        show_default="none",
    ),
    INPUT,
]


@text_app.command("train", cls=SlowCommand)
def text_train(
    transcripts: Transcripts,
    output_dir: OutputDir,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help=f"{ENCODER_HELP} {_OTHER_ENCODERS}",
        ),
        INPUT,
    ],
    layers: EncoderLayers = None,
    context: Context = None,
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    task: ScoreTask = None,
) -> None:
    r"""Train a text model on transcripts with labels.

    The last file determines the task, and its validation split selects the best epoch.

    Example:
        edge-msa text train --transcripts mosi.csv --encoder wordpieces \
          --output-dir words
    """
    from edge_msa.workflows.text import train_text

    train_text(
        transcripts,
        encoder=encoder,
        output_dir=output_dir,
        layers=layers,
        context=context,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        device=device,
        precision=precision,
        task=task,
    )


@text_app.command("distill", cls=SlowCommand)
def text_distill(
    teacher: Teachers,
    transcripts: Transcripts,
    output_dir: OutputDir,
    texts: MoreTexts = None,
    text_encoder: Annotated[
        Literal["table", "encoder"],
        typer.Option(
            "--text-encoder",
            metavar="NAME",
            help="Text encoder of the student: table (static embeddings) or encoder (layers of a Transformer).",
        ),
    ] = "table",
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help=f"{ENCODER_HELP} {_OTHER_ENCODERS} The student starts from this encoder.",
            show_default="that of the first teacher",
        ),
        INPUT,
    ] = None,
    layers: EncoderLayers = None,
    context: Context = None,
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    task: ScoreTask = None,
) -> None:
    """Distill one or several text models into a smaller one.

    The student learns from the teachers' predictions on all transcripts, labeled or not. It starts from the first
    teacher, or from --encoder.

    Example:
        edge-msa text distill --teacher words --transcripts mosi.csv --output-dir out
    """
    from edge_msa.workflows.text import distill_text

    distill_text(
        teacher,
        transcripts=transcripts,
        output_dir=output_dir,
        texts=texts or (),
        text_encoder=text_encoder,
        encoder=encoder,
        layers=layers,
        context=context,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        device=device,
        precision=precision,
        task=task,
    )


@text_app.command("prune-vocabulary", cls=Command)
def text_prune_vocabulary(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run of a text model."), INPUT],
    transcripts: Transcripts,
    output_dir: OutputDir,
    words: Annotated[
        Path | None,
        typer.Option(
            "--words",
            metavar="FILE",
            help="Text file with words to keep, one at the start of each line, such as a frequency list.",
            show_default="none",
        ),
        INPUT,
    ] = None,
) -> None:
    r"""Remove the tokens that transcripts do not need from the vocabulary of a text model.

    Makes multilingual encoders much smaller. Keeps the tokens of the train and valid splits, and the single characters
    of their scripts. Predictions for these texts stay the same. Prints the sizes.

    Example:
        edge-msa text prune-vocabulary words --transcripts mosi.csv \
          --output-dir small
    """
    from edge_msa.workflows.text_vocabulary import prune_vocabulary

    prune_vocabulary(run, transcripts=transcripts, output_dir=output_dir, words=words)


@text_app.command("sweep", cls=SlowCommand)
def text_sweep(
    transcripts: Transcripts,
    output_dir: ResultsDir,
    encoder: Annotated[
        list[str],
        typer.Option(
            "--encoder",
            metavar="NAME",
            help=f"{ENCODER_HELP} Repeat the option for teachers with different encoders.",
        ),
        INPUT,
    ],
    texts: MoreTexts = None,
    student_encoder: Annotated[
        str | None,
        typer.Option(
            "--student-encoder",
            metavar="NAME",
            help="Encoder that the smaller models start from, as --encoder of `edge-msa text distill`.",
            show_default="that of the best teacher",
        ),
        INPUT,
    ] = None,
    seeds: Seeds = 3,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            "--layers",
            metavar="LAYERS",
            help=f"{LAYERS_HELP} Repeat the option for several sizes.",
            show_default="3 and 1",
        ),
    ] = None,
    target: Target = "laptop-x86",
    recipe: Recipe = None,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    task: ScoreTask = None,
    json: Json = False,
) -> None:
    r"""Train, distill, export and compare text models of several sizes.

    Trains the whole encoders, distills those that are best on validation into smaller encoders and a static table,
    exports and measures each size, and plots accuracy over latency on one page.

    Example:
        edge-msa text sweep --transcripts mosi.csv --output-dir sizes \
          --encoder sentence-transformers/all-MiniLM-L6-v2
    """
    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.text_sweep import sweep_text

    result = sweep_text(
        transcripts,
        encoder=encoder,
        output_dir=output_dir,
        texts=texts or (),
        student_encoder=student_encoder,
        seeds=seeds,
        layers=layers or (3, 1),
        target=target,
        recipe=recipe,
        device=device,
        precision=precision,
        task=task,
    )
    print_result(f"\n{result}\n")
    print_output("record", result.path)
    print_output("page", result.page)
    if json:
        print_json(result.to_json())
