"""`edge-msa sensitivity`: find the layers that must stay in floating point in INT8 models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import MaxDistance, MaxDrop, OutputDir, RunData, Seed, Target, TaskName
from edge_msa.cli.paths import INPUT


def sensitivity(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run of `edge-msa calibrate`."), INPUT],
    output_dir: OutputDir,
    target: Target,
    data: RunData = None,
    budget: Annotated[
        float,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            min=0,
            help="Time limit of the search. When it is reached, the best plan so far is written.",
        ),
    ] = 120.0,
    max_drop: MaxDrop = 1.0,
    max_distance: MaxDistance = 0.05,
    seed: Seed = 0,
    task: TaskName = None,
) -> None:
    """Find the layers of a student that must stay in floating point at int8.

    Writes a calibrated run with a mixed-precision plan, and a plot of what each layer costs. An interrupted search
    resumes where it stopped.

    Example:
        edge-msa sensitivity runs/calibrated --target laptop --output-dir runs/mixed
    """
    from edge_msa.workflows.sensitivity import sensitivity as find_plan

    find_plan(
        run,
        target=target,
        output_dir=output_dir,
        data=data,
        budget=budget,
        max_drop=max_drop,
        max_distance=max_distance,
        seed=seed,
        task=task,
    )
