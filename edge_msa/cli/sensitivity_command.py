"""`edge-msa sensitivity`, beside the other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.app import Output, OwnData, Seed, TaskName, app

__all__ = ["app"]


@app.command()
def sensitivity(
    output_dir: Output,
    model: Annotated[Path, typer.Option("--model", help="The run of edge-msa calibrate.")],
    target: Annotated[str, typer.Option("--target", help="A device, a family or a TOML file: see edge-msa devices.")],
    data: OwnData = None,
    budget: Annotated[float, typer.Option("--budget", min=0, help="Seconds; the best so far is kept.")] = 120.0,
    max_drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Points that may be lost on the worst subset.")
    ] = 1.0,
    max_distance: Annotated[
        float,
        typer.Option("--max-distance", min=0, help="Distance from fp32's readings, in their standard deviations."),
    ] = 0.05,
    seed: Seed = 0,
    task: TaskName = None,
) -> None:
    """Find which layers must stay float at int8, and draw what each costs; goes on where it stopped."""
    from edge_msa.flow.sensitivity import find_placement

    find_placement(
        target,
        model,
        output_dir,
        data=data,
        budget=budget,
        max_drop=max_drop,
        max_distance=max_distance,
        seed=seed,
        task=task,
    )
