"""`edge-msa pipeline`: run all steps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.options import Json, TaskName
from edge_msa.cli.paths import CONTAINER, INPUT, Output


def pipeline(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE.toml", help="TOML file with settings.", show_default="the built-in settings"),
        INPUT,
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help="Feature file.", show_default="the recipe's, or `synthetic`"),
        INPUT,
    ] = None,
    output_dir: Annotated[
        Path,
        typer.Option("--output-dir", metavar="DIR", help="Folder for the runs, the bundles and the report."),
        Output(CONTAINER),
    ] = Path("runs"),
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Run all steps, from training to the report.

    Trains a teacher, distills, calibrates and exports a student, measures it and writes a report. Steps that are up to
    date are skipped. An interrupted pipeline resumes where it stopped.
    """
    from edge_msa.workflows.pipeline import run_pipeline

    run_pipeline(recipe, data, output_dir, task=task, json=json)
