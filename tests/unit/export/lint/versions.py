"""Runs the lint for many TensorRT versions at once."""

from __future__ import annotations

import onnx

from edge_msa_export.lint import LintTarget, lint

TARGETS = {
    name: LintTarget("tensorrt", version)
    for name, version in {
        "8.5": (8, 5, 2, 2),
        "8.6": (8, 6, 2, 3),
        "10.0": (10, 0),
        "10.1": (10, 1),
        "10.3": (10, 3),
        "10.13": (10, 13),
        "10.16": (10, 16, 2),
        "11": (11, 4, 1),
    }.items()
}
ALL = set(TARGETS)


def find_by_version(model: onnx.ModelProto) -> dict[str, set[str]]:
    """Return the versions that report each rule for a graph of another project, except `strong-typing`."""
    versions: dict[str, set[str]] = {}
    for name, target in TARGETS.items():
        for finding in lint(model, target, project_graph=False):
            if finding.rule != "strong-typing":
                versions.setdefault(finding.rule, set()).add(name)
    return versions
