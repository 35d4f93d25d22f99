"""`edge-msa calibrate`: choose the int8 ranges of a student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import CalibrationMethod, OutputDir, RunData, TaskName
from edge_msa.cli.paths import INPUT


def calibrate(
    output_dir: OutputDir,
    model: Annotated[
        Path, typer.Option("--model", metavar="RUN", help="Run of `edge-msa distill` or `edge-msa text`."), INPUT
    ],
    data: RunData = None,
    method: Annotated[
        CalibrationMethod, typer.Option("--method", help="How to compute the ranges from the statistics.")
    ] = "mse",
    num_samples: Annotated[
        int,
        typer.Option(
            "--num-samples", metavar="N", min=1, help="Number of training samples to collect statistics from."
        ),
    ] = 512,
    task: TaskName = None,
) -> None:
    """Collect activation statistics and choose int8 ranges."""
    from edge_msa.workflows.calibrate import calibrate_student

    calibrate_student(data, model, output_dir, method=method, num_samples=num_samples, task=task)
