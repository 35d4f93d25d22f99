"""The public names of the Python packages, as directives for mkdocstrings."""

from __future__ import annotations

from types import FunctionType, ModuleType

import edge_msa
import edge_msa_runtime


def describe_toolkit() -> str:
    """Return the documentation of the public names of `edge_msa`."""
    return _describe(edge_msa)


def describe_runtime() -> str:
    """Return the documentation of the public names of `edge_msa_runtime`."""
    return _describe(edge_msa_runtime)


def public_names(package: ModuleType) -> list[str]:
    """Return the names that a package exports, in its own order."""
    return list(getattr(package, "__all__", ()))


def _describe(package: ModuleType) -> str:
    errors = {name for name in public_names(package) if _is_error(getattr(package, name))}
    names = [name for name in public_names(package) if name not in errors]
    functions = [name for name in names if isinstance(getattr(package, name), FunctionType)]
    others = [name for name in names if name not in functions]
    groups = (("Functions", functions), ("Classes", others), ("Errors", sorted(errors)))
    return "\n".join(f"## {title}\n\n{_directives(package, group)}" for title, group in groups if group)


def _directives(package: ModuleType, names: list[str]) -> str:
    return "\n".join(f"::: {getattr(package, name).__module__}.{name}\n" for name in names)


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
