"""Which parameters of a command are paths. All outputs are checked before the command starts.

Mark a parameter in its annotation: `Annotated[Path, typer.Option(...), Output(FILE)]` or `..., INPUT]`. A test fails
for a path parameter without a mark.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from edge_msa.artifacts.requests import check_may_replace_file
from edge_msa_runtime.output_paths import CONTAINER, FILE, FOLDER, check_distinct_outputs, check_output

__all__ = [
    "CONTAINER",
    "FILE",
    "FOLDER",
    "INPUT",
    "Input",
    "Output",
    "check_may_replace_files",
    "check_paths",
    "path_marks",
]


@dataclass(frozen=True)
class Output:
    """The mark of a parameter that the command writes."""

    kind: str
    """`FILE`, `FOLDER` or `CONTAINER` of `edge_msa_runtime.output_paths`."""
    replaceable: str | None = None
    """Pattern of the existing files that the command may replace or extend, as `*.html` for pages."""


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


def check_may_replace_files(callback: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check that a command with these parameter values replaces no existing file that it may not.

    Raises:
        UsageError: A file exists.
    """
    for name, _, mark in path_marks(callback):
        if not isinstance(mark, Output) or mark.kind != FILE or values.get(name) is None:
            continue
        check_may_replace_file(Path(values[name]), mark.replaceable)
