"""Recipe files and presets: from TOML tables to validated recipes."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, path_of
from edge_msa.config.section import Problem, RecipeSection, SectionType, merge_tables, suggestion
from edge_msa.config.students import StudentRecipe, TextRecipe
from edge_msa.config.teachers import AlmtRecipe, HrlfRecipe, TeacherName, TeacherRecipe
from edge_msa.data.opening import is_synthetic
from edge_msa.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLES = ("pipeline", "hrlf", "almt", "student", "text", "variants", "search")
PRESET_TABLES = ("hrlf", "almt", "student", "text")
"""Tables that have presets."""
SECTIONS: Mapping[str, type[RecipeSection]] = {
    "hrlf": HrlfRecipe,
    "almt": AlmtRecipe,
    "student": StudentRecipe,
    "text": TextRecipe,
}
"""The tables that settings without a table can belong to."""
SIZES = ("nano", "tiny", "small")
"""Student sizes, smallest first. `presets/size/NAME.toml` contains the settings of each."""


def load_tables(recipe: AnyPath | Mapping[str, Any] | None, own: str = "") -> dict[str, Any]:
    """Return the tables of a recipe by name.

    A recipe contains either tables, each with the name of what it configures, or only the settings of the table `own`.
    `{"epochs": 5}` and `{"hrlf": {"epochs": 5}}` are the same recipe for a command that trains HRLF.

    Args:
        recipe: TOML file or mapping (default: no settings).
        own: Name of the table that settings without a table belong to (default: settings need a table).

    Raises:
        UsageError: The recipe is something else, cannot be read, is not TOML, or has an unknown table or key.
    """
    if recipe is None:
        return {}
    if isinstance(recipe, Mapping):
        return _tables(recipe, own, "recipe")
    path = path_of(recipe, "recipe", "a TOML file or a mapping of settings")
    _, content = read_toml(path)
    return _tables(content, own, str(path))


def load_table(recipe: AnyPath | Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """Return one table of a recipe; empty if the recipe does not have it. The rest is as in `load_tables`.

    Args:
        recipe: TOML file or mapping (default: no settings).
        name: Name of the table, to which settings without a table belong.
    """
    table: Mapping[str, Any] = load_tables(recipe, name).get(name, {})
    return table


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a TOML file and its content.

    Raises:
        UsageError: The file cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}. Pass a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}. Correct the file.") from None


def table_problems(tables: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for every unknown table of a recipe, and for every value outside of a table."""
    available = ", ".join(f"[{item}]" for item in TABLES)
    problems = []
    for name, table in tables.items():
        if name not in TABLES and not isinstance(table, Mapping):
            problems.append(Problem((name,), f"{name} is not in a table. Write it below one of {available}."))
        elif name not in TABLES:
            message = f"unknown table [{name}].{suggestion(name, TABLES)} Available: {available}."
            problems.append(Problem((name,), message))
        elif not isinstance(table, Mapping):
            problems.append(Problem((name,), f"{name} must be a table, got {table!r}. Write [{name}]."))
    return problems


def _tables(content: Mapping[str, Any], own: str, source: str) -> dict[str, Any]:
    """Return the content of a recipe as tables by name."""
    if own and content and not any(name in TABLES for name in content) and _has_settings(content, own):
        return {own: dict(content)}
    for problem in table_problems(content):
        raise UsageError(f"{source}: {problem.message}")
    return dict(content)


def _has_settings(content: Mapping[str, Any], own: str) -> bool:
    """Return whether the content is settings of one table: it has a value that is no table, or a known nested table."""
    nested = SECTIONS[own].model_fields
    return any(name in nested or not isinstance(value, Mapping) for name, value in content.items())


def quick_demo_recipe() -> dict[str, Any]:
    """Return the tables of the recipe of `edge-msa demo --quick`."""
    return _own_recipe("quick-demo")


def long_demo_recipe() -> dict[str, Any]:
    """Return the tables of the recipe of `edge-msa demo --real-lengths`."""
    return _own_recipe("long-demo")


def preset_names(table: str) -> tuple[str, ...]:
    """Return the names of the presets for a recipe table, in alphabetical order."""
    folder = resources.files(__package__) / "presets" / table
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def hrlf_preset(name: str) -> HrlfRecipe:
    """Return a preset of HRLF.

    Raises:
        UsageError: No preset has this name.
    """
    return _from_preset(HrlfRecipe(), "hrlf", name)


def almt_preset(name: str) -> AlmtRecipe:
    """Return a preset of ALMT.

    Raises:
        UsageError: No preset has this name.
    """
    return _from_preset(AlmtRecipe(), "almt", name)


def teacher_recipe(
    model: TeacherName, table: Mapping[str, Any], data: str, *, epochs: int | None = None
) -> TeacherRecipe:
    """Return the recipe of a teacher.

    Args:
        model: The teacher, which is also the name of its table.
        table: The teacher's table of a recipe file. Its `preset` names the preset to start from (default: `demo` for
            the synthetic data, otherwise `default`).
        data: The data to train on, as passed to `--data`.
        epochs: The number of epochs of every stage (default: the recipe's).

    Raises:
        UsageError: A key or preset is unknown, or a value is invalid.
    """
    preset, changes = _split_preset(table, _default_preset(data))
    if model == "almt":
        changes |= {} if epochs is None else {"epochs": epochs}
        return almt_preset(preset).updated(changes, where=model)
    changes |= {} if epochs is None else {"epochs": epochs, "robust_epochs": epochs}
    return hrlf_preset(preset).updated(changes, where=model)


