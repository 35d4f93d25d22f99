"""`edge-msa data` and `edge-msa import`: inspect and convert feature files, and import checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.help import Command
from edge_msa.cli.options import ClipLabels, Encoder, Json, OutputDir, TaskName
from edge_msa.cli.paths import FILE, INPUT, Output

data_app = typer.Typer(help="Inspect and convert feature files.", no_args_is_help=True)
import_app = typer.Typer(help="Import checkpoints from other projects.", no_args_is_help=True)

Source = Annotated[str, typer.Argument(metavar="FILE", help="Feature file, or `synthetic`."), INPUT]
Archive = Annotated[Path, typer.Argument(metavar="OUTPUT.npz", help="Archive to write."), Output(FILE)]


@data_app.command("inspect", cls=Command)
def data_inspect(file: Source, task: TaskName = None, clip_labels: ClipLabels = None, json: Json = False) -> None:
    """Show splits, shapes, lengths, labels and invalid values."""
    from edge_msa.workflows.data import inspect

    inspect(file, task, clip_labels=clip_labels, json=json)


@data_app.command("encode", cls=Command)
def data_encode(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Feature file with transcripts."), INPUT],
    output: Archive,
    encoder: Encoder,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", metavar="N", help="Number of tokens after which an utterance is truncated.")
    ] = 64,
    layers: Annotated[
        int | None,
        typer.Option(
            "--layers", metavar="N", help="Number of encoder layers to use, from the first.", show_default="all"
        ),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Device to run the encoder on: auto, cpu or cuda.")
    ] = "auto",
    task: TaskName = None,
    clip_labels: ClipLabels = None,
) -> None:
    """Encode transcripts as language features.

    Replaces the language features of the file with the token features that a frozen encoder computes from the text.
    """
    from edge_msa.workflows.data import encode_language

    encode_language(
        file,
        output,
        encoder,
        max_tokens=max_tokens,
        layers=layers,
        device=device,
        task_name=task,
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
    task: TaskName = None,
    clip_labels: ClipLabels = None,
) -> None:
    """Convert a feature file to the project's .npz archive."""
    from edge_msa.workflows.data import convert

    convert(file, output, task, samples=samples, unlabeled=unlabeled, clip_labels=clip_labels)


@import_app.command("almt", cls=Command)
def import_almt(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="FILE.pth", help="State dict that the ALMT authors' code or MMSA saved."),
        INPUT,
    ],
    output_dir: OutputDir,
    task: Annotated[
        str,
        typer.Option("--task", metavar="NAME", help="Task of the checkpoint: mosi, sims, emotions or regression."),
    ] = "mosi",
) -> None:
    """Import a checkpoint of ALMT as a teacher.

    All layer sizes are inferred from the shapes of the tensors.
    """
    from edge_msa.workflows.import_almt import import_checkpoint

    import_checkpoint(checkpoint, output_dir, task=task)
