"""What all functions of the Python API share: messages, progress, `overwrite`, and errors in Python's terms."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from edge_msa.arguments import describe_value
from edge_msa.artifacts.requests import allow_replacing
from edge_msa.console import ProgressCallback, messages, print_note
from edge_msa.errors import EdgeMsaError, UsageError
from edge_msa_runtime.log_notes import print_log

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
OnProgress = ProgressCallback
"""A function that a running step calls with its progress. An exception of it interrupts the step."""

_FLAGS = {
    "allow-worse-than-constant",
    "clip-labels",
    "compile",
    "dla",
    "draw-splits",
    "ir",
    "keep",
    "noise",
    "offline",
    "overwrite",
    "unlabeled",
}
"""Options that are True or False in Python."""
_NAMES = {"compile": "compiled", "ssh-option": "ssh_options", "training-precision": "precision"}
"""Options in messages whose arguments have other names."""
_VALUES = "[A-Z]{3,}(?:\\.[a-z]+)?|auto|encoder|fp32|table|user@device"
"""Values that messages name after an option."""
_OPTION = re.compile(rf"(?<![\w-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*)(?: (?P<value>{_VALUES})\b)?")

_command: ContextVar[bool] = ContextVar("command", default=False)
_depth: ContextVar[int] = ContextVar("depth", default=0)


@contextlib.contextmanager
def called_by_command() -> Iterator[None]:
    """Let errors name options as the command line does, and messages suggest the next command."""
    token = _command.set(True)
    try:
        yield
    finally:
        _command.reset(token)


def next_step(command: str) -> str | None:
    """Return a command to suggest to a user of the command line; None if this is a step of another function."""
    return command if _command.get() and _depth.get() <= 1 else None


def api(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Add to a function what its parameters `verbose`, `on_progress` and `overwrite` promise.

    Nothing is printed, unless `verbose` is True or an enclosing call prints. If the function raises, everything that it
    has finished stays on disk, and the same call continues from there.
    """

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        on_progress = kwargs.get("on_progress")
        if on_progress is not None and not callable(on_progress):
            raise UsageError(f"on_progress must be a function or None, got {describe_value(on_progress)}.")
        with contextlib.ExitStack() as stack:
            if not _depth.get() and not _command.get():
                stack.enter_context(print_log(print_note))  # the command line does this for all commands
            stack.enter_context(messages(verbose=bool(kwargs.get("verbose")), on_progress=on_progress))
            if kwargs.get("overwrite"):
                stack.enter_context(allow_replacing("any"))
            token = _depth.set(_depth.get() + 1)
            try:
                return function(*args, **kwargs)
            except EdgeMsaError as error:
                if _depth.get() == 1 and not _command.get():
                    error.args = tuple(in_python_terms(item) if isinstance(item, str) else item for item in error.args)
                raise
            finally:
                _depth.reset(token)

    return call


def in_python_terms(message: str) -> str:
    """Return an error message with Python's arguments instead of the options of the command line.

    Sentences with a whole command, such as `edge-msa calibrate RUN --method mse`, stay as they are.
    """
    sentences = re.split(r"(?<=[.;]) ", message)
    return " ".join(item if "edge-msa " in item else _OPTION.sub(_argument, item) for item in sentences)


def _argument(match: re.Match[str]) -> str:
    name = _NAMES.get(match["name"], match["name"].replace("-", "_"))
    if match["name"] in _FLAGS:
        return f"{name}={not match['no']}"
    return f"{name}={match['value']!r}" if match["value"] else name
