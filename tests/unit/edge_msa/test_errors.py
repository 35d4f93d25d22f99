from __future__ import annotations

import importlib
import re
from collections.abc import Iterator

import edge_msa.errors
from edge_msa_runtime import errors
from edge_msa_runtime.errors import EdgeMsaError

DEFINING_MODULES = ("edge_msa.benchmark.ssh", "edge_msa_calibrate.errors", "edge_msa_export.errors")


def _subclasses(root: type[EdgeMsaError], parent: str = "") -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield the name of a class with its parent and exit code, and those of its subclasses."""
    yield root.__name__, (parent, root.exit_code)
    for child in root.__subclasses__():
        if child.__name__.startswith("_"):  # private
            continue
        yield from _subclasses(child, root.__name__)


def test_the_docstring_draws_every_error_below_its_parent() -> None:
    for module in DEFINING_MODULES:
        importlib.import_module(module)
    drawn: dict[str, tuple[str, int]] = {}
    path: list[str] = []
    for indent, name, code in re.findall(r"^([│├└─ ]*)(\w+) +exit code (\d)", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 4
        path[depth:] = [name]
        drawn[name] = (path[depth - 1] if depth else "", int(code))
    assert drawn == dict(_subclasses(EdgeMsaError))


def test_all_packages_share_one_usage_error() -> None:
    assert edge_msa.errors.UsageError is errors.UsageError
    assert edge_msa.errors.BackendUnavailableError is errors.BackendUnavailableError
