"""What one backend at one version can read of a graph, and what will not pay there: rules as data, held without a GPU.

`rules.py` has every rule with the document it follows; the files beside it have what they check.
"""

from __future__ import annotations

from edge_msa_export.lint.finding import NOTE, REFUSED, SLOW, Finding
from edge_msa_export.lint.lint_target import LintTarget, tensorrt_version
from edge_msa_export.lint.paths import find_local_paths
from edge_msa_export.lint.run import lint, refuse_findings

__all__ = [
    "NOTE",
    "REFUSED",
    "SLOW",
    "Finding",
    "LintTarget",
    "find_local_paths",
    "lint",
    "refuse_findings",
    "tensorrt_version",
]
