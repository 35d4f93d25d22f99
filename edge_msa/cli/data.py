"""`edge-msa data` and `edge-msa import`: inspect and convert feature files, and import checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.help import Command, Group
from edge_msa.cli.options import (
    ADVANCED,
    DATA_HELP,
    TASK_HELP,
    Archive,
    ClipLabels,
    Device,
    Encoder,
    EncoderLayers,
    Features,
    Json,
    OutputDir,
    TaskName,
)
from edge_msa.cli.paths import INPUT

data_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Inspect, convert and encode feature files.\n\nExample:\n    edge-msa data inspect synthetic",
)
import_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Import checkpoints of other projects as teachers.\n\n"
    "Example:\n    edge-msa import almt almt-mosi.pth --output-dir runs/almt",
)

Source = Annotated[str, typer.Argument(metavar="FILE", help=DATA_HELP), INPUT]


@data_app.command("inspect", cls=Command)
def data_inspect(file: Source, task: TaskName = None, clip_labels: ClipLabels = None, json: Json = False) -> None:
    """Show the splits, shapes, lengths, labels and invalid values of a feature file.

    Example:
        edge-msa data inspect synthetic
    """
    from edge_msa.cli.next_commands import suggest_for_data
    from edge_msa.console import print_json, print_next, print_note, print_result
    from edge_msa.workflows.data import inspect_data

    inspection = inspect_data(file, task=task, clip_labels=clip_labels)
    print_result(str(inspection))
    if inspection.is_labeled and inspection.training_problem:
        print_note(inspection.training_problem)
    if command := suggest_for_data(file, inspection, task=task):
        print_next(command)
    if json:
        print_json(inspection.to_json())


@data_app.command("encode", cls=Command)
def data_encode(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Feature file with transcripts."), INPUT],
    output: Archive,
    encoder: Encoder,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", metavar="N", help="Number of tokens after which an utterance is truncated.")
    ] = 64,
    layers: EncoderLayers = None,
    device: Device = "auto",
    task: TaskName = None,
    clip_labels: ClipLabels = None,
) -> None:
    r"""Replace the language features of a file with those of a text encoder.

    A frozen encoder computes the features of each token from the transcripts in the file.

    Example:
        edge-msa data encode mosi.pkl --output mosi-minilm.npz \
          --encoder sentence-transformers/all-MiniLM-L6-v2
    """
    from edge_msa.workflows.data import encode_data

    encode_data(
        file,
        output=output,
        encoder=encoder,
        max_tokens=max_tokens,
        layers=layers,
        device=device,
        task=task,
        clip_labels=clip_labels,
    )


@data_app.command("convert", cls=Command)
def data_convert(
    file: Source,
    output: Archive,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples", metavar="SLICE", help="Slice of training samples to keep, e.g. 0:2000.", show_default="all"
        ),
    ] = None,
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Write only the training samples, without labels.")
    ] = False,
    draw_splits: Annotated[
        bool,
        typer.Option(
            "--draw-splits",
            help="If valid or test is missing, draw it at random: 15 % of the training videos for each.",
        ),
    ] = False,
    task: TaskName = None,
    clip_labels: ClipLabels = None,
    features: Features = None,
) -> None:
    """Convert a feature file to the archive format of this project (.npz).

    Example:
        edge-msa data convert synthetic --samples 0:2000 --output small.npz
    """
    from edge_msa.workflows.data import convert_data

    convert_data(
        file,
        output=output,
        task=task,
        samples=samples,
        unlabeled=unlabeled,
        draw_splits=draw_splits,
        clip_labels=clip_labels,
        features=features,
    )


@import_app.command("almt", cls=Command)
def import_almt(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="State dict that the ALMT authors' code or MMSA saved."),
        INPUT,
    ],
    output_dir: OutputDir,
    task: Annotated[str, typer.Option("--task", metavar="NAME", help=TASK_HELP, rich_help_panel=ADVANCED)] = "mosi",
) -> None:
    """Import a checkpoint of ALMT as a teacher.

    All layer sizes are inferred from the shapes of the tensors.

    Example:
        edge-msa import almt almt-mosi.pth --output-dir runs/almt
    """
    from edge_msa.workflows.import_almt import import_almt as run

    run(checkpoint, output_dir=output_dir, task=task)
