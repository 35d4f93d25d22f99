"""Checked access to the fields of a JSON object. Errors name the invalid field."""

from __future__ import annotations

import math
from typing import Any, Collection, Mapping

_NAMES = {"None": "null", "True": "true", "False": "false"}
"""JSON's names of what Python calls otherwise."""


class JsonFields:
    """The fields of one JSON object. Every check raises a ValueError that names the field, such as `graphs[3].parity`.

    Args:
        value: the JSON value, which must be an object.
        path: path of the object in the document; empty for the document itself.
        names: the field names. Every one must be present, and no other.
        optional: names of further fields, which may be missing. `raw` is then None.
    """

    def __init__(self, value: Any, path: str, names: Collection[str], optional: Collection[str] = ()) -> None:
        if not isinstance(value, Mapping):
            raise _wrong_type(path or "the document", "an object", value)
        self._value = value
        self._path = path
        for name in names:
            if name not in value:
                raise ValueError(f"{self.path(name)} is missing")
        for name in value:
            if name not in names and name not in optional:
                raise ValueError(f"{self.path(str(name))} is not a known field")

    def path(self, name: str) -> str:
        """The path of a field in the document."""
        return f"{self._path}.{name}" if self._path else name

    def raw(self, name: str) -> Any:
        """The value of a field, unchecked; None for an optional field that is missing."""
        return self._value.get(name)

    def text(self, name: str) -> str:
        """A string field."""
        return _text(self._value[name], self.path(name))

    def integer(self, name: str) -> int:
        """An integer field."""
        return _integer(self._value[name], self.path(name))

    def optional_integer(self, name: str) -> int | None:
        """An integer field that may be null."""
        return None if self._value[name] is None else self.integer(name)

    def number(self, name: str) -> float:
        """A finite number field."""
        return _number(self._value[name], self.path(name))

    def optional_number(self, name: str) -> float | None:
        """A finite number field that may be null, or missing if it is optional."""
        return None if self.raw(name) is None else self.number(name)

    def array(self, name: str) -> list[tuple[Any, str]]:
        """The items of an array field, unchecked, each with its path."""
        value, path = self._value[name], self.path(name)
        if not isinstance(value, (list, tuple)):
            raise _wrong_type(path, "an array", value)
        return [(item, f"{path}[{index}]") for index, item in enumerate(value)]

    def texts(self, name: str) -> tuple[str, ...]:
        """An array of strings."""
        return tuple(_text(item, path) for item, path in self.array(name))

    def integers(self, name: str) -> tuple[int, ...]:
        """An array of integers."""
        return tuple(_integer(item, path) for item, path in self.array(name))

    def numbers(self, name: str) -> tuple[float, ...]:
        """An array of finite numbers."""
        return tuple(_number(item, path) for item, path in self.array(name))

    def mapping(self, name: str) -> Mapping[str, Any]:
        """An object field with any field names and unchecked values."""
        value = self._value[name]
        if not isinstance(value, Mapping):
            raise _wrong_type(self.path(name), "an object", value)
        return value

    def text_mapping(self, name: str) -> Mapping[str, str]:
        """An object field with any field names and string values."""
        return {key: _text(item, f"{self.path(name)}.{key}") for key, item in self.mapping(name).items()}

    def scalar_mapping(self, name: str) -> dict[str, float | str]:
        """An object field with any field names, and finite numbers or strings as values."""
        return {key: _scalar(item, f"{self.path(name)}.{key}") for key, item in self.mapping(name).items()}


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(path, "a string", value)
    return value


def _integer(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(path, "an integer", value)
    return value


def _number(value: Any, path: str) -> float:
    try:
        is_finite = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of float
        is_finite = False
    if not is_finite:
        raise _wrong_type(path, "a finite number", value)
    number: float = value
    return number


def _scalar(value: Any, path: str) -> float | str:
    if isinstance(value, str):
        return value
    try:
        return _number(value, path)
    except ValueError:
        raise _wrong_type(path, "a finite number or a string", value) from None


def _wrong_type(path: str, expected: str, value: Any) -> ValueError:
    shown = _NAMES.get(repr(value), repr(value))
    return ValueError(f"{path} must be {expected}, got {shown[:40]}")
