"""All graphs of a student for a target, on disk, each checked as it is written and measured against torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edge_msa_calibrate.qdq import quantise
from edge_msa_export.errors import ExportError
from edge_msa_export.folders import explain
from edge_msa_export.graph import GraphKey, StudentFacts, StudentLike, export_all, facts_of, torch_reading
from edge_msa_export.half import to_half
from edge_msa_export.lint import refuse_findings
from edge_msa_export.openvino_ir import write_ir
from edge_msa_export.parity import Array, ParityCase, measure_parity, with_holes
from edge_msa_export.request import ExportRequest, Variant, variants_of
from edge_msa_export.tensorrt_weights import weights_as_pairs
from edge_msa_runtime.engines import open_engine
from edge_msa_runtime.manifest import GraphSpec
from edge_msa_runtime.modalities import subsets_of

# Far above float32's rounding (1e-6) and far below any wrong axis or state: a reading off by this is a defect.
FP32_LIMIT = 1e-4


@dataclass(frozen=True)
class GraphSet:
    """Graphs in a work folder, ready to become bundles.

    `specs`: every graph of every variant, `file` relative to `root`. `golden`: the arrays of golden.npz.
    `measured_by`: which engine measured the parity of each engine's graphs. `refused`: why a (engine, precision) that
    the target has is not among `specs`.
    """

    root: Path
    specs: tuple[GraphSpec, ...]
    facts: StudentFacts
    golden: Mapping[str, Array]
    measured_by: Mapping[str, str]
    refused: Mapping[tuple[str, str], str]


def build_graphs(
    student: StudentLike,
    request: ExportRequest,
    work_dir: Path,
    exported: Mapping[GraphKey, onnx.ModelProto] | None = None,
) -> GraphSet:
    """Write every graph that the request offers under `work_dir`, with its parity.

    Args:
        student: as `edge_msa_export.graph.StudentLike`.
        request: the rest.
        work_dir: a folder of the caller's; made where it is not there.
        exported: what `export_all` made of the same student, chunks and windows, where the caller has it already.

    Raises:
        ExportError: something cannot be exported, a check finds something, or fp32 does not give torch's reading.
    """
    facts = facts_of(student)
    _check_request(request, facts)
    cases, golden = _cases(student, request)
    graphs = export_all(student, request.chunks, request.windows) if exported is None else exported
    writer = _Writer(work_dir, request)
    specs: list[GraphSpec] = []
    refused: dict[tuple[str, str], str] = {}
    for variant in variants_of(request):
        files = writer.write(variant, graphs)
        parity = _measure({key: work_dir / file for key, file in files.items()}, variant, cases, facts, request)
        broken = [key for key, value in parity.items() if not np.isfinite(value)]
        if variant.precision == "fp32":
            _refuse_far(variant, parity, cases)
        elif broken:
            reason = f"the {_words(broken[0])} gives a reading that is not finite"
            refused[variant.engine, variant.precision] = reason
            continue
        specs.extend(_spec(variant, key, files[key], parity[key]) for key in graphs)
    measured_by = {variant.engine: variant.measured_by for variant in variants_of(request)}
    return GraphSet(work_dir, tuple(specs), facts, golden, measured_by, refused)


def _check_request(request: ExportRequest, facts: StudentFacts) -> None:
    for name, dim in facts.dims.items():
        for what, given in (("chunks", request.chunks), ("windows", request.windows)):
            if name not in given:
                raise ExportError(f"{what} has no {name}, which the student reads")
        norm = request.normalisation.get(name)
        if norm is None or len(norm.mean) != dim or len(norm.std) != dim:
            raise ExportError(f"normalisation of {name} must have {dim} numbers, as many as a frame has features")
    missing = {subset.value for subset in subsets_of(facts.dims)} - {sample.subset.value for sample in request.golden}
    if missing:
        raise ExportError(f"no golden sample of {', '.join(sorted(missing))}; parity is measured on every subset")
    if request.task.outputs != facts.outputs:
        raise ExportError(f"the task has {request.task.outputs} outputs, the student {facts.outputs}")


def _cases(student: StudentLike, request: ExportRequest) -> tuple[list[ParityCase], dict[str, Array]]:
    """The golden samples as parity cases, cut to the windows, and the arrays of golden.npz, not cut."""
    cases: list[ParityCase] = []
    golden: dict[str, Array] = {}
    for sample in request.golden:
        raw = {name: np.asarray(value, dtype=np.float32) for name, value in sample.frames.items()}
        frames = {name: request.normalisation[name].apply(value) for name, value in raw.items()}
        whole = {name: np.ones(len(value), dtype=np.bool_) for name, value in frames.items()}
        golden.update({f"{sample.subset.value}/{name}": value for name, value in raw.items()})
        golden[f"{sample.subset.value}/reading"] = torch_reading(student, frames, whole)
        cut = {name: value[: request.windows[name]] for name, value in frames.items()}
        for make in (np.ones, with_holes):
            valid = {name: np.asarray(make(len(value)), dtype=np.bool_) for name, value in cut.items()}
            cases.append(ParityCase(sample.subset, cut, valid, torch_reading(student, cut, valid)))
    return cases, golden


class _Writer:
    """Writes graphs under `root`; one that was written before, for another engine or precision, is not written again.

    A fuse graph has nothing to quantise, and two engines may read the same ONNX file.
    """

    def __init__(self, root: Path, request: ExportRequest) -> None:
        self._root = root
        self._request = request
        self._written: dict[tuple[bytes, str, bool], str] = {}

    def write(self, variant: Variant, graphs: Mapping[GraphKey, onnx.ModelProto]) -> dict[GraphKey, str]:
        """Write one variant's graphs; the result is their files, relative to the root."""
        return {key: self._write_one(variant, key, graph) for key, graph in graphs.items()}

    def _write_one(self, variant: Variant, key: GraphKey, graph: onnx.ModelProto) -> str:
        lowered = _lowered(variant, graph, self._request)
        file = f"{variant.folder}/{'-'.join(part for part in key if part)}{variant.suffix}"
        refuse_findings(lowered, variant.engine, file)
        data = lowered.SerializeToString(deterministic=True)
        half_weights = variant.engine == "openvino" and variant.precision == "fp16"
        identity = (hashlib.sha256(data).digest(), variant.suffix, half_weights)
        if identity in self._written:
            return self._written[identity]
        path = self._root / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if variant.engine == "openvino":
                write_ir(lowered, path, half_weights=half_weights)
            else:
                path.write_bytes(data)
        except OSError as error:
            raise explain(error, self._root) from error
        self._written[identity] = file
        return file


