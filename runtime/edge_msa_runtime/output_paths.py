"""Check where a command will write, before its slow work starts."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path
from typing import Iterable, Iterator

from edge_msa_runtime.errors import UsageError

FILE = "file"
"""A file, which is written next to its destination and renamed."""
FOLDER = "folder"
"""A folder that a command writes as a whole next to its destination, and renames."""
CONTAINER = "container"
"""A folder in which a command creates files and folders. It may exist."""


def check_output(path: os.PathLike[str] | str, kind: str, inputs: Iterable[os.PathLike[str] | str] = ()) -> None:
    """Check that a command can write to a path. Nothing is left behind.

    Args:
        path: the file or folder to write. Missing parent folders are fine.
        kind: `FILE`, `FOLDER` or `CONTAINER`.
        inputs: files and folders that the command reads. Those that do not exist are ignored.

    Raises:
        UsageError: there is a folder where a file is needed or the reverse, a parent is not a folder, the output or its
            parent is not writable, or the output would overwrite an input or change an input folder.
    """
    output = Path(path)
    try:
        _check_kind(output, kind)
        _check_inputs(output, kind, [Path(item) for item in inputs])
        _check_writable(output, kind)
    except OSError as error:
        raise UsageError(f"Cannot write {output} ({error.strerror or error}). Choose another path.") from None
    except ValueError as error:  # a NUL character
        raise UsageError(f"{str(output)!r} is not a valid path ({error}). Choose another path.") from None


def check_may_replace(path: os.PathLike[str] | str, *, overwrite: bool) -> None:
    """Check that a command may write to a path, because nothing is there, or an HTML page, or `--overwrite` was passed.

    Raises:
        UsageError: a file exists that may not be replaced.
    """
    output = Path(path)
    if not overwrite and output.suffix.lower() != ".html" and _exists(output):
        raise UsageError(f"{output} exists. Pass --overwrite to replace it, or choose another path.")


def check_distinct_outputs(paths: Iterable[os.PathLike[str] | str]) -> None:
    """Check that no two outputs of a command are the same file.

    Raises:
        UsageError: two paths are equal.
    """
    seen = set()
    for path in paths:
        resolved = os.path.realpath(path)
        if resolved in seen:
            raise UsageError(f"Two outputs have the path {path}. Pass a different path for each.")
        seen.add(resolved)


def _check_kind(output: Path, kind: str) -> None:
    if not output.name and kind != CONTAINER:
        problem = "Pass the path of a file to write" if kind == FILE else "Pass the path of a new folder"
        raise UsageError(f"{output} is a folder. {problem}.")
    mode = _mode(output)
    if mode is None and not output.is_symlink():
        return
    if kind == FILE:
        if mode is not None and stat.S_ISDIR(mode):
            raise UsageError(f"{output} is a folder. Pass the path of a file to write.")
        if mode is None or not stat.S_ISREG(mode):
            raise UsageError(f"{output} is not a regular file. Pass the path of a file to write.")
        return
    if mode is None or not stat.S_ISDIR(mode):
        problem = "is a file" if mode is not None else "is a link to nothing"
        raise UsageError(f"{output} {problem}. Pass the path of a folder, or one that does not exist yet.")
    if kind == FOLDER and output.is_symlink():
        raise UsageError(f"{output} is a link. Pass the folder itself, {output.resolve()}.")


def _check_inputs(output: Path, kind: str, inputs: Iterable[Path]) -> None:
    """Check that the output is not an input, not inside an input folder, and does not replace a folder with inputs."""
    resolved = output.resolve()
    for item in inputs:
        mode = _mode(item)
        if mode is None:
            continue
        source = item.resolve()
        if _is_same(resolved, source):
            if kind == CONTAINER and stat.S_ISDIR(mode):
                raise UsageError(f"The output '{output}' is also an input. Choose another folder.")
            raise UsageError(f"The output '{output}' would overwrite an input. Choose another path.")
        if stat.S_ISDIR(mode) and any(_is_same(parent, source) for parent in resolved.parents):
            raise UsageError(f"The output '{output}' is inside the input '{item}'. Choose a path outside of it.")
        if kind == FOLDER and any(_is_same(parent, resolved) for parent in source.parents):
            raise UsageError(f"The output '{output}' contains the input '{item}'. Choose another folder.")


def _is_same(first: Path, second: Path) -> bool:
    try:
        return first == second or first.samefile(second)
    except OSError:
        return False


def _check_writable(output: Path, kind: str) -> None:
    """Check that a new entry can be created: create an empty folder in its place, and remove it.

    Permission bits are not enough: root may ignore them, and a file server may have rules of its own.
    """
    folder = output.absolute()
    if kind != CONTAINER or not folder.is_dir():
        folder = next(parent for parent in folder.parents if _exists(parent))
    if not folder.is_dir():
        raise UsageError(f"Cannot write {output}, because {folder} is not a folder. Choose another path.")
    for name in _new_names(output, folder):
        _try_name(folder, name)
    probe = folder / f".{uuid.uuid4().hex[:8]}.probe"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise UsageError(
            f"Cannot write {output}, because {folder} is not writable ({error.strerror}). Choose another path."
        ) from None


def _new_names(output: Path, folder: Path) -> Iterator[str]:
    """Yield the names of the entries that will be created, the longest temporary name of the output included."""
    try:
        yield from output.absolute().relative_to(folder).parts[:-1]
    except ValueError:
        return
    yield f".{output.name}.00000000.partial"


def _try_name(folder: Path, name: str) -> None:
    """Raise OSError if the file system does not accept the name, for example because it is too long."""
    try:
        os.lstat(folder / name)
    except FileNotFoundError:
        return


def _exists(path: Path) -> bool:
    return _mode(path) is not None or path.is_symlink()


def _mode(path: Path) -> int | None:
    """Return the mode of what a path leads to, or None if there is nothing.

    Raises:
        OSError: the path cannot exist, for example because its name is too long.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
