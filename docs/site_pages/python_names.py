"""The public names of the Python packages, as directives for mkdocstrings."""

from __future__ import annotations

from types import ModuleType

import edge_msa
import edge_msa_runtime

_HIDDEN_OPTIONS = "    options:\n      show_root_heading: false\n      members: false\n"


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
    return "\n".join(f"::: {getattr(package, name).__module__}.{name}\n" for name in public_names(package))
