"""`edge-msa search`: search for student architectures on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Json, Seed, TaskName
from edge_msa.cli.paths import CONTAINER, FILE, INPUT, Output


def search(
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Device to search for. Latency is measured here, so this machine must be a device of that kind.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option("--data", metavar="FILE", help="Feature file, or `synthetic`. The test split is not used."),
        INPUT,
    ],
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, help="Total number of trials across all workers.")
    ],
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", metavar="DIR", help="Folder for the runs, the bundles and the page."),
        Output(CONTAINER),
    ],
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="File or database URL that workers share.",
            show_default="search.db in --output-dir",
        ),
        Output(FILE, replaceable="*"),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="RUN",
            help="Run of `edge-msa train`.",
            show_default="train one teacher, HRLF unless the recipe names another",
        ),
        INPUT,
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="FILE.toml",
            help="TOML file with [search.space] and the default [student].",
            show_default="the built-in search space",
        ),
        INPUT,
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, help="Epochs of each trial.", show_default="the recipe's"),
    ] = None,
    train_samples: Annotated[
        int | None,
        typer.Option(
            "--train-samples",
            metavar="N",
            min=1,
            help="Number of training samples, drawn with --seed.",
            show_default="all",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, max=20, help="Number of seeds that the best recipes are trained with."
        ),
    ] = 3,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, max=64, help="Number of workers to start on this machine.")
    ] = 1,
    seed: Seed = 0,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Find student architectures for a device.

    Optimizes accuracy, latency and size together. An interrupted search resumes where it stopped. You can run the same
    command several times at once, also on other machines with the same --storage.
    """
    from edge_msa.architecture_search.context import SearchConfig
    from edge_msa.workflows.search import search as run_search

    config = SearchConfig(
        target=target,
        data=data,
        trials=trials,
        output_dir=output_dir,
        storage=storage,
        teacher=teacher,
        recipe=recipe,
        epochs=epochs,
        train_samples=train_samples,
        seeds=seeds,
        seed=seed,
        task=task,
    )
    run_search(config, jobs=jobs, json=json)
