"""`edge-msa export`: write the bundle for a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import (
    ADVANCED,
    HOST_HELP,
    OUTPUT_DIR_HELP,
    PRECISION_HELP,
    REMOTE,
    AllowWorse,
    Dla,
    Features,
    Keep,
    MaxDistance,
    MaxDrop,
    Offline,
    RemotePython,
    RunData,
    SshOption,
    Target,
    TaskName,
)
from edge_msa.cli.paths import FOLDER, INPUT, Output
from edge_msa.errors import UsageError


def export(
    target: Target,
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]",
            help="Run of a student: of calibrate, sensitivity, distill or text.",
            show_default="runs/calibrated; if it does not exist, it is trained on the synthetic data",
        ),
        INPUT,
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "--output-dir",
            metavar="DIR",
            help=f"{OUTPUT_DIR_HELP} It appears only when it is complete.",
            show_default="bundle-TARGET",
        ),
        Output(FOLDER),
    ] = None,
    data: RunData = None,
    precision: Annotated[
        Literal["auto", "fp32", "fp16", "int8", "int4"],
        typer.Option(
            "--precision",
            metavar="NAME",
            help=PRECISION_HELP,
            show_default="auto, the fastest except int4 that passes the accuracy gate",
        ),
    ] = "auto",
    max_drop: MaxDrop = 1.0,
    max_distance: MaxDistance = 0.1,
    allow_worse_than_constant: AllowWorse = False,
    ir: Annotated[
        bool,
        typer.Option(
            "--ir",
            help="Store the OpenVINO graphs as OpenVINO IR, for use in other programs.",
            rich_help_panel=ADVANCED,
        ),
    ] = False,
    dla: Dla = False,
    torch_tensorrt: Annotated[
        bool,
        typer.Option(
            "--torch-tensorrt",
            help="Export torch programs for torch-tensorrt instead of a bundle.",
            rich_help_panel=ADVANCED,
        ),
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="USER@DEVICE",
            help=f"{HOST_HELP} It must be a device of the kind that --target names.",
            show_default="measure on this machine",
            rich_help_panel=REMOTE,
        ),
    ] = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    task: TaskName = None,
    features: Features = None,
    sign: Annotated[
        Path | None,
        typer.Option(
            "--sign",
            metavar="KEY",
            help="Sign the bundle with this private key, as edge-msa sign does. The key must have no password.",
            show_default="not signed",
        ),
        INPUT,
    ] = None,
) -> None:
    """Export a student as a verified bundle for one kind of device.

    Builds every precision, verifies it against torch, measures its accuracy and latency on the validation split, and
    chooses the fastest precision that passes the accuracy gate.

    Example:
        edge-msa export runs/calibrated --target laptop --output-dir bundle-laptop
    """
    if torch_tensorrt:
        bundle_options = {
            "--ir": ir,
            "--dla": dla,
            "--max-drop": max_drop != 1.0,
            "--max-distance": max_distance != 0.1,
            "--allow-worse-than-constant": allow_worse_than_constant,
            "--host": host is not None,
            "--features": features is not None,
            "--sign": sign is not None,
        }
        for name, is_used in bundle_options.items():
            if is_used:
                raise UsageError(f"{name} applies only to bundles. Omit it with --torch-tensorrt.")
        from edge_msa.workflows.export import export_programs

        export_programs(run, target=target, output_dir=output_dir, data=data, precision=precision, task=task)
        return
    from edge_msa.workflows.export import export as export_run

    export_run(
        run,
        target=target,
        output_dir=output_dir,
        data=data,
        precision=precision,
        max_drop=max_drop,
        max_distance=max_distance,
        ir=ir,
        dla=dla,
        host=host,
        ssh_options=ssh_option or (),
        python=python,
        keep=keep,
        offline=offline,
        allow_worse_than_constant=allow_worse_than_constant,
        task=task,
        features=features,
        sign=sign,
    )
