"""Exit codes, the exception classes, and every message with what to do, from the places that raise it."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import edge_msa
import edge_msa_calibrate
import edge_msa_export
import edge_msa_runtime
from edge_msa_runtime.errors import EdgeMsaError
from site_pages.markdown import code, prose, table

PACKAGES = (edge_msa, edge_msa_export, edge_msa_calibrate, edge_msa_runtime)
EXIT_CODES = {
    0: "Success.",
    1: "Failure: a file, a run, a bundle or a computation is not what it must be.",
    2: "Usage: an argument, an option or an input cannot be used.",
    3: "The accuracy gate failed, or golden predictions are not reproduced.",
    4: "A backend, a library or a device is missing.",
    130: "Interrupted by Ctrl-C. In general 128 + the number of the signal: 143 for SIGTERM, 129 for SIGHUP.",
}


class Message(NamedTuple):
    """A message, as it is written where it is raised. Values that are only known then are in angle brackets."""

    error: str
    """Name of the exception class."""
    text: str
    """The whole message."""
    where: str
    """Module that raises it."""


def describe_exit_codes() -> str:
    """Return a table of the exit codes with the exceptions that cause them."""
    rows = []
    for number, meaning in EXIT_CODES.items():
        names = [kind.__name__ for kind in error_classes() if kind.exit_code == number]
        rows.append((str(number), meaning, ", ".join(map(code, names))))
    return table(("exit code", "meaning", "exceptions"), rows)


def describe_classes() -> str:
    """Return a table of the exception classes, derived classes after their base."""
    rows = []
    for kind in error_classes():
        summary, remedy = split_docstring(kind)
        names = code(kind.__name__) + ("" if kind is EdgeMsaError else f" ({code(kind.__mro__[1].__name__)})")
        rows.append((names, str(kind.exit_code), prose(summary), prose(remedy)))
    return table(("exception (derived from)", "exit code", "meaning", "what to do"), rows)


def describe_messages() -> str:
    """Return a table of messages per exception class. A message that does not say what to do has that of its class."""
    parts = []
    messages = list_messages()
    for kind in error_classes():
        rows = sorted({_split(item.text) for item in messages if item.error == kind.__name__})
        if rows:
            default = split_docstring(kind)[1]
            cells = [(prose(what), prose(remedy or default)) for what, remedy in rows]
            parts.append(f"### {kind.__name__}\n\n{table(('message', 'what to do'), cells)}")
    return "\n".join(parts)


def split_docstring(kind: type[EdgeMsaError]) -> tuple[str, str]:
    """Return what an exception means and what to do about it, from its own docstring."""
    meaning, _, remedy = (
        inspect.cleandoc(kind.__dict__.get("__doc__") or "").split("\n\nAttributes:")[0].partition("What to do: ")
    )
    return meaning.strip(), remedy.strip()


@cache
def error_classes() -> tuple[type[EdgeMsaError], ...]:
    """Return all exception classes, derived classes after their base."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.rpartition(".")[2] == "errors" or module.name.endswith(("benchmark.ssh", "vendor_packages")):
                importlib.import_module(module.name)
    return tuple(_descendants(EdgeMsaError))


@cache
def list_messages() -> tuple[Message, ...]:
    """Return the messages of all `raise` statements of this project's exceptions."""
    names = {kind.__name__ for kind in error_classes()}
    return tuple(message for package in PACKAGES for path in _sources(package) for message in _read(path, names))


def _descendants(kind: type[EdgeMsaError]) -> Iterator[type[EdgeMsaError]]:
    yield kind
    for child in sorted(kind.__subclasses__(), key=lambda item: item.__name__):
        if not child.__name__.startswith("_"):
            yield from _descendants(child)


def _sources(package: ModuleType) -> list[Path]:
    return sorted(Path(package.__path__[0]).rglob("*.py"))


def _read(path: Path, names: set[str]) -> Iterator[Message]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            name, arguments = node.exc.func.id, node.exc.args
            text = _template(arguments[0]) if name in names and arguments else ""
            if " " in text:  # not a message that is only a value
                yield Message(name, " ".join(text.split()), path.stem)


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_template, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left) + _template(node.right)
    if isinstance(node, ast.FormattedValue):
        return f"<{_placeholder(node.value)}>"
    return f"<{_placeholder(node)}>"


def _placeholder(node: ast.expr) -> str:
    """Return a short name for a value: that of its variable or attribute, or of the first argument of a call."""
    match node:
        case ast.Name(id=name):
            pass
        case ast.Attribute(value=owner, attr="name" | "value" | "path" | "kind" as attribute):
            name = f"{_placeholder(owner)} {attribute}"
        case ast.Attribute(attr=name):
            pass
        case ast.Call(args=[first, *_]) | ast.BoolOp(values=[first, *_]) | ast.Subscript(value=first):
            name = _placeholder(first)
        case ast.Call(func=function):
            name = _placeholder(function)
        case ast.GeneratorExp(generators=[first, *_]) | ast.ListComp(generators=[first, *_]):
            name = _placeholder(first.iter)
        case _:
            name = "value"
    return name.strip("_").replace("_", " ")


def _split(text: str) -> tuple[str, str]:
    """Split a message into what is wrong, its first sentence, and what to do."""
    first, *rest = re.split(r"(?<=[.?!]) (?=[A-Z<`'\"-])", text)
    return first, " ".join(rest)
