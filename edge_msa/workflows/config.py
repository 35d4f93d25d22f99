"""`edge-msa config`: list presets, show the complete recipe of a command, and validate recipe files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from edge_msa.architecture_search.space import flatten_recipe, nest_params, parse_space
from edge_msa.config.effective import ModelTable, format_model, format_pipeline
from edge_msa.config.recipes import (
    PRESET_TABLES,
    SECTIONS,
    TABLES,
    load_tables,
    preset_description,
    preset_names,
    read_toml,
    recipe_problems,
    student_recipe,
    table_problems,
)
from edge_msa.config.section import Problem
from edge_msa.config.settings import PipelineRecipe
from edge_msa.config.students import StudentRecipe
from edge_msa.config.toml_lines import find_line
from edge_msa.console import print_json, print_next, print_result
from edge_msa.data.opening import SYNTHETIC, is_synthetic
from edge_msa.errors import UsageError
from edge_msa.text_tables import text_table
from edge_msa.workflows.api import next_step
from edge_msa_export.profiles import PRECISIONS

_OWN_DATA = "FILE"
"""Stands for a file of the user, for which the presets `default` are."""
_COMMANDS = {
    "hrlf": "train --model hrlf --output-dir teacher",
    "almt": "train --model almt --output-dir teacher",
    "student": "distill --teacher TEACHER --output-dir student",
    "text": "text train --transcripts FILE --encoder wordpieces --output-dir words",
}
"""The command that takes the settings of a model without a table."""


@dataclass(frozen=True)
class RecipeError:
    """An error in a recipe file."""

    line: int | None
    """Line, counted from 1. None if the file has no such line."""
    key: str
    """Table and key, as `student.msm.inter`."""
    message: str
    """What is wrong, and what to do."""


def list_presets(*, json: bool = False) -> None:
    """Print the presets of all models, or the same as JSON."""
    presets = [
        (table, name, preset_description(table, name)) for table in PRESET_TABLES for name in preset_names(table)
    ]
    if json:
        print_json({table: {name: text for item, name, text in presets if item == table} for table in PRESET_TABLES})
        return
    rows = [[table, name, re.split(r"[.:] ", text)[0].rstrip(".") + "."] for table, name, text in presets]
    print_result(text_table(["model", "preset", "what it is for"], rows, left=2, texts=1))


def show_recipe(
    model: ModelTable | None = None, *, preset: str | None = None, recipe: Path | None = None, data: str | None = None
) -> None:
    """Print the complete recipe of a model or of the pipeline as TOML, with a comment above every key.

    Args:
        model: The model. None for what `edge-msa pipeline` uses: its settings, its teacher and its student.
        preset: Preset to start from (default: the recipe's, or else the preset for the data). It needs a model.
        recipe: Recipe file whose values are shown instead of those of the preset.
        data: The data to train on, which selects the preset (default: the recipe's, or else a file of your own).

    Raises:
        UsageError: The recipe or the preset is not valid, or there is a preset without a model.
    """
    tables = load_tables(recipe)
    if model is not None:
        values = {**tables.get(model, {}), **({} if preset is None else {"preset": preset})}
        head = "" if model == "text" else _header(data or _OWN_DATA, values)
        print_result(head + format_model(model, values, data or _OWN_DATA).rstrip())
        return
    if preset is not None:
        raise UsageError(f"--preset needs a model. Pass one of {', '.join(get_args(ModelTable))}.")
    settings = PipelineRecipe().updated(tables.get("pipeline", {}), where="pipeline")
    source = data or str(tables.get("pipeline", {}).get("data", _OWN_DATA))
    header = _header(source, tables.get(settings.teacher, {}))
    parts = [f"{header}{format_pipeline(tables.get('pipeline', {}), data=data)}"]
    models: tuple[ModelTable, ...] = (settings.teacher, "student")
    parts += [format_model(name, tables.get(name, {}), source) for name in models]
    print_result("\n".join(parts).rstrip())


def _header(source: str, values: Mapping[str, Any]) -> str:
    """Return a comment that says which data the preset is for; an empty string if the user has chosen the preset."""
    if "preset" in values:
        return ""
    if is_synthetic(source):
        return "# For the synthetic data only. For own data, run the command with --data FILE.\n"
    return "# For own data. For the synthetic data, run the command with --data synthetic.\n"


def validate_recipe(path: Path, *, json: bool = False) -> None:
    """Check a recipe file and print every error in it, with its line.

    Args:
        path: The file.
        json: Print the errors as one line of JSON instead.

    Raises:
        UsageError: The file cannot be read, is not TOML, or has errors.
    """
    text, tables = read_toml(path)
    models = settings_models(tables)
    problems = find_problems(tables) if models is None else _settings_problems(tables, models)
    errors = [RecipeError(find_line(text, item.key), ".".join(item.key), item.message) for item in problems]
    errors.sort(key=lambda item: item.line or 0)
    if json:
        print_json({"file": str(path), "errors": [asdict(error) for error in errors]})
    else:
        for error in errors:
            print_result(f"{path}:{error.line or 1}: {error.message}")
    if errors:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise UsageError(f"{path} has {count}. `edge-msa config show` prints all keys with their meaning.")
    if models is not None and not json:
        print_result(f"{path} is valid: settings without a table, for {', '.join(models)}.")
        if command := next_step(f"edge-msa {_COMMANDS[models[0]]} --recipe {shlex.quote(str(path))}"):
            print_next(command)
    elif not json:
        names = ", ".join(f"[{name}]" for name in tables)
        print_result(f"{path} is valid: {names or 'no tables, so all settings are the defaults'}.")


def settings_models(tables: Mapping[str, Any]) -> list[str] | None:
    """Return the models whose settings a recipe without tables contains, or None if the recipe has tables.

    If no model has all of them, the one with the fewest problems is returned.
    """
    if any(name in TABLES for name in tables) or all(isinstance(value, Mapping) for value in tables.values()):
        return None
    problems = {name: len(recipe_problems(name, tables, _OWN_DATA)) for name in PRESET_TABLES}
    fewest = min(problems.values())
    models = [name for name, count in problems.items() if count == fewest]
    if not any(name == "preset" or name in SECTIONS[models[0]].model_fields for name in tables):
        return None
    return models if not fewest else models[:1]


def _settings_problems(settings: Mapping[str, Any], models: Sequence[str]) -> list[Problem]:
    problems = recipe_problems(models[0], settings, _OWN_DATA)
    return [Problem(item.key[1:], item.message) for item in problems]


def find_problems(tables: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is not valid in the tables of a recipe."""
    problems = table_problems(tables)
    invalid = {item.key[0] for item in problems}
    valid = {name: table for name, table in tables.items() if name not in invalid}
    problems += PipelineRecipe().problems(valid.get("pipeline", {}), where="pipeline")
    data = str(valid.get("pipeline", {}).get("data", SYNTHETIC))
    for name in PRESET_TABLES:
        problems += recipe_problems(name, valid.get(name, {}), data)
    for name, variant in valid.get("variants", {}).items():
        if isinstance(variant, Mapping):
            problems += recipe_problems("student", variant, data, where=f"variants.{name}")
        else:
            problems.append(Problem(("variants", name), f"Write [variants.{name}] with the keys of [student]."))
    is_valid_student = not any(item.key[0] == "student" for item in problems)
    student = student_recipe(valid.get("student", {}) if is_valid_student else {}, data)
    return problems + _search_problems(valid.get("search", {}), student)


def _search_problems(search: Mapping[str, Any], student: StudentRecipe) -> list[Problem]:
    problems = [
        Problem(("search", name), f"Unknown key {name!r} in [search]. Available: space.")
        for name in search
        if name != "space"
    ]
    space = search.get("space", {})
    if not isinstance(space, Mapping):
        message = f"search.space must be a table, got {space!r}. Write [search.space]."
        return [*problems, Problem(("search", "space"), message)]
    for name, values in space.items():
        try:
            dimensions = parse_space({name: values}, flatten_recipe(student), PRECISIONS).dimensions
            for value in dimensions[name].ends:
                student.updated(nest_params({name: value}), where="search.space")
        except UsageError as error:
            problems.append(Problem(("search", "space", name), str(error)))
    return problems
