"""`edge-msa data` and `edge-msa import`: what others made, looked at and brought in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Device, Json, Output, TaskName

data_app = typer.Typer(help="Look at feature files and convert them.", no_args_is_help=True)
import_app = typer.Typer(help="Make runs of checkpoints that others trained.", no_args_is_help=True)


@data_app.command("inspect")
def data_inspect(
    file: Annotated[str, typer.Argument(help="A feature file, or `synthetic`.")],
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Show splits, shapes, lengths, missing share, labels, and what was not finite."""
    from edge_msa.workflows.data import inspect

    inspect(file, task, json=json)


@data_app.command("encode")
def data_encode(
    file: Annotated[str, typer.Argument(help="A feature file that tells what was said.")],
    output: Annotated[Path, typer.Argument(help="The archive to write, ending in .npz.")],
    encoder: Annotated[str, typer.Option("--encoder", help="A BERT-like model: a folder, or a name on the hub.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longer utterances lose their end.")] = 64,
    layers: Annotated[int | None, typer.Option("--layers", help="Its first layers to keep; else all.")] = None,
    device: Device = "auto",
    task: TaskName = None,
) -> None:
    """Replace the language stream by a frozen encoder's token features of the raw text."""
    from edge_msa.workflows.encode import encode_language

    encode_language(file, output, encoder, max_tokens=max_tokens, layers=layers, device=device, task_name=task)


@data_app.command("convert")
def data_convert(
    file: Annotated[str, typer.Argument(help="A feature file, or `synthetic`.")],
    output: Annotated[Path, typer.Argument(help="The archive to write, ending in .npz.")],
    samples: Annotated[str | None, typer.Option("--samples", help="Of training, as in 0:2000; else all.")] = None,
    unlabeled: Annotated[bool, typer.Option("--unlabeled", help="Training samples alone, no labels.")] = False,
    task: TaskName = None,
) -> None:
    """Write a feature file as this project's own .npz archive."""
    from edge_msa.workflows.data import convert

    convert(file, output, task, samples=samples, unlabeled=unlabeled)


@import_app.command("almt")
def import_almt(
    checkpoint: Annotated[Path, typer.Argument(help="A state dict of the authors' code or of MMSA, a .pth file.")],
    output_dir: Output,
    task: Annotated[str, typer.Option("--task", help="What it was trained for: mosi, sims, emotions...")] = "mosi",
) -> None:
    """Read a checkpoint of ALMT, every size off its tensors, as a teacher."""
    from edge_msa.workflows.import_almt import import_checkpoint

    import_checkpoint(checkpoint, output_dir, task=task)
