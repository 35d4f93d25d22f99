"""Checks graphs on disk for TensorRT: the core of `edge-msa inspect`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, shape_inference

from edge_msa_export.errors import ExportError, LintError
from edge_msa_export.lint.graph_view import GraphView
from edge_msa_export.lint.linter import lint
from edge_msa_export.lint.local_paths import iterate_messages
from edge_msa_export.lint.rule import ERROR, LintFinding
from edge_msa_export.lint.rules import ONNX_EXTERNAL_DATA, ONNX_IR
from edge_msa_export.lint.target import LintTarget
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.bundle.manifest import GraphSpec
from edge_msa_runtime.errors import first_line

ONNX_CHECKER_RULE = "onnx-checker"


@dataclass(frozen=True)
class InspectedGraph:
    """The result of inspecting one graph.

    Attributes:
        name: file of the graph.
        precision: precision of a graph in a bundle; empty for a single file.
        operators: number of nodes by operator, most frequent first.
        int8_nodes: number of nodes that a backend may compute in int8.
        findings: everything that the checks report.
    """

    name: str
    precision: str
    operators: Mapping[str, int]
    int8_nodes: int
    findings: tuple[LintFinding, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return {
            "graph": self.name,
            "precision": self.precision,
            "operators": dict(self.operators),
            "int8_nodes": self.int8_nodes,
            "findings": [finding.to_json() for finding in self.findings],
        }


def list_tensorrt_graphs(bundle: Bundle) -> tuple[GraphSpec, ...]:
    """Return the graphs that a bundle has for TensorRT.

    Raises:
        LintError: the bundle has none.
    """
    specs = tuple(spec for spec in bundle.manifest.graphs if spec.backend == "tensorrt")
    if not specs:
        backends = ", ".join(bundle.manifest.backends)
        raise LintError(
            f"{bundle.path.name} has no graphs for TensorRT. It is for {bundle.manifest.target} ({backends}). "
            "Export a bundle for a Jetson, or pass an .onnx file."
        )
    return specs


def inspect_bundle(bundle: Bundle, target: LintTarget) -> tuple[InspectedGraph, ...]:
    """Inspect every graph that a bundle has for TensorRT.

    Raises:
        LintError: the bundle has none.
        ExportError: a graph cannot be loaded.
    """
    return tuple(
        _inspect(bundle.path / spec.file, spec.file, spec.precision, target, project_graph=True)
        for spec in list_tensorrt_graphs(bundle)
    )


def inspect_file(path: Path, target: LintTarget) -> InspectedGraph:
    """Inspect any `.onnx` file. The rules that only this project's graphs must meet are skipped.

    Raises:
        ExportError: the file cannot be loaded.
    """
    return _inspect(path, path.name, "", target, project_graph=False)


def _inspect(path: Path, name: str, precision: str, target: LintTarget, *, project_graph: bool) -> InspectedGraph:
    view = GraphView(_load(path), path.parent)
    try:
        findings = [
            *_run_onnx_checker(path),
            *_find_truncated_weights(path, view.model),
            *lint(view, target, project_graph=project_graph),
        ]
    except (OSError, ValueError) as error:  # numpy_helper raises both when a file of weights is too short
        raise ExportError(f"{path} cannot be loaded: {first_line(error)}.") from error
    operators = Counter(node.op_type for node in view.nodes)
    int8_nodes = sum(view.is_int8(node) for node in view.nodes)
    return InspectedGraph(name, precision, dict(operators.most_common()), int8_nodes, tuple(findings))


def _run_onnx_checker(path: Path) -> list[LintFinding]:
    """Return what the checker of the ONNX package reports: undefined tensors, cycles, shapes that do not match."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        return [LintFinding(ONNX_CHECKER_RULE, ERROR, "model", first_line(error), ONNX_IR)]
    return []


def _find_truncated_weights(path: Path, model: onnx.ModelProto) -> Iterator[LintFinding]:
    """Find constants whose file is too short. The checker of the ONNX package does not check this."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {item.key: item.value for item in tensor.external_data}
            needed = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            available = (path.parent / entries["location"]).stat().st_size - int(entries.get("offset", 0))
            if available < needed:
                message = f"{tensor.name} needs {needed} bytes in {entries['location']}, got {max(available, 0)}."
                yield LintFinding(ONNX_CHECKER_RULE, ERROR, "model", message, ONNX_EXTERNAL_DATA)


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ExportError(f"{path} cannot be loaded: {error.strerror}.") from error
    except (DecodeError, ValueError) as error:
        raise ExportError(f"{path} is not a complete ONNX model: {first_line(error)}.") from error
    if not model.graph.node or not model.graph.output:
        raise ExportError(f"{path} is not a complete ONNX model: it has no nodes or no output.")
    tensors = (item for _, item in iterate_messages(model, "model") if isinstance(item, onnx.TensorProto))
    for tensor in tensors:
        locations = [item.value for item in tensor.external_data if item.key == "location"]
        is_external = tensor.data_location == TensorProto.EXTERNAL or locations
        if is_external and not (len(locations) == 1 and _is_in_same_folder(path, locations[0])):
            file = ascii(locations[0]) if locations else "a file that it does not name"
            raise ExportError(f"{path} stores {tensor.name} in {file}, which is not in the same folder. Copy both.")
    return model


def _is_in_same_folder(path: Path, location: str) -> bool:
    pure = PurePosixPath(location)
    return not pure.is_absolute() and ".." not in pure.parts and (path.parent / location).is_file()