def _lowered(variant: Variant, graph: onnx.ModelProto, request: ExportRequest) -> onnx.ModelProto:
    if variant.precision == "int8" and request.ranges is not None:
        floats = request.float_nodes.get(variant.rule_set, {})
        int8 = quantise(graph, request.ranges, variant.rule_set, floats, request.smoothing)
        return weights_as_pairs(int8) if variant.engine == "tensorrt" else int8
    # OpenVINO computes in what its device has and takes float16 as a way to keep weights: see write_ir.
    if variant.precision == "fp16" and variant.engine != "openvino":
        return to_half(graph)
    return graph


def _measure(
    files: Mapping[GraphKey, Path],
    variant: Variant,
    cases: list[ParityCase],
    facts: StudentFacts,
    request: ExportRequest,
) -> dict[GraphKey, float]:
    engine = open_engine(variant.measured_by)
    programs = {key: engine.load(path, variant.precision) for key, path in files.items()}
    parity = measure_parity(programs, cases, facts.states, request.chunks, request.windows)
    for program in programs.values():
        program.close()
    return parity


def _refuse_far(variant: Variant, parity: Mapping[GraphKey, float], cases: list[ParityCase]) -> None:
    limit = FP32_LIMIT * max(1.0, *(float(np.abs(case.reading).max()) for case in cases))
    for key, value in sorted(parity.items()):
        if not value <= limit:
            raise ExportError(
                f"the {_words(key)} is {value:.1e} from torch in {variant.measured_by} at fp32, more than {limit:.0e}; "
                "this student cannot be exported faithfully"
            )


def _words(key: GraphKey) -> str:
    return " ".join(part for part in (key.role, "graph", key.scope) if part)


def _spec(variant: Variant, key: GraphKey, file: str, parity: float) -> GraphSpec:
    return GraphSpec(variant.engine, variant.precision, variant.rule_set, key.role, key.scope, file, parity)
