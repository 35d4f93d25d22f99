"""The public names of the Python packages, as directives for mkdocstrings."""

from __future__ import annotations

from types import FunctionType, ModuleType

import edge_msa
import edge_msa_runtime


def describe_toolkit() -> str:
    """Return the documentation of the public names of `edge_msa`, except those that the runtime documents."""
    shared = {id(getattr(edge_msa_runtime, name)) for name in edge_msa_runtime.__all__}
    return _describe(edge_msa, [name for name in public_names(edge_msa) if id(getattr(edge_msa, name)) not in shared])


def describe_runtime() -> str:
    """Return the documentation of the public names of `edge_msa_runtime`."""
    return _describe(edge_msa_runtime, public_names(edge_msa_runtime))


def public_names(package: ModuleType) -> list[str]:
    """Return the names of the functions and classes that a package exports, in its own order."""
    return [name for name in package.__all__ if isinstance(getattr(package, name), (type, FunctionType))]


def _describe(package: ModuleType, names: list[str]) -> str:
    errors = {name for name in names if _is_error(getattr(package, name))}
    names = [name for name in names if name not in errors]
    functions = [name for name in names if isinstance(getattr(package, name), FunctionType)]
    others = [name for name in names if name not in functions]
    groups = (("Functions", functions), ("Classes", others), ("Errors", sorted(errors)))
    return "\n".join(f"## {title}\n\n{_directives(package, group)}" for title, group in groups if group)


def _directives(package: ModuleType, names: list[str]) -> str:
    return "\n".join(f"::: {getattr(package, name).__module__}.{name}\n" for name in names)


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)
