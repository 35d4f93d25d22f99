"""`edge-msa cascade`: make one model of several bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import DATA_HELP, BundleBackend, BundlePrecision, Json, OutputDir, TaskName
from edge_msa.cli.paths import INPUT


def cascade(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLES", help="Two to four bundles, smallest first."), INPUT
    ],
    data: Annotated[str, typer.Option("--data", metavar="FILE", help=DATA_HELP), INPUT],
    output_dir: OutputDir,
    mean_cost: Annotated[
        float,
        typer.Option(
            "--mean-cost",
            metavar="SHARE",
            help="Limit of the mean time of a prediction, as a share of the last bundle's: above 0, at most 1.",
        ),
    ] = 0.4,
    backend: BundleBackend = "auto",
    precision: BundlePrecision = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Make a cascade of bundles, which asks a larger bundle only if the answer of a smaller one is uncertain.

    Measures the time of each bundle on this machine. Chooses on the validation split when to ask the next bundle, so
    that the mean time stays within --mean-cost. Prints the error for several mean times.

    Example:
        edge-msa cascade bundle-table bundle-base --data mosi.npz --output-dir cascade
    """
    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.cascade import cascade as run

    made = run(
        bundles,
        data=data,
        output_dir=output_dir,
        mean_cost=mean_cost,
        backend=backend,
        precision=precision,
        task=task,
    )
    print_result(str(made))
    print_output("cascade", output_dir, f"edge-msa evaluate {output_dir} --data {data}")
    if json:
        print_json(made.to_json())
