"""`edge-msa config`: list presets, show the complete recipe of a command, and validate recipe files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from edge_msa.architecture_search.space import flatten_recipe, nest_params, parse_space
from edge_msa.config.effective import ModelTable, format_model, format_pipeline
from edge_msa.config.recipes import (
    PRESET_TABLES,
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
from edge_msa.console import print_json, print_result
from edge_msa.data.opening import SYNTHETIC
from edge_msa.errors import UsageError
from edge_msa.text_tables import text_table
from edge_msa_export.profiles import PRECISIONS


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
        data: The data to train on, which selects the preset (default: the recipe's, or else the synthetic data).

    Raises:
        UsageError: The recipe or the preset is not valid, or there is a preset without a model.
    """
    tables = load_tables(recipe)
    if model is not None:
        values = {**tables.get(model, {}), **({} if preset is None else {"preset": preset})}
        print_result(format_model(model, values, data or SYNTHETIC).rstrip())
        return
    if preset is not None:
        raise UsageError(f"--preset needs a model. Pass one of {', '.join(get_args(ModelTable))}.")
    settings = PipelineRecipe().updated(tables.get("pipeline", {}), where="pipeline")
    source = data or settings.data
    parts = [format_pipeline(tables.get("pipeline", {}), data=data)]
    models: tuple[ModelTable, ...] = (settings.teacher, "student")
    parts += [format_model(name, tables.get(name, {}), source) for name in models]
    print_result("\n".join(parts).rstrip())


def validate_recipe(path: Path, *, json: bool = False) -> None:
    """Check a recipe file and print every error in it, with its line.

    Args:
        path: The file.
        json: Print the errors as one line of JSON instead.

    Raises:
        UsageError: The file cannot be read, is not TOML, or has errors.
    """
    text, tables = read_toml(path)
    problems = find_problems(tables)
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
    if not json:
        names = ", ".join(f"[{name}]" for name in tables)
        print_result(f"{path} is valid: {names or 'no tables, so all settings are the defaults'}.")


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
