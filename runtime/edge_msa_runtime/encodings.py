"""Output and file names in any locale."""

from __future__ import annotations

import io
import locale
import os
import sys
from pathlib import Path
from typing import Iterable

from edge_msa_runtime.errors import UsageError

_FIX = "Set a UTF-8 locale, for example LC_ALL=C.UTF-8, or PYTHONUTF8=1, and run the command again"


def escape_unprintable_output() -> None:
    r"""Print characters that the terminal's encoding lacks as escapes such as `\u4e2d`, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def check_arguments(arguments: Iterable[str]) -> None:
    """Check that the locale could decode the arguments of a command line.

    Raises:
        UsageError: an argument has characters that the locale does not have, so that its text and paths are unreadable.
    """
    if sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        return
    for argument in arguments:
        if not _is_utf8(argument):
            raise UsageError(f"The argument {_show(argument)} cannot be decoded, because {_describe_locale()}. {_FIX}.")


def check_native_path(path: os.PathLike[str] | str) -> None:
    """Check that native libraries, which expect UTF-8, see the same path as Python.

    Raises:
        UsageError: the locale is not UTF-8 and the path has other characters than ASCII, or its bytes are not UTF-8.
    """
    text = str(Path(path).absolute())
    if os.name == "nt" or (_is_utf8(text) and os.fsencode(text) == text.encode("utf-8")):
        return
    if sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        raise UsageError(f"The path {_show(text)} must be UTF-8, got other bytes. Rename the file or folder.")
    raise UsageError(
        f"The path {_show(text)} cannot be passed to the inference backend, because {_describe_locale()}. {_FIX}."
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _show(text: str) -> str:
    """Return the text with its real characters if its bytes are UTF-8, otherwise with escapes."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _describe_locale() -> str:
    name = locale.setlocale(locale.LC_CTYPE)
    return f"the locale {name!r} decodes file names as {sys.getfilesystemencoding()}"
