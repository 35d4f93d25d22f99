"""Which parameters of a command are paths. All outputs are checked before the command starts.

Mark a parameter in its annotation: `Annotated[Path, typer.Option(...), Output(FILE)]` or `..., INPUT]`. A test fails
for a path parameter without a mark.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edge_msa.artifacts.stamps import read_stamp
from edge_msa.errors import UsageError
from edge_msa_runtime.output_paths import CONTAINER, FILE, FOLDER, check_distinct_outputs, check_output

__all__ = ["CONTAINER", "FILE", "FOLDER", "INPUT", "Input", "Output", "check_paths", "path_marks"]


@dataclass(frozen=True)
class Output:
    """The mark of a parameter that the command writes."""

    kind: str
    """`FILE`, `FOLDER` or `CONTAINER` of `edge_msa_runtime.output_paths`."""
    shared: bool = False
    """Whether several commands write to the file, as to the storage of a search."""


@dataclass(frozen=True)
class Input:
    """The mark of a parameter that the command only reads."""

    collects: bool = False
    """Whether a folder is a collection that the output may be in, as for `report`."""


INPUT = Input()


def path_marks(callback: Callable[..., Any]) -> Iterator[tuple[str, Any, Input | Output | None]]:
    """Yield name, annotation and mark of every parameter of a command's function."""
    for name, parameter in inspect.signature(callback, eval_str=True).parameters.items():
        marks = [item for item in get_args(parameter.annotation)[1:] if isinstance(item, Input | Output)]
        yield name, parameter.annotation, marks[0] if marks else None


def check_paths(callback: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check all outputs of a command with these parameter values.

    Raises:
        UsageError: As `check_output` of the runtime, or two outputs are the same file.
    """
    inputs: list[Path] = []
    collections: list[Path] = []
    outputs: list[tuple[Path, str]] = []
    for name, _, mark in path_marks(callback):
        value = values.get(name)
        if mark is None or value is None:
            continue
        values_of_option = value if isinstance(value, list | tuple) else [value]
        paths = [Path(item) for item in values_of_option if "://" not in str(item)]  # a database URL is not a path
        if isinstance(mark, Output):
            outputs += [(path, mark.kind) for path in paths]
        else:
            (collections if mark.collects else inputs).extend(paths)
    for path, kind in outputs:
        check_output(path, kind, [*inputs, *(item for item in collections if not item.is_dir())])
    check_distinct_outputs(path for path, _ in outputs)


def output_files(callback: Callable[..., Any], values: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that a command replaces as a whole."""
    for name, _, mark in path_marks(callback):
        if isinstance(mark, Output) and mark.kind == FILE and not mark.shared and values.get(name) is not None:
            yield Path(values[name])


def format_command(names: str, callback: Callable[..., Any], values: Mapping[str, Any]) -> str:
    """Return the command line without what does not change its results. Equal requests have equal command lines.

    Args:
        names: The command and its groups.
        callback: Its function.
        values: The values of its parameters.
    """
    parts = [names]
    for name, _, mark in path_marks(callback):
        value = values.get(name)
        if isinstance(mark, Output) or name == "json" or value is None or value is False or value in ((), []):
            continue
        items = [_absolute(item, mark) for item in (value if isinstance(value, list | tuple) else [value])]
        parts.append(f"{name}={','.join(items)}")
    return " ".join(parts)


def check_may_replace_files(paths: Iterable[Path], command: str) -> None:
    """Check that existing files were written by the same command line.

    Raises:
        UsageError: A file was written by another one, or does not say.
    """
    for path in paths:
        written_by = read_stamp(path) if path.exists() else command
        if written_by != command:
            origin = f"was written by `{written_by}`" if written_by else "does not say which command wrote it"
            raise UsageError(
                f"{path} exists and {origin}. The request is `{command}`. Pass --overwrite to replace it, or another "
                "path."
            )


def _absolute(value: object, mark: Input | Output | None) -> str:
    """Return a value as text; paths that exist are absolute."""
    is_path = mark is not None and Path(str(value)).exists()
    return str(Path(str(value)).resolve()) if is_path else str(value)
