"""Checks ONNX graphs for problems with one backend at one version, without running that backend.

`rules` lists every rule with the document that it follows. The `check_*` modules hold the code of the checks.
"""

from __future__ import annotations

from edge_msa_export.lint.linter import lint, raise_for_errors
from edge_msa_export.lint.local_paths import find_local_paths
from edge_msa_export.lint.rule import ERROR, NOTE, SEVERITIES, WARNING, LintFinding
from edge_msa_export.lint.target import LintTarget, parse_tensorrt_version

__all__ = [
    "ERROR",
    "NOTE",
    "SEVERITIES",
    "WARNING",
    "LintFinding",
    "LintTarget",
    "find_local_paths",
    "lint",
    "parse_tensorrt_version",
    "raise_for_errors",
]
