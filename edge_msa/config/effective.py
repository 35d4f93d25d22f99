"""The complete recipe that a command uses, as TOML with a comment above every key."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from edge_msa.config.recipes import preset_description, preset_of, student_recipe, teacher_recipe, text_recipe
from edge_msa.config.section import RecipeSection
from edge_msa.config.settings import PipelineRecipe

ModelTable = Literal["hrlf", "almt", "student", "text"]
_WIDTH = 80


def format_model(table: ModelTable, values: Mapping[str, Any], data: str) -> str:
    """Return the complete table of a model, with its preset.

    Args:
        table: The model, which is also the name of the table.
        values: The table of a recipe file; an empty mapping for the preset without changes.
        data: The data to train on, as passed to `--data`. It selects the preset if `values` names none.

    Raises:
        UsageError: A key or preset is unknown, or a value is invalid.
    """
    preset = preset_of(table, values, data)
    recipe: RecipeSection
    if table == "text":
        recipe = text_recipe(values, preset)
    elif table == "student":
        recipe = student_recipe(values, data)
    else:
        recipe = teacher_recipe(table, values, data)
    described = f"The preset that this table starts from. {preset}: {preset_description(table, preset)}"
    lines = [f"[{table}]", *_comment(described), f"preset = {json.dumps(preset)}", *_fields(recipe, table)]
    return "\n".join(lines) + "\n"


def format_pipeline(values: Mapping[str, Any], *, data: str | None = None) -> str:
    """Return the complete `pipeline` table.

    Args:
        values: The table of a recipe file.
        data: The data, instead of that in `values`.

    Raises:
        UsageError: A key is unknown, or a value is invalid.
    """
    recipe = PipelineRecipe().updated({**values, **({} if data is None else {"data": data})}, where="pipeline")
    return "\n".join(["[pipeline]", *_fields(recipe, "pipeline")]) + "\n"


def _fields(section: RecipeSection, table: str) -> Iterator[str]:
    """Yield the lines of all keys, then those of nested tables."""
    nested = {name: value for name, value in section if isinstance(value, RecipeSection)}
    for name, value in section:
        if name not in nested:
            field = type(section).model_fields[name]
            yield from _comment(f"{field.description or ''}{_choices(field.annotation)}")
            yield f"# {name} = (not set)" if value is None else f"{name} = {_format(value)}"
    for name, value in nested.items():
        yield ""
        yield from _comment(type(section).model_fields[name].description or "")
        yield f"[{table}.{name}]"
        yield from _fields(value, f"{table}.{name}")


def _choices(annotation: Any) -> str:
    """Return a sentence with the allowed values of a field, or an empty string."""
    options = [annotation, *get_args(annotation)]
    allowed = [item for option in options if get_origin(option) is Literal for item in get_args(option)]
    return f" One of: {', '.join(allowed)}." if allowed else ""


def _comment(text: str) -> list[str]:
    prefix = "# "
    return textwrap.wrap(
        " ".join(text.split()), _WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False
    )


def _format(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_format, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
