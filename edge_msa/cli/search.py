"""`edge-msa sensitivity` and `edge-msa search`: which layers, and which students, pay on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Json, Output, OwnData, Seed, TaskName

tuning_app = typer.Typer()


@tuning_app.command()
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
        typer.Option("--max-distance", min=0, help="Distance from fp32's predictions, in their standard deviations."),
    ] = 0.05,
    seed: Seed = 0,
    task: TaskName = None,
) -> None:
    """Find which layers must stay float at int8, and draw what each costs; goes on where it stopped."""
    from edge_msa.workflows.sensitivity import find_mixed_precision

    find_mixed_precision(
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


@tuning_app.command()
def search(
    target: Annotated[str, typer.Option("--target", help="The device to search for; it is measured on this machine.")],
    data: Annotated[str, typer.Option("--data", help="A feature file, or `synthetic`; test is never read.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="Of all processes together.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs, bundles and the page go.")],
    storage: Annotated[
        str | None, typer.Option("--storage", help="A file or database URL to share; else DIR/search.db.")
    ] = None,
    teacher: Annotated[Path | None, typer.Option("--teacher", help="A run of edge-msa train; else made once.")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="A TOML file: [search.space], and the default [student].")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Of each trial; else the recipe's.")] = None,
    train_samples: Annotated[
        int | None, typer.Option("--train-samples", min=1, help="Train on so many, drawn by --seed; else on all.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=20, help="Trainings behind the answer.")] = 3,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=64, help="Processes to start here.")] = 1,
    seed: Seed = 0,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Search student recipes for accuracy, latency and size on a device; goes on where it stopped.

    The same command may run any number of times at once, also on other machines with the same --storage.
    """
    from edge_msa.search.context import Asked
    from edge_msa.workflows.search import search as run_search

    asked = Asked(target, data, trials, output_dir, storage, teacher, recipe, epochs, train_samples, seeds, seed, task)
    run_search(asked, jobs=jobs, json=json)
