"""All graphs of a student for a target, on disk, each checked as it is written and measured against torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edge_msa_export.bundle.graph_writer import Writer, Written
from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.export import (
    StudentFacts,
    StudentLike,
    export_all,
    facts_of,
    torch_prediction,
    window_keys,
)
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.lint import Finding
from edge_msa_export.parity.graphs import Array, ParityCase, measure_parity, with_holes
from edge_msa_export.parity.text import ReadWords, measure_text_encoders, read_words, text_spec
from edge_msa_export.request import ExportRequest, GoldenSample, Variant, variants_of
from edge_msa_export.text import TextGraph
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.manifest import GraphKey, GraphSpec, TextSpec
from edge_msa_runtime.modalities import subsets_of

# Far above float32's rounding (1e-6) and far below any wrong axis or state: a prediction off by this is a defect.
FP32_LIMIT = 1e-4


@dataclass(frozen=True)
class GraphSet:
    """Graphs in a work folder, ready to become bundles.

    `specs`: every graph of every variant, its files relative to `root`. `language`: what turns words into frames, its
    files likewise. `golden`: the arrays of golden.npz.
    `measured_by`: which backend measured the parity of each backend's graphs. `refused`: why a (backend, precision) that
    the target has is not among `specs`. `findings`: what the lint says of the graphs besides.
    """

    root: Path
    specs: tuple[GraphSpec, ...]
    language: TextSpec | None
    facts: StudentFacts
    golden: Mapping[str, Array]
    measured_by: Mapping[str, str]
    refused: Mapping[tuple[str, str], str]
    findings: tuple[Finding, ...] = ()


def build_graphs(
    student: StudentLike,
    request: ExportRequest,
    work_dir: Path,
    exported: Mapping[GraphKey, onnx.ModelProto] | None = None,
) -> GraphSet:
    """Write every graph that the request offers under `work_dir`, with its parity.

    Args:
        student: as `edge_msa_export.graphs.export.StudentLike`.
        request: the rest.
        work_dir: a folder of the caller's; made where it is not there.
        exported: what `export_all` made of the same student, chunks and windows, where the caller has it already, and
            what `export_text_encoders` made of the same encoder of texts.

    Raises:
        ExportError: something cannot be exported, a check finds something, or fp32 does not give torch's prediction.
    """
    facts = facts_of(student)
    _check_request(request, facts)
    language = text_spec(student, request, work_dir)
    cases, golden = cases_of(student, request, work_dir)
    graphs = _graphs(student, request, exported)
    writer = Writer(work_dir, request)
    specs: list[GraphSpec] = []
    refused: dict[tuple[str, str], str] = {}
    for variant in variants_of(request):
        files = writer.write(variant, graphs)
        parity = _measure(files, variant, cases, student, request, work_dir)
        broken = [key for key, value in parity.items() if not np.isfinite(value)]
        if variant.precision == "fp32":
            refuse_far(variant.measured_by, parity, cases)
        elif broken:
            reason = f"the {broken[0]} graph gives a prediction that is not finite"
            refused[variant.backend, variant.precision] = reason
            continue
        specs.extend(_spec(variant, key, files[key], parity[key]) for key in graphs)
    measured_by = {variant.backend: variant.measured_by for variant in variants_of(request)}
    return GraphSet(work_dir, tuple(specs), language, facts, golden, measured_by, refused, writer.findings)


def _graphs(
    student: StudentLike, request: ExportRequest, exported: Mapping[GraphKey, onnx.ModelProto] | None
) -> dict[GraphKey, onnx.ModelProto]:
    graphs = dict(export_all(student, request.chunks, request.windows) if exported is None else exported)
    if isinstance(request.text, TextGraph) and not any(key.role == "text_encoder" for key in graphs):
        graphs.update(export_text_encoders(request.text))
    return graphs


def _check_request(request: ExportRequest, facts: StudentFacts) -> None:
    for name, dim in facts.dims.items():
        for what, given in (("chunks", request.chunks), ("windows", request.windows)):
            if name not in given:
                raise ExportError(f"{what} has no {name}, which the student reads")
        norm = request.normalization.get(name)
        if norm is None or len(norm.mean) != dim or len(norm.std) != dim:
            raise ExportError(f"normalization of {name} must have {dim} numbers, as many as a frame has features")
    missing = {subset.value for subset in subsets_of(facts.dims)} - {sample.subset.value for sample in request.golden}
    if missing:
        raise ExportError(f"no golden sample of {', '.join(sorted(missing))}; parity is measured on every subset")
    if request.text is not None and request.text.dim != facts.dims.get("language"):
        raise ExportError(
            f"what reads words gives {request.text.dim} features, the student reads {facts.dims.get('language')}"
        )
    if request.task.outputs != facts.outputs:
        raise ExportError(f"the task has {request.task.outputs} outputs, the student {facts.outputs}")


def cases_of(student: StudentLike, request: ExportRequest, work_dir: Path) -> tuple[list[ParityCase], dict[str, Array]]:
    """The golden samples as parity cases, cut to the window graphs, and the arrays of golden.npz, not cut.

    Where there is a text, a case has the frames that the device will have of it.
    """
    said = {} if request.text is None else read_words(request.text, work_dir, request.golden)
    cases: list[ParityCase] = []
    golden: dict[str, Array] = {}
    for sample in request.golden:
        name = sample.subset.value
        raw = {modality: np.asarray(value, dtype=np.float32) for modality, value in sample.frames.items()}
        golden.update({f"{name}/{modality}": value for modality, value in raw.items()})
        golden[f"{name}/prediction"] = _torch(student, request, raw)
        if sample.text is not None:
            golden[f"{name}/text"] = np.array(sample.text)
        cases += _cut(student, request, sample, said.get(sample.text or ""))
    return cases, golden


def _cut(
    student: StudentLike, request: ExportRequest, sample: GoldenSample, words: ReadWords | None
) -> Iterator[ParityCase]:
    given = dict(sample.frames) if words is None else {**sample.frames, "language": words.stored}
    frames = {name: request.normalization[name].apply(np.asarray(value, np.float32)) for name, value in given.items()}
    for key, lengths in window_keys(sample.subset, request.windows).items():
        cut = {name: value[: lengths[name]] for name, value in frames.items()}
        for make in (np.ones, with_holes):
            valid = {name: np.asarray(make(len(value)), dtype=np.bool_) for name, value in cut.items()}
            yield ParityCase(sample.subset, key, lengths, cut, valid, torch_prediction(student, cut, valid))


def _torch(student: StudentLike, request: ExportRequest, raw: Mapping[str, Array]) -> Array:
    frames = {name: request.normalization[name].apply(value) for name, value in raw.items()}
    return torch_prediction(student, frames, {name: np.ones(len(value), np.bool_) for name, value in frames.items()})


def _measure(
    files: Mapping[GraphKey, Written],
    variant: Variant,
    cases: list[ParityCase],
    student: StudentLike,
    request: ExportRequest,
    work_dir: Path,
) -> dict[GraphKey, float]:
    backend = open_backend(variant.measured_by)
    programs = {key: backend.load(work_dir / written.file, variant.precision) for key, written in files.items()}
    parity = measure_parity(programs, cases, facts_of(student).states, request.chunks)
    parity.update(measure_text_encoders(programs, student, request, work_dir))
    for program in programs.values():
        program.close()
    return parity


def refuse_far(measured_by: str, parity: Mapping[GraphKey, float], cases: list[ParityCase]) -> None:
    """Refuse float32 graphs that do not give torch's prediction.

    Raises:
        ExportError: one does not.
    """
    limit = parity_limit(cases)
    for key, value in sorted(parity.items(), key=lambda item: str(item[0])):
        if not value <= limit:
            raise ExportError(
                f"the {key} graph is {value:.1e} from torch in {measured_by} at fp32, more than {limit:.0e}; "
                "this student cannot be exported faithfully"
            )


def parity_limit(cases: list[ParityCase]) -> float:
    """How far a float32 graph may be from torch's predictions."""
    return FP32_LIMIT * max(1.0, *(float(np.abs(case.prediction).max()) for case in cases))


def _spec(variant: Variant, key: GraphKey, written: Written, parity: float) -> GraphSpec:
    return GraphSpec(variant.backend, variant.precision, variant.scheme, key, written.file, parity, written.weights)