def student_recipe(table: Mapping[str, Any], data: str, *, epochs: int | None = None) -> StudentRecipe:
    """Return the recipe of a student.

    Args:
        table: The `student` table of a recipe file. Its `preset` works as in `teacher_recipe`. Its `size` is one of
            `SIZES`; other keys take precedence over the size.
        data: The data to train on, as passed to `--data`.
        epochs: The number of epochs of training and of quantization-aware training (default: the recipe's).

    Raises:
        UsageError: A key, preset or size is unknown, or a value is invalid.
    """
    preset, changes = _split_preset(table, _default_preset(data))
    if "size" in changes:
        changes = merge_tables(_size_table(str(changes["size"])), {k: v for k, v in changes.items() if k != "size"})
    if epochs is not None:
        changes |= {"epochs": epochs, "qat_epochs": epochs}
    return _from_preset(StudentRecipe(), "student", preset).updated(changes, where="student")


def text_recipe(
    table: Mapping[str, Any], kind: str, *, epochs: int | None = None, context: int | None = None
) -> TextRecipe:
    """Return the recipe of a text model.

    Args:
        table: The `text` table of a recipe file. Its `preset` names the preset to start from (default: `kind`).
        kind: The kind of the text encoder, `encoder` or `table`.
        epochs: The number of epochs of both stages (default: the recipe's).
        context: The number of earlier utterances that an encoder reads (default: the recipe's).

    Raises:
        UsageError: A key or preset is unknown, or a value is invalid. A table has no context.
    """
    preset, changes = _split_preset(table, kind)
    if context is not None:
        changes = merge_tables(changes, {"context": context})
    if epochs is not None:
        changes = merge_tables(changes, {"transfer": {"epochs": epochs}, "final": {"epochs": epochs}})
    recipe = _from_preset(TextRecipe(), "text", preset).updated(changes, where="text")
    if recipe.context and kind == "table":
        raise UsageError(
            f"text.context must be 0 for an embedding table, whose rows do not depend on other words, got "
            f"{recipe.context}. Use an encoder, or the conversation memory, which `export` fits for every model."
        )
    return recipe


def preset_of(table: str, values: Mapping[str, Any], data: str) -> str:
    """Return the preset that a table of a recipe starts from."""
    return _split_preset(values, "encoder" if table == "text" else _default_preset(data))[0]


def preset_description(table: str, name: str) -> str:
    """Return the comment at the top of a preset's file."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), _preset_file(table, name).splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def recipe_problems(table: str, values: Mapping[str, Any], data: str, *, where: str | None = None) -> list[Problem]:
    """Return everything that is not valid in a table of a recipe that has presets.

    Args:
        table: Name of the table in `PRESET_TABLES`.
        values: Content of the table.
        data: The data to train on, as passed to `--data`.
        where: The name of the table in messages (default: `table`).
    """
    where = where or table
    preset, changes = preset_of(table, values, data), {k: v for k, v in values.items() if k != "preset"}
    problems = []
    try:
        recipe = _from_preset(_DEFAULTS[table], table, preset)
    except UsageError as error:
        problems.append(Problem((*where.split("."), "preset"), str(error)))
        recipe = _DEFAULTS[table]
    if table == "student" and "size" in changes:
        try:
            changes = merge_tables(_size_table(str(changes["size"])), changes)
        except UsageError as error:
            problems.append(Problem((*where.split("."), "size"), str(error)))
        del changes["size"]
    return problems + recipe.problems(changes, where=where)


_DEFAULTS: Mapping[str, RecipeSection] = {
    "hrlf": HrlfRecipe(),
    "almt": AlmtRecipe(),
    "student": StudentRecipe(),
    "text": TextRecipe(),
}
"""Recipes without a preset."""


def _size_table(size: str) -> Mapping[str, Any]:
    if size not in SIZES:
        raise UsageError(f"Unknown student.size {size!r}.{suggestion(size, SIZES)} Available: {', '.join(SIZES)}.")
    return _preset_table("size", size, "student")


def _from_preset(defaults: SectionType, table: str, name: str) -> SectionType:
    names = preset_names(table)
    if name not in names:
        raise UsageError(
            f"Unknown preset {name!r} of [{table}].{suggestion(name, names)} Available: {', '.join(names)}."
        )
    return defaults.updated(_preset_table(table, name, table), where=f"{table} preset {name}")


@cache
def _preset_table(folder: str, name: str, table: str) -> Mapping[str, Any]:
    tables: Mapping[str, Mapping[str, Any]] = tomllib.loads(_preset_file(folder, name))
    return tables[table]


def _own_recipe(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))


def _preset_file(folder: str, name: str) -> str:
    return (resources.files(__package__) / "presets" / folder / f"{name}.toml").read_text(encoding="utf-8")


def _split_preset(table: Mapping[str, Any], default: str) -> tuple[str, dict[str, Any]]:
    changes = dict(table)
    return str(changes.pop("preset", default)), changes


def _default_preset(data: str) -> str:
    return "demo" if is_synthetic(data) else "default"
