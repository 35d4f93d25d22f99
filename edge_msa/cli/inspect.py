"""`edge-msa inspect`: check graphs for TensorRT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import BundleTarget, Dla, Json
from edge_msa.cli.paths import INPUT


def inspect(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE|FILE", help="Bundle, or one .onnx file."), INPUT],
    target: BundleTarget = None,
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
    """Check the graphs of a bundle for TensorRT compatibility, without a GPU.

    Checks every node against the rules of a TensorRT version. Exits with code 1 if a graph is not supported.

    Example:
        edge-msa inspect bundle-jetson --tensorrt 8.6
    """
    from edge_msa.console import print_json, print_result
    from edge_msa.workflows.inspect import inspect as run
    from edge_msa_export.errors import ExportError

    result = run(path, target=target, tensorrt=tensorrt, dla=dla)
    print_result(str(result))
    if json:
        print_json(result.to_json())
    if result.problem:
        raise ExportError(f"{result.target}: {result.problem}")
