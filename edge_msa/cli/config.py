"""`edge-msa config`: list presets, show complete recipes, and validate recipe files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.completion import complete_preset
from edge_msa.cli.help import Command, Group
from edge_msa.cli.options import DATA_HELP, Json, Recipe
from edge_msa.cli.paths import INPUT

config_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Show and validate recipes, which contain the settings of training.\n\n"
    "A recipe is a TOML file for the option --recipe of other commands.\n\n"
    "Example:\n    edge-msa config show hrlf > recipe.toml",
)


@config_app.command("show", cls=Command)
def config_show(
    model: Annotated[
        Literal["hrlf", "almt", "student", "text"] | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Model whose recipe to show: hrlf, almt, student or text.",
            show_default="the settings of `edge-msa pipeline`, with its teacher and its student",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="NAME",
            help="Preset to start from. `edge-msa config list` lists them.",
            show_default="the recipe's, or else the preset for the data",
            autocompletion=complete_preset,
        ),
    ] = None,
    recipe: Recipe = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="FILE", help=DATA_HELP, show_default="the recipe's, or a file of your own"),
        INPUT,
    ] = None,
) -> None:
    """Print the complete recipe that a command uses, as TOML with comments.

    Edit the output and pass it to --recipe. The preset depends on the data, so pass the same --data to both commands.

    Example:
        edge-msa config show hrlf --data mosi.pkl > recipe.toml
    """
    from edge_msa.workflows.config import show_recipe

    show_recipe(model, preset=preset, recipe=recipe, data=data)


@config_app.command("validate", cls=Command)
def config_validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Recipe to check."), INPUT], json: Json = False
) -> None:
    """Check a recipe and print every error with its line and the nearest valid key.

    Exits with code 2 if there is an error.

    Example:
        edge-msa config validate recipe.toml
    """
    from edge_msa.workflows.config import validate_recipe

    validate_recipe(file, json=json)


@config_app.command("list", cls=Command)
def config_list(json: Json = False) -> None:
    """List the presets of all models and what they are for.

    Example:
        edge-msa config list
    """
    from edge_msa.workflows.config import list_presets

    list_presets(json=json)
