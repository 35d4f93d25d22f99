"""`edge-msa devices` and `edge-msa inspect`: list devices, and check graphs for TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Dla, Json
from edge_msa.cli.paths import INPUT


def devices(json: Json = False) -> None:
    """List the devices that you can export for."""
    from edge_msa.workflows.inspect import list_devices

    list_devices(json=json)


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Bundle, or one .onnx file."), INPUT],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Device whose TensorRT version to check for.",
            show_default="the target of the bundle",
        ),
    ] = None,
    tensorrt: Annotated[
        str | None,
        typer.Option(
            "--tensorrt",
            metavar="VERSION",
            help="TensorRT version to check for, e.g. 8.5 or 10.3.",
            show_default="the version of the target",
        ),
    ] = None,
    dla: Dla = False,
    json: Json = False,
) -> None:
    """Check graphs for TensorRT compatibility.

    Checks every node against the rules of a TensorRT version. No GPU is needed. Exits with code 1 if a graph is not
    supported.
    """
    from edge_msa.workflows.inspect import inspect_path

    inspect_path(path, target=target, tensorrt=tensorrt, dla=dla, json=json)
