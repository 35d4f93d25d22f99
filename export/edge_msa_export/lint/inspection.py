"""Graphs that lie on disk, held against the rules of their lint_target: `edge-msa inspect`."""

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
from edge_msa_export.lint import REFUSED, Finding, LintTarget, documents, lint
from edge_msa_export.lint.view import GraphView
from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.bundle.manifest import GraphSpec


@dataclass(frozen=True)
class Inspected:
    """One graph: its `name`, its `precision` where a bundle says so, nodes by type, those in int8, and the findings."""

    name: str
    precision: str
    nodes: Mapping[str, int]
    int8: int
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """The graph as plain JSON values."""
        return {
            "graph": self.name,
            "precision": self.precision,
            "nodes": dict(self.nodes),
            "int8": self.int8,
            "findings": [finding.to_json() for finding in self.findings],
        }


def tensorrt_graphs(bundle: Bundle) -> tuple[GraphSpec, ...]:
    """What a bundle has for TensorRT.

    Raises:
        LintError: it has nothing.
    """
    specs = tuple(spec for spec in bundle.manifest.graphs if spec.backend == "tensorrt")
    if not specs:
        backends = ", ".join(bundle.manifest.backends)
        raise LintError(
            f"{bundle.path.name} has no graphs for TensorRT, it is for {bundle.manifest.target} ({backends}): "
            "export for a Jetson, or give one .onnx file"
        )
    return specs


def inspect_bundle(bundle: Bundle, lint_target: LintTarget) -> tuple[Inspected, ...]:
    """Every graph that the bundle has for TensorRT.

    Raises:
        LintError: it has none.
        ExportError: a graph cannot be read.
    """
    return tuple(
        _inspect(bundle.path / spec.file, spec.file, spec.precision, lint_target, ours=True)
        for spec in tensorrt_graphs(bundle)
    )


def inspect_file(path: Path, lint_target: LintTarget) -> Inspected:
    """One `.onnx` of anybody's.

    Raises:
        ExportError: it cannot be read.
    """
    return _inspect(path, path.name, "", lint_target, ours=False)


def _inspect(path: Path, name: str, precision: str, lint_target: LintTarget, *, ours: bool) -> Inspected:
    view = GraphView(_read(path), path.parent)
    try:
        findings = [*_standard(path), *_short_weights(path, view.model), *lint(view, lint_target, ours=ours)]
    except (OSError, ValueError) as error:  # what a file of weights may raise, that is shorter than a graph says
        raise ExportError(f"{path} cannot be read: {_first_line(error)}") from error
    types = Counter(node.op_type for node in view.nodes)
    int8 = sum(view.is_int8(node) for node in view.nodes)
    return Inspected(name, precision, dict(types.most_common()), int8, tuple(findings))


def _standard(path: Path) -> list[Finding]:
    """What the standard's own checker says: tensors that nobody makes, cycles, shapes that do not fit one another."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        return [Finding("standard", REFUSED, "model", _first_line(error), documents.ONNX_STANDARD)]
    return []


def _short_weights(path: Path, model: onnx.ModelProto) -> Iterator[Finding]:
    """Constants whose file ends before they do, which the standard's checker does not look at."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            told = {item.key: item.value for item in tensor.external_data}
            needed = math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            there = (path.parent / told["location"]).stat().st_size - int(told.get("offset", 0))
            if there < needed:
                message = f"{tensor.name} has {max(there, 0)} bytes in {told['location']}, {needed} are needed"
                yield Finding("standard", REFUSED, "model", message, documents.ONNX_EXTERNAL)


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise ExportError(f"{path} is no ONNX graph, or not all of one: {_first_line(error)}") from error
    if not model.graph.node or not model.graph.output:
        raise ExportError(f"{path} is no ONNX graph, or not all of one: it has no nodes or no output")
    for tensor in model.graph.initializer:
        places = [item.value for item in tensor.external_data if item.key == "location"]
        if tensor.data_location == TensorProto.EXTERNAL and not (places and _is_beside(path, places[0])):
            where = places[0] if places else "a file that it does not name"
            raise ExportError(f"{path} keeps {tensor.name} in {where}, which is not beside it; copy both")
    return model


def _is_beside(path: Path, location: str) -> bool:
    pure = PurePosixPath(location)
    return not pure.is_absolute() and ".." not in pure.parts and (path.parent / location).is_file()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
