"""Check the outputs of a function before its slow work starts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from edge_msa.arguments import path_of
from edge_msa.artifacts.requests import check_may_replace_file
from edge_msa_runtime.output_paths import CONTAINER, FILE, FOLDER, check_output


def output_folder(value: object, name: str, inputs: Iterable[object] = ()) -> Path:
    """Return an argument that is a folder to write as a whole, after checking that it can be written.

    Args:
        value: The argument.
        name: Its name, for the error message.
        inputs: Files and folders that the function reads, which the folder must not contain. Values that are not paths,
            such as None and tables in memory, are ignored.

    Raises:
        UsageError: It is no path, or cannot be written.
    """
    return _checked(value, name, FOLDER, inputs)


def output_container(value: object, name: str, inputs: Iterable[object] = ()) -> Path:
    """Return an argument that is a folder to write files and folders into. The rest is as in `output_folder`."""
    return _checked(value, name, CONTAINER, inputs)


def output_file(value: object, name: str, inputs: Iterable[object] = (), *, replaceable: str | None = None) -> Path:
    """Return an argument that is a file to write. The rest is as in `output_folder`.

    Args:
        value: The argument.
        name: Its name, for the error message.
        inputs: Files and folders that the function reads.
        replaceable: Pattern of the existing files that may be replaced without `overwrite`, as `*.html`.

    Raises:
        UsageError: It is no path, cannot be written, or exists and may not be replaced.
    """
    path = _checked(value, name, FILE, inputs)
    check_may_replace_file(path, replaceable)
    return path


def _checked(value: object, name: str, kind: str, inputs: Iterable[object]) -> Path:
    path = path_of(value, name, "the path of a file" if kind == FILE else "the path of a folder")
    check_output(path, kind, [item for item in inputs if isinstance(item, str | os.PathLike)])
    return path
