"""Writes the graphs of each backend and precision as small files, their weights once a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.bundle.folders import explain
from edge_msa_export.lint import Finding, LintTarget, lint, refuse_findings
from edge_msa_export.request import IR_SUFFIX, ExportRequest, Variant
from edge_msa_export.transforms.compact import WeightsFile, shrink
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_export.transforms.layer_norm import FIRST_WITH_LAYER_NORM, decompose_layer_norms
from edge_msa_export.transforms.openvino_ir import write_ir
from edge_msa_export.transforms.tensorrt_weights import weights_as_pairs
from edge_msa_export.transforms.weight_storage import with_compact_weights
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME, GraphKey


@dataclass(frozen=True)
class Written:
    """A graph's file and that of its weights, empty where it has none, relative to the root."""

    file: str
    weights: str


class Writer:
    """Writes graphs under `root`; backends that read the same graphs share a folder, which is written once."""

    def __init__(self, root: Path, request: ExportRequest) -> None:
        self._root = root
        self._request = request
        self._folders: dict[str, dict[GraphKey, Written]] = {}
        self._findings: list[Finding] = []

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the lint says of what was written, and is no reason to refuse it."""
        return tuple(self._findings)

    def write(self, variant: Variant, graphs: Mapping[GraphKey, onnx.ModelProto]) -> dict[GraphKey, Written]:
        """Write one variant's graphs.

        Raises:
            ExportError: a graph is not fit for the backend at the target's version, or the disk is full.
        """
        known = self._folders.get(variant.folder, {})
        written: dict[GraphKey, Written] = {}
        weights = WeightsFile()
        try:
            (self._root / variant.folder).mkdir(parents=True, exist_ok=True)
            lint_target = LintTarget.of(self._request.profile, variant.backend, dla=self._dla(variant))
            for key, graph in graphs.items():
                file = f"{variant.folder}/{key.file_stem}.{variant.suffix}"
                lowered = lowered_for(variant, graph, self._request)
                findings = lint(lowered, lint_target)
                refuse_findings(findings, lint_target, file)
                self._findings += findings
                written[key] = known.get(key) or self._write_one(lowered, file, weights)
            if weights.content:
                (self._root / variant.folder / WEIGHTS_NAME).write_bytes(weights.content)
        except OSError as error:
            raise explain(error, self._root) from error
        self._folders[variant.folder] = written
        return written

    def _dla(self, variant: Variant) -> bool:
        return self._request.dla and variant.backend == "tensorrt"

    def _write_one(self, lowered: onnx.ModelProto, file: str, weights: WeightsFile) -> Written:
        if file.endswith(IR_SUFFIX):
            return Written(file, f"{file.rpartition('/')[0]}/{write_ir(lowered, self._root / file).name}")
        small = shrink(lowered, plain=_has_tensorrt(self._request))
        moved = weights.move_out(small.graph)
        (self._root / file).write_bytes(small.SerializeToString(deterministic=True))
        return Written(file, f"{file.rpartition('/')[0]}/{WEIGHTS_NAME}" if moved else "")


def lowered_for(variant: Variant, graph: onnx.ModelProto, request: ExportRequest) -> onnx.ModelProto:
    """The graph that a backend gets at a precision, still under its weights' names."""
    if _has_tensorrt(request) and LintTarget.of(request.profile, "tensorrt").version < FIRST_WITH_LAYER_NORM:
        graph = decompose_layer_norms(graph)  # for every backend of the device: they share files
    if variant.precision == "int8" and request.ranges is not None:
        floats = request.fp32_weights.get(variant.scheme, {})
        int8 = quantize(graph, request.ranges, variant.scheme, floats, request.smoothing)
        return weights_as_pairs(int8) if variant.backend == "tensorrt" else with_compact_weights(int8, int8_tables=True)
    if variant.precision == "fp16":
        # OpenVINO computes in what its device has, and takes float16 as a way to keep weights.
        return with_compact_weights(graph, int8_tables=False) if variant.backend == "openvino" else to_fp16(graph)
    return graph


def _has_tensorrt(request: ExportRequest) -> bool:
    return any(backend.name == "tensorrt" for backend in request.profile.backends)
