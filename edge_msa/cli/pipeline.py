"""`edge-msa pipeline`: run all steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import DATA_HELP, RECIPE_HELP, AllowWorse, Epochs, Json, ResultsDir, TaskName
from edge_msa.cli.paths import INPUT


def pipeline(
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="FILE", help=RECIPE_HELP, show_default="the built-in settings"),
        INPUT,
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help=DATA_HELP, show_default="the recipe's, or synthetic"),
        INPUT,
    ] = None,
    output_dir: ResultsDir = Path("runs"),
    epochs: Epochs = None,
    allow_worse_than_constant: AllowWorse = False,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Run all steps, from training a teacher to bundles and a report.

    Trains a teacher, distills, calibrates and exports a student, measures it and writes a report. Steps that are up to
    date are skipped.

    Example:
        edge-msa pipeline --data synthetic --output-dir runs
    """
    import time

    from edge_msa.console import print_json, print_output, print_result
    from edge_msa.workflows.pipeline import Pipeline

    started = time.monotonic()
    pipeline = Pipeline(
        data,
        output_dir=output_dir,
        recipe=recipe,
        epochs=epochs,
        allow_worse_than_constant=allow_worse_than_constant or None,
        task=task,
    )
    result = pipeline.run()
    print_result(str(result))
    print_output("report", result.report.path)
    print_result(f"Finished in {time.monotonic() - started:.0f} s.")
    if json:
        print_json(result.to_json())
