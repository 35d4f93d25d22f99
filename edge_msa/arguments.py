"""Check the arguments of the Python API. Every wrong argument raises a UsageError of one line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from edge_msa.errors import UsageError

AnyPath = str | os.PathLike[str]
"""A path. Runs and exported bundles are path-like objects too, so you can pass them wherever a path is expected."""

_SHOWN_LENGTH = 80
_LAYERS_MESSAGE = (
    "--layers must be the number of first layers, such as 3, or increasing indices from 0, such as 0,4,8, got {}."
)


def path_of(value: object, name: str, expected: str = "a path") -> Path:
    """Return an argument as a path.

    Args:
        value: The argument.
        name: Its name, for the error message.
        expected: What it must be, for the error message.

    Raises:
        UsageError: It is not path-like, or empty.
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise UsageError(f"{name} must be {expected}, got {describe_value(value)}.")
    return Path(text)


def path_or_tables(value: object, name: str) -> Path | Mapping[str, Any] | None:
    """Return an argument that is a TOML file, or a mapping with the tables of one, or None.

    Raises:
        UsageError: It is something else.
    """
    return value if value is None or isinstance(value, Mapping) else path_of(value, name, "a TOML file or a mapping")


def paths_of(values: object, name: str, expected: str = "a path or a list of paths") -> list[Path]:
    """Return an argument that is one path or several as a list.

    Raises:
        UsageError: A value is not path-like, or there is none.
    """
    if isinstance(values, str | os.PathLike):
        return [path_of(values, name, expected)]
    if not isinstance(values, Iterable) or isinstance(values, bytes) or _is_array(values):
        raise UsageError(f"{name} must be {expected}, got {describe_value(values)}.")
    paths = [path_of(value, name, expected) for value in values]
    if not paths:
        raise UsageError(f"{name} must be {expected}, got an empty list.")
    return paths


def source_of(value: object, name: str = "data", expected: str = "the path of a feature file, or 'synthetic'") -> str:
    """Return an argument that is a path or a name as text.

    Args:
        value: The argument.
        name: Its name, for the error message.
        expected: What it must be, for the error message.

    Raises:
        UsageError: It is neither; for example arrays or a table in memory.
    """
    if _is_array(value):
        raise UsageError(
            f"{name} must be {expected}, got {describe_value(value)}. Save arrays with edge_msa.save_data first."
        )
    # A Path would drop the "./" of a file with the name "synthetic".
    return value if isinstance(value, str) and value else str(path_of(value, name, expected))


def optional_source(value: object, name: str = "data") -> str | None:
    """Return `source_of(value)`, or None for None."""
    return None if value is None else source_of(value, name)


def sources_of(values: object, name: str) -> list[str]:
    """Return an argument that is one feature file or several as a list, which may be empty.

    Raises:
        UsageError: A value is not a path.
    """
    if isinstance(values, str | os.PathLike):
        return [source_of(values, name)]
    if not isinstance(values, Iterable) or _is_array(values):
        return [source_of(values, name)]  # raises
    return [source_of(value, name) for value in values]


def check_choice(value: object, name: str, choices: Any) -> None:
    """Check that an argument is one of several values.

    Args:
        value: The argument.
        name: Its name, for the error message.
        choices: The values: a sequence, or a `Literal` type.

    Raises:
        UsageError: It is another value.
    """
    known: Sequence[str] = choices if isinstance(choices, tuple | list) else get_args(choices)
    if value not in known:
        close = get_close_matches(value, known, n=1) if isinstance(value, str) else []
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"{name} must be one of {', '.join(known)}, got {describe_value(value)}.{hint}")


def check_count(value: object, name: str, *, least: int = 1, most: int | None = None) -> None:
    """Check that an argument is an integer in a range.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise UsageError(f"{name} must be an integer, got {describe_value(value)}.")
    if value < least:
        raise UsageError(f"{name} must be at least {least}, got {value}.")
    if most is not None and value > most:
        raise UsageError(f"{name} must be at most {most}, got {value}.")


def check_seed(value: object) -> None:
    """Check that an argument is a seed, an integer from 0 to 2**32 - 1.

    Raises:
        UsageError: It is something else.
    """
    check_count(value, "seed", least=0, most=2**32 - 1)


def layers_of(value: object) -> int | tuple[int, ...] | None:
    """Return an argument that chooses layers of an encoder: a number of layers, or the indices of layers as a tuple.

    Args:
        value: A number, indices, text such as `"3"` or `"0,4,8"`, or None for all layers.

    Raises:
        UsageError: It is something else, a number below 1, or indices that do not increase.
    """
    found: Any = value
    if isinstance(value, str):
        parts = [part.strip() for part in value.removesuffix(",").split(",")]
        if not all(part.isascii() and part.isdecimal() for part in parts):
            raise UsageError(_LAYERS_MESSAGE.format(describe_value(value)))
        found = [int(part) for part in parts] if "," in value else int(parts[0])
    if found is None or (isinstance(found, int) and not isinstance(found, bool) and found >= 1):
        return found
    indices = tuple(found) if isinstance(found, Sequence) and not isinstance(found, str | bytes) else ()
    is_increasing = all(first < second for first, second in zip((-1, *indices), indices, strict=False))
    if not indices or not all(type(index) is int for index in indices) or not is_increasing:
        raise UsageError(_LAYERS_MESSAGE.format(repr(value)))
    return indices


def describe_value(value: object) -> str:
    """Return a value for an error message: as Python writes it if it is short, or else its type."""
    if value is None or isinstance(value, bool | int | float | str):
        text = repr(value)
        return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
    article = "an" if type(value).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"


def _is_array(value: object) -> bool:
    """Return whether a value holds data in memory: an array, a tensor or a table."""
    return hasattr(value, "shape") or hasattr(value, "__array__") or isinstance(value, dict)
