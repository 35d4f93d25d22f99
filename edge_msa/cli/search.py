"""`edge-msa search`: search for student architectures on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.completion import complete_target
from edge_msa.cli.options import (
    ADVANCED,
    DATA_HELP,
    RECIPE_HELP,
    SEEDS_HELP,
    TARGET_HELP,
    Epochs,
    Json,
    ResultsDir,
    Seed,
    TaskName,
)
from edge_msa.cli.paths import FILE, INPUT, Output


def search(
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="NAME",
            help=f"{TARGET_HELP} Latency is measured here, so this machine must be a device of that kind.",
            autocompletion=complete_target,
        ),
    ],
    data: Annotated[
        str,
        typer.Option("--data", metavar="FILE", help=f"{DATA_HELP} The test split is not used."),
        INPUT,
    ],
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, help="Total number of trials across all workers.")
    ],
    output_dir: ResultsDir,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            help="File or database URL that workers share.",
            show_default="search.db in --output-dir",
            rich_help_panel=ADVANCED,
        ),
        Output(FILE, replaceable="*"),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="RUN",
            help="Run of a teacher.",
            show_default="train one teacher, HRLF unless the recipe names another",
        ),
        INPUT,
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="FILE",
            help=f"{RECIPE_HELP} Its table [search.space] has the values to try.",
            show_default="the built-in search space",
        ),
        INPUT,
    ] = None,
    epochs: Epochs = None,
    num_samples: Annotated[
        int | None,
        typer.Option(
            "--num-samples",
            metavar="N",
            min=1,
            help="Number of training samples to use. They are drawn with --seed.",
            show_default="all",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=1, max=20, help=f"{SEEDS_HELP} Only the best trials are trained again."
        ),
    ] = 3,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, max=64, help="Number of workers to start on this machine.")
    ] = 1,
    seed: Seed = 0,
    task: TaskName = None,
    json: Json = False,
) -> None:
    r"""Search for student architectures that are accurate, fast and small on a device.

    You can run the same command several times at once, also on other machines with the same --storage.

    Example:
        edge-msa search --target laptop-x86 --data synthetic --trials 20 \
          --output-dir searched
    """
    import time

    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.search import search as run

    started = time.monotonic()
    result = run(
        data,
        target=target,
        trials=trials,
        output_dir=output_dir,
        storage=storage,
        teacher=teacher,
        recipe=recipe,
        epochs=epochs,
        num_samples=num_samples,
        seeds=seeds,
        jobs=jobs,
        seed=seed,
        task=task,
    )
    print_result(f"\n{result}")
    print_result(f"Finished in {time.monotonic() - started:.0f} s.")
    print_output("Pareto front", result.bundles)
    print_output("page", result.page)
    if json:
        print_json(result.to_json())
