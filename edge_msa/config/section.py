"""The base class of all recipe sections: immutable, strictly typed, and with one-line errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import Self

from edge_msa.errors import UsageError

SectionType = TypeVar("SectionType", bound="RecipeSection")

Probability = Annotated[float, Field(ge=0, le=1)]
DropoutRate = Annotated[float, Field(ge=0, lt=1)]
LossWeight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_EXPECTED_TYPES = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "an integer",
    "model_type": "a table",
    "string_type": "a string",
    "tuple_type": "a list",
    "finite_number": "a finite number",
}


@dataclass(frozen=True)
class Problem:
    """Something in a recipe file that is not valid."""

    key: tuple[str, ...]
    """Table and key, as in `("student", "msm", "inter")`."""
    message: str
    """What is wrong, and what to do."""


class RecipeSection(BaseModel):
    """One table of a recipe file.

    The attribute docstring of a field is its description. Values are not coerced, except that an integer is accepted
    for a float and a list for a tuple.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    def updated(self, table: Mapping[str, Any], *, where: str) -> Self:
        """Return a validated copy of the section with the values of a TOML table.

        Args:
            table: New values by field name. A nested table changes only the fields that it names.
            where: The name of the table in error messages.

        Raises:
            UsageError: A key is unknown, or a value has the wrong type or is out of range.
        """
        try:
            return type(self).model_validate(merge_tables(self.model_dump(), table))
        except ValidationError as error:
            raise UsageError(_problems(error, type(self), where)[0].message) from None

    def problems(self, table: Mapping[str, Any], *, where: str) -> list[Problem]:
        """Return everything for which `updated` would fail. Unknown keys come first.

        Args:
            table: New values by field name.
            where: The name of the table.
        """
        try:
            type(self).model_validate(merge_tables(self.model_dump(), table))
        except ValidationError as error:
            return _problems(error, type(self), where)
        return []


def merge_tables(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `changes`; tables that both contain are merged recursively."""
    both = {name for name in base if isinstance(base[name], Mapping) and isinstance(changes.get(name), Mapping)}
    return {**base, **changes, **{name: merge_tables(base[name], changes[name]) for name in both}}


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a sentence that suggests the known name closest to `name`, or an empty string."""
    close = get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _problems(error: ValidationError, section: type[RecipeSection], where: str) -> list[Problem]:
    """Return the problems of a table; unknown keys come first, because they often explain the others."""
    errors = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    return [
        Problem((*where.split("."), *(str(part) for part in item["loc"] if isinstance(part, str))), message)
        for item in errors
        for message in [_message(item, section, where)]
    ]


def _message(error: ErrorDetails, section: type[RecipeSection], where: str) -> str:
    """Return one line about an error."""
    location, kind, context = error["loc"], error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        *path, key = (str(part) for part in location)
        fields = list(_nested_section(section, path).model_fields)
        table = ".".join([where, *path])
        return f"Unknown key {key!r} in [{table}].{suggestion(key, fields)} Available keys: {', '.join(fields)}."
    name = where + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    if kind == "value_error":
        return f"{name}: {context['error']}"
    return f"{name} must be {_expected(kind, context) or error['msg']}, got {error['input']!r}."


def _expected(kind: str, context: Mapping[str, Any]) -> str | None:
    if kind == "literal_error":
        return "one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
    for bound, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        if bound in context:
            return f"{words} {context[bound]:g}"
    if kind == "too_short":
        return "a non-empty list"
    return _EXPECTED_TYPES.get(kind)


def _nested_section(section: type[RecipeSection], path: Iterable[str]) -> type[RecipeSection]:
    for name in path:
        annotation = section.model_fields[name].annotation
        candidates = (annotation, *get_args(annotation))
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, RecipeSection))
    return section
