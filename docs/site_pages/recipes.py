"""Every field of a recipe file, from the pydantic sections in `edge_msa.config`, and the presets."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterable, Iterator
from importlib import resources
from typing import Any

import annotated_types
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from edge_msa.config.recipes import SIZES, preset_names
from edge_msa.config.section import RecipeSection
from edge_msa.config.settings import PipelineRecipe
from edge_msa.config.students import (
    IntermediateTargets,
    ModalityRecipe,
    PruneRecipe,
    StudentRecipe,
    TextRecipe,
    TextStage,
)
from edge_msa.config.teachers import AlmtRecipe, HrlfRecipe
from edge_msa.config.training import MsmConfig
from site_pages.markdown import code, prose, table

SECTIONS: tuple[tuple[str, type[RecipeSection]], ...] = (
    ("[pipeline]", PipelineRecipe),
    ("[hrlf]", HrlfRecipe),
    ("[almt]", AlmtRecipe),
    ("[student]", StudentRecipe),
    ("[student.language], [student.audio], [student.vision]", ModalityRecipe),
    ("[text]", TextRecipe),
    ("[text.intermediate]", IntermediateTargets),
    ("[text.prune]", PruneRecipe),
    ("[text.transfer], [text.final], [text.train]", TextStage),
    ("[hrlf.msm], [almt.msm], [student.msm], [text.msm]", MsmConfig),
)
_TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): "omitted"}
_BOUNDS = (("ge", "≥ "), ("gt", "> "), ("le", "≤ "), ("lt", "< "))


def describe_recipes() -> str:
    """Return a section with all fields of each table of a recipe file."""
    parts = []
    for title, section in SECTIONS:
        summary = (section.__doc__ or "").split("\n\n")
        rows = [
            (code(name), describe_type(field), code(_toml(field.default)), prose(field.description or ""))
            for name, field in section.model_fields.items()
        ]
        parts.append(f"### {code(title)}\n\n" + "\n\n".join(map(prose, summary)) + "\n")
        parts.append(table(("field", "value", "default", "meaning"), rows))
    return "\n".join(parts)


def describe_presets() -> str:
    """Return the content of every preset."""
    parts = []
    for name in ("hrlf", "almt", "student", "text"):
        parts.append(f"### Presets of `[{name}]`\n")
        parts += [_preset(name, preset, f'preset = "{preset}"') for preset in preset_names(name)]
    parts.append("### Sizes of `[student]`\n")
    parts += [_preset("size", size, f'size = "{size}"') for size in SIZES]
    return "\n".join(parts)


def describe_type(field: FieldInfo) -> str:
    """Return the values that a field accepts, with their range."""
    return _describe_annotation(field.annotation, field.metadata)


def _describe_annotation(annotation: Any, metadata: Iterable[Any]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _describe_annotation(arguments[0], [*metadata, *_flatten(arguments[1:])])
    if origin is typing.Literal:
        return ", ".join(code(value) for value in arguments)
    if origin in {typing.Union, types.UnionType}:
        kinds = [_describe_annotation(item, metadata) for item in arguments if item is not type(None)]
        return " or ".join([*kinds, *(["omitted"] if type(None) in arguments else [])])
    if origin is tuple:
        item = _describe_annotation(arguments[0], ())
        return f"list of: {item}"
    if isinstance(annotation, type) and issubclass(annotation, RecipeSection):
        return "table"
    bounds = [
        f"{sign}{getattr(item, name):g}" for name, sign in _BOUNDS for item in _flatten(metadata) if hasattr(item, name)
    ]
    return " ".join(
        [_TYPES.get(annotation, str(annotation)), *([", ".join(bounds).replace("<", "&lt;")] if bounds else [])]
    )


def _flatten(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        elif isinstance(item, annotated_types.Interval):
            yield from item
        else:
            yield item


def _toml(value: Any) -> str:
    if value is None or value is PydanticUndefined or isinstance(value, RecipeSection):
        return ""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _preset(folder: str, name: str, setting: str) -> str:
    text = (resources.files("edge_msa.config") / "presets" / folder / f"{name}.toml").read_text(encoding="utf-8")
    return f"`{setting}`\n\n```toml\n{text.strip()}\n```\n"
