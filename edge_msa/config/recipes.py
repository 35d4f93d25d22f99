"""Recipe files and presets: from TOML tables to validated recipes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from edge_msa.config.section import SectionType, merge_tables, suggestion
from edge_msa.config.students import StudentRecipe, TextRecipe
from edge_msa.config.teachers import AlmtRecipe, HrlfRecipe, TeacherName, TeacherRecipe
from edge_msa.data.opening import SYNTHETIC
from edge_msa.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TABLES = ("pipeline", "hrlf", "almt", "student", "text", "variants", "search")
PRESET_TABLES = ("hrlf", "almt", "student", "text")
"""Tables that have presets."""
SIZES = ("nano", "tiny", "small")
"""Student sizes, smallest first. `presets/size/NAME.toml` contains the settings of each."""


def load_recipe_file(path: Path) -> dict[str, Any]:
    """Return the tables of a recipe file.

    Raises:
        UsageError: The file cannot be read, is not TOML, or has an unknown table.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}. Pass a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}. Correct the file.") from None
    for name, table in tables.items():
        if name not in TABLES:
            available = ", ".join(f"[{item}]" for item in TABLES)
            raise UsageError(f"{path}: unknown table [{name}].{suggestion(name, TABLES)} Available: {available}.")
        if not isinstance(table, Mapping):
            raise UsageError(f"{path}: {name} must be a table, got {table!r}. Write [{name}].")
    return tables


def load_tables(recipe: Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the tables of a recipe, which is a file, a mapping of tables, or None for no tables."""
    return load_recipe_file(recipe) if isinstance(recipe, Path) else dict(recipe or {})


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
        size = str(changes.pop("size"))
        if size not in SIZES:
            raise UsageError(f"Unknown student.size {size!r}.{suggestion(size, SIZES)} Available: {', '.join(SIZES)}.")
        changes = merge_tables(_preset_table("size", size, "student"), changes)
    if epochs is not None:
        changes |= {"epochs": epochs, "qat_epochs": epochs}
    return _from_preset(StudentRecipe(), "student", preset).updated(changes, where="student")


def text_recipe(table: Mapping[str, Any], kind: str) -> TextRecipe:
    """Return the recipe of a text model.

    Args:
        table: The `text` table of a recipe file. Its `preset` names the preset to start from (default: `kind`).
        kind: The kind of the text encoder, `encoder` or `table`.

    Raises:
        UsageError: A key or preset is unknown, or a value is invalid.
    """
    preset, changes = _split_preset(table, kind)
    return _from_preset(TextRecipe(), "text", preset).updated(changes, where="text")


def _from_preset(defaults: SectionType, table: str, name: str) -> SectionType:
    names = preset_names(table)
    if name not in names:
        raise UsageError(
            f"Unknown preset {name!r} of [{table}].{suggestion(name, names)} Available: {', '.join(names)}."
        )
    return defaults.updated(_preset_table(table, name, table), where=f"{table} preset {name}")


@cache
def _preset_table(folder: str, name: str, table: str) -> Mapping[str, Any]:
    text = (resources.files(__package__) / "presets" / folder / f"{name}.toml").read_text(encoding="utf-8")
    tables: Mapping[str, Mapping[str, Any]] = tomllib.loads(text)
    return tables[table]


def _split_preset(table: Mapping[str, Any], default: str) -> tuple[str, dict[str, Any]]:
    changes = dict(table)
    return str(changes.pop("preset", default)), changes


def _default_preset(data: str) -> str:
    return "demo" if data == SYNTHETIC else "default"
