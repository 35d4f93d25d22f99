"""`edge-msa calibrate`: choose the int8 ranges of a student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import CalibrationMethod, OutputDir, RunData, TaskName
from edge_msa.cli.paths import INPUT


def calibrate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run of `edge-msa distill` or `edge-msa text`."), INPUT],
    output_dir: OutputDir,
    data: RunData = None,
    method: Annotated[
        CalibrationMethod,
        typer.Option(
            "--method",
            metavar="NAME",
            help="How to compute the ranges from the statistics: minmax, percentile, entropy or mse.",
        ),
    ] = "mse",
    num_samples: Annotated[
        int, typer.Option("--num-samples", metavar="N", min=1, help="Number of training samples to use.")
    ] = 512,
    task: TaskName = None,
) -> None:
    """Choose the int8 ranges of a student from statistics of its activations.

    Collects the statistics on training samples, over a mix of subsets of modalities.

    Example:
        edge-msa calibrate runs/student --output-dir runs/calibrated
    """
    from edge_msa.workflows.calibrate import calibrate as calibrate_run

    calibrate_run(run, output_dir=output_dir, data=data, method=method, num_samples=num_samples, task=task)
