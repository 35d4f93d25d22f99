"""`edge-msa devices` and `edge-msa inspect`: targets, and what they will make of graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Dla, Json

looking_app = typer.Typer()


@looking_app.command()
def devices(
    json: Json = False,
) -> None:
    """List the devices that export knows."""
    from edge_msa.workflows.devices import list_devices

    list_devices(json=json)


@looking_app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A bundle, or one .onnx file.")],
    target: Annotated[
        str | None, typer.Option("--target", help="A device: its TensorRT; else the bundle's own.")
    ] = None,
    tensorrt: Annotated[str | None, typer.Option("--tensorrt", help="A version of TensorRT, as 8.5 or 10.3.")] = None,
    dla: Dla = False,
    json: Json = False,
) -> None:
    """Hold graphs against what a TensorRT reads, node by node, without a GPU; exit code 1 where it refuses one."""
    from edge_msa.workflows.inspect import inspect_path

    inspect_path(path, target=target, tensorrt=tensorrt, dla=dla, json=json)
