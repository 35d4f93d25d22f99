"""Writes the graphs of each variant as compact files, with one weights file per folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from edge_msa_calibrate.qdq import quantize
from edge_msa_export.folders import to_export_error
from edge_msa_export.lint import LintFinding, LintTarget, lint, raise_for_errors
from edge_msa_export.profiles import INT4
from edge_msa_export.request import IR_SUFFIX, ExportRequest, GraphVariant
from edge_msa_export.transforms.compact import WeightsFile, compact_graph
from edge_msa_export.transforms.fp16 import to_fp16
from edge_msa_export.transforms.int4_storage import Int4Packer, count_packed
from edge_msa_export.transforms.layer_norm import FIRST_VERSION_WITH_LAYER_NORM, decompose_layer_norms
from edge_msa_export.transforms.openvino_ir import write_ir
from edge_msa_export.transforms.tensorrt_weights import weights_to_qdq_pairs
from edge_msa_export.transforms.weight_storage import compress_weights
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME, GraphKey


@dataclass(frozen=True)
class GraphFile:
    """Paths relative to the root: the file of a graph, and the file of its weights (empty if it has none)."""

    file: str
    weights: str


class GraphWriter:
    """Writes graphs below `root`. Backends that take the same graphs share a folder, which is written once."""

    def __init__(self, root: Path, request: ExportRequest) -> None:
        self._root = root
        self._request = request
        self._folders: dict[str, dict[GraphKey, GraphFile]] = {}
        self._weights: dict[str, WeightsFile] = {}
        self._findings: list[LintFinding] = []
        self._int4_parameters = 0

    @property
    def findings(self) -> tuple[LintFinding, ...]:
        """The warnings and notes of the lint for the graphs written so far."""
        return tuple(self._findings)

    @property
    def int4_parameters(self) -> int:
        """How many parameters the int4 graphs store in 4 bits; 0 if there are none so far."""
        return self._int4_parameters

    def write(self, variant: GraphVariant, graphs: Mapping[GraphKey, onnx.ModelProto]) -> dict[GraphKey, GraphFile]:
        """Write the graphs of one variant, and return their files. Some backends do not use all graphs.

        Raises:
            ExportError: the lint reports an error for a graph, or the disk is full.
        """
        existing = self._folders.setdefault(variant.folder, {})
        weights = self._weights.setdefault(variant.folder, WeightsFile())
        written: dict[GraphKey, GraphFile] = {}
        packer = Int4Packer()
        check_dla = self._request.check_dla and variant.backend == "tensorrt"
        try:
            (self._root / variant.folder).mkdir(parents=True, exist_ok=True)
            target = LintTarget.from_profile(self._request.profile, variant.backend, dla=check_dla)
            for key, graph in graphs.items():
                if key.batch > 1 and not variant.takes_batches:
                    continue
                file = f"{variant.folder}/{key.file_stem}.{variant.suffix}"
                prepared = prepare_graph(variant, graph, self._request, packer)
                self._int4_parameters = max(self._int4_parameters, count_packed(prepared))
                findings = lint(prepared, target)
                raise_for_errors(findings, target, file)
                self._findings += findings
                written[key] = existing.get(key) or self._write_file(prepared, file, weights)
            if weights.content:
                (self._root / variant.folder / WEIGHTS_NAME).write_bytes(weights.content)
        except OSError as error:
            raise to_export_error(error, self._root) from error
        existing.update(written)
        return written

    def _write_file(self, prepared: onnx.ModelProto, file: str, weights: WeightsFile) -> GraphFile:
        folder = file.rpartition("/")[0]
        if file.endswith(IR_SUFFIX):
            return GraphFile(file, f"{folder}/{write_ir(prepared, self._root / file).name}")
        compact = compact_graph(prepared, keep_inferable=_targets_tensorrt(self._request))
        has_weights = weights.move_out(compact.graph)
        (self._root / file).write_bytes(compact.SerializeToString(deterministic=True))
        return GraphFile(file, f"{folder}/{WEIGHTS_NAME}" if has_weights else "")


def prepare_graph(
    variant: GraphVariant, graph: onnx.ModelProto, request: ExportRequest, packer: Int4Packer | None = None
) -> onnx.ModelProto:
    """Return the graph that a variant runs. The weights keep their names.

    Args:
        variant: the variant.
        graph: the fp32 graph.
        request: what to export.
        packer: the packer of the variant's graphs, which quantizes each weight to 4 bits only once.
    """
    if (
        _targets_tensorrt(request)
        and LintTarget.from_profile(request.profile, "tensorrt").version < FIRST_VERSION_WITH_LAYER_NORM
    ):
        graph = decompose_layer_norms(graph)  # for every backend of the device, because they share files
    if variant.precision in ("int8", INT4) and request.ranges is not None:
        fp32_weights = request.fp32_weights.get(variant.scheme, {})
        int8 = quantize(graph, request.ranges, variant.scheme, fp32_weights, request.smoothing)
        if variant.backend == "tensorrt":
            return weights_to_qdq_pairs(int8)
        compressed = compress_weights(int8, int8_tables=True)
        return (packer or Int4Packer()).pack(compressed) if variant.precision == INT4 else compressed
    if variant.precision == "fp16":
        # OpenVINO computes in the precision of its device and uses float16 to store weights.
        return compress_weights(graph, int8_tables=False) if variant.backend == "openvino" else to_fp16(graph)
    return graph


def _targets_tensorrt(request: ExportRequest) -> bool:
    return any(backend.name == "tensorrt" for backend in request.profile.backends)
