"""What a result was requested with, and which existing results a command may replace.

A run with another request is never replaced silently: the user passes `--overwrite`, or another folder. A run of the
same request that other code made is made again, because the user asks for exactly this result; a note says so.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.console import print_note
from edge_msa.errors import RunUsageError, UsageError

Replacement = Literal["same", "upstream", "any"]
"""Which existing results a command may replace.

`same`: those of the same request. `upstream`: also those that differ only in the results of earlier steps, as in a
pipeline whose earlier steps were made again. `any`: all (`--overwrite`).
"""
_UPSTREAM = ("teacher", "student", "calibrat", "text model", "model")
"""Beginnings of the names of inputs that are results of earlier steps."""
_MAX_DIFFERENCES = 3
_SHOWN_DIGITS = 8

_replacement: ContextVar[Replacement] = ContextVar("replacement", default="same")


@contextlib.contextmanager
def allow_replacing(replacement: Replacement) -> Iterator[None]:
    """Let the steps in the body replace more existing results. An enclosing `any` stays in force."""
    token = _replacement.set("any" if _replacement.get() == "any" else replacement)
    try:
        yield
    finally:
        _replacement.reset(token)


class RequestFields(TypedDict):
    """A request and its cache key, as records store them."""

    command: str
    recipe: dict[str, Any]
    seed: int
    inputs: dict[str, str]
    cache_key: str


@dataclass(frozen=True)
class Request:
    """Everything that a result depends on, except the code."""

    command: str
    """The command and its variant, e.g. `train hrlf`."""
    recipe: Mapping[str, Any]
    """Every setting that can change the result."""
    seed: int
    """Seed of all random draws."""
    inputs: Mapping[str, str]
    """Digests of the data and of earlier results, by name."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What messages call the inputs, e.g. the file of the data. Not part of the request."""

    @property
    def cache_key(self) -> str:
        """SHA-256 of the request and the code."""
        return compute_cache_key(self.command, self.recipe, self.seed, self.inputs)

    def to_json(self) -> RequestFields:
        """Return plain JSON values."""
        return {
            "command": self.command,
            "recipe": dict(self.recipe),
            "seed": self.seed,
            "inputs": dict(self.inputs),
            "cache_key": self.cache_key,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Request | None:
        """Return the request that `to_json` wrote, or None if the value is something else."""
        try:
            return cls(str(value["command"]), dict(value["recipe"]), int(value["seed"]), dict(value["inputs"]))
        except (KeyError, TypeError, ValueError):
            return None

    def __str__(self) -> str:
        """Return the command and the seed."""
        return f"`{self.command}` with seed {self.seed}"

    def list_differences(self, requested: Request, *, ignore_upstream: bool = False) -> list[str]:
        """Return what another request changes, as `name old -> new`; empty if nothing.

        Args:
            requested: The other request.
            ignore_upstream: Whether to ignore inputs that are results of earlier steps.
        """
        if self.command != requested.command:
            return [f"command {self.command} -> {requested.command}"]
        old, new = _flatten(self.recipe), _flatten(requested.recipe)
        inputs = [
            (name, f"{name} {_show_input(self, name)} -> {_show_input(requested, name)}")
            for name in dict.fromkeys([*self.inputs, *requested.inputs])
            if self.inputs.get(name) != requested.inputs.get(name)
            and not (ignore_upstream and name.startswith(_UPSTREAM))
        ]
        pairs: dict[str, tuple[Any, Any]] = {"seed": (self.seed, requested.seed)}
        pairs |= {name: (old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])}
        settings = [f"{name} {_show(a)} -> {_show(b)}" for name, (a, b) in pairs.items() if a != b]
        data = [text for name, text in inputs if name == "data"]  # first, because other data has other settings
        return [*data, *settings, *(text for name, text in inputs if name != "data")]


def check_may_replace(path: Path, existing: Request | None, requested: Request) -> None:
    """Check that a command may replace the result in `path`, which is not current. Call this before slow work.

    Args:
        path: The result.
        existing: Its request; None if it is not known, because the result is damaged or from another version.
        requested: The request of the command.

    Raises:
        RunUsageError: It was requested with something else, and replacing it was not allowed.
    """
    allowed = _replacement.get()
    if allowed == "any":
        return
    if existing is None:
        if allowed == "same":
            raise RunUsageError(
                f"{path} contains a result that cannot be read or is from another version. Pass --overwrite to replace "
                "it, or choose another output."
            )
        print_note(f"{path} cannot be read and will be replaced.")
        return
    differences = existing.list_differences(requested, ignore_upstream=allowed == "upstream")
    if differences:
        shown = "; ".join(differences[:_MAX_DIFFERENCES])
        more = len(differences) - _MAX_DIFFERENCES
        raise RunUsageError(
            f"{path} contains the result of another request ({existing}). This command differs: {shown}"
            f"{f'; and {more} more' if more > 0 else ''}. Pass --overwrite to replace it, or choose another output."
        )
    print_note(f"{path} is out of date or damaged, and will be replaced.")


def check_may_replace_file(path: Path, replaceable: str | None = None) -> None:
    """Check that a command may write a file or folder that is no result of a request, such as a table or a page.

    Args:
        path: The file or folder.
        replaceable: Pattern of the existing files that may always be replaced, as `*.html`.

    Raises:
        UsageError: It exists and may not be replaced.
    """
    if path.exists() and _replacement.get() != "any" and not (replaceable and path.match(replaceable)):
        raise UsageError(f"{path} exists. Pass --overwrite to replace it, or choose another path.")


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings of nested tables by dotted name, as they are in JSON."""
    flat: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(table, default=str)).items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _show(value: object) -> str:
    return "none" if value is None else str(value)


def _show_input(request: Request, name: str) -> str:
    digest = request.inputs.get(name)
    if digest is None:
        return "none"
    label = request.names.get(name)
    short = digest if len(digest) < 2 * _SHOWN_DIGITS else digest[:_SHOWN_DIGITS]
    return f"{label} ({short})" if label else short
