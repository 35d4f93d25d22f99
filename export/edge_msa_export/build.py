"""Builds every graph of a student for a device: writes it, checks it, and measures its parity with torch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.protocols import StudentLike
from edge_msa_export.graphs.student import StudentShapes, export_batch_graphs, export_student, get_student_shapes
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.graphs.writer import GraphFile, GraphWriter
from edge_msa_export.int8_layers import Int8Layers, count_int8_layers
from edge_msa_export.lint import LintFinding
from edge_msa_export.parity.cases import build_golden_arrays, build_parity_cases, check_fp32_parity
from edge_msa_export.parity.graphs import ParityCase, measure_parity
from edge_msa_export.parity.reference_backend import open_measuring_backend
from edge_msa_export.parity.text import measure_text_encoder_parity, write_text_model
from edge_msa_export.request import ExportRequest, GraphVariant, list_variants
from edge_msa_export.text import TextGraph
from edge_msa_runtime.bundle.manifest import GraphKey, GraphSpec, StateSpec, TextSpec
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.tolerances import largest_tolerance, tolerance_for

_LOGGER = logging.getLogger("edge_msa_export")


@dataclass(frozen=True)
class GraphSet:
    """The graphs of a student in a work folder, from which bundles are written.

    Attributes:
        root: the work folder.
        specs: every graph of every variant; its files are relative to `root`.
        language: the text model, if any; its files are relative to `root`.
        shapes: sizes of the student.
        golden: arrays of golden.npz.
        measured_by: for each backend and precision, the backend that measured its parity.
        refused: why a precision that the device supports is not in `specs`, by (backend, precision).
        int8_layers: the layers in int8, by quantization scheme.
        int4_parameters: number of parameters that the int4 graphs store in 4 bits; 0 without such graphs.
        findings: warnings and notes of the lint.
    """

    root: Path
    specs: tuple[GraphSpec, ...]
    language: TextSpec | None
    shapes: StudentShapes
    golden: Mapping[str, NDArray[Any]]
    measured_by: Mapping[str, Mapping[str, str]]
    refused: Mapping[tuple[str, str], str]
    int8_layers: Mapping[str, Int8Layers]
    int4_parameters: int = 0
    findings: tuple[LintFinding, ...] = ()


def build_graphs(
    student: StudentLike,
    request: ExportRequest,
    work_dir: Path,
    exported: Mapping[GraphKey, onnx.ModelProto] | None = None,
) -> GraphSet:
    """Write every graph that the request covers below `work_dir`, and measure its parity.

    Args:
        student: the student.
        request: what to export.
        work_dir: folder for the graphs; created if it does not exist.
        exported: the graphs that `export_student` returned for the same student, normalization, chunks and windows, and
            optionally those that `export_text_encoders` returned for the same text encoder (default: export them now).
            Graphs for several streams are exported too if they are not there.

    Raises:
        ExportError: a graph cannot be exported, the lint reports an error, or an fp32 graph does not reproduce torch.
    """
    _check_normalization(request, student)
    shapes = get_student_shapes(student)
    _check_request(request, shapes)
    language = write_text_model(student, request, work_dir)
    golden = build_golden_arrays(student, request)
    predictions = [array for name, array in golden.items() if name.endswith("/prediction")]
    _check_text_parity(language, request, predictions)
    cases = build_parity_cases(student, request, work_dir)
    graphs = _export_missing(student, request, exported)
    writer = GraphWriter(work_dir, request)
    variants = list_variants(request)
    specs: list[GraphSpec] = []
    refused: dict[tuple[str, str], str] = {}
    int8_layers = {
        variant.scheme: count_int8_layers(
            graphs, variant.scheme, request.ranges or {}, request.fp32_weights.get(variant.scheme, {})
        )
        for variant in variants
        if variant.scheme
    }
    for variant in variants:
        layers = int8_layers.get(variant.scheme)
        if layers is not None and not layers.share.layers:
            refused[variant.backend, variant.precision] = f"{layers.describe()}, so it would compute as fp32 does"
            continue
        _LOGGER.info("Writing the %s graphs for %s", variant.precision, variant.backend)
        files = writer.write(variant, graphs)
        _LOGGER.info("Comparing the %s graphs for %s with torch", variant.precision, variant.backend)
        parity = _measure_variant(files, variant, cases, shapes.states, student, request, work_dir)
        if variant.precision == "fp32":
            check_fp32_parity(variant.measured_by, parity, cases)
        limit = largest_tolerance(variant.precision, request.task, predictions)
        if reason := _find_parity_problem(parity, limit):
            if variant.precision == "fp32":
                raise ExportError(
                    f"fp32 is not available for {variant.backend}: {reason}. This student cannot be exported "
                    "faithfully."
                )
            refused[variant.backend, variant.precision] = reason
            continue
        specs.extend(
            GraphSpec(
                backend=variant.backend,
                precision=variant.precision,
                scheme=variant.scheme,
                key=key,
                file=files[key].file,
                parity=parity[key],
                weights=files[key].weights,
            )
            for key in files
        )
    return GraphSet(
        root=work_dir,
        specs=tuple(specs),
        language=language,
        shapes=shapes,
        golden=golden,
        measured_by={
            backend: {item.precision: item.measured_by for item in variants if item.backend == backend}
            for backend in dict.fromkeys(item.backend for item in variants)
        },
        refused=refused,
        int8_layers=int8_layers,
        int4_parameters=writer.int4_parameters,
        findings=writer.findings,
    )


def _find_parity_problem(parity: Mapping[GraphKey, float], limit: float) -> str:
    """Return why devices would refuse graphs with this parity; empty if they accept it."""
    worst, value = max(parity.items(), key=lambda item: (np.isnan(item[1]), item[1]))
    if not np.isfinite(value):
        return f"the {worst} graph returns a prediction that is not finite"
    if tolerance_for(value) > limit:
        return (
            f"the {worst} graph differs from torch by {value:.2g} on a golden sample, more than the allowed "
            f"{limit / 2:.2g}"
        )
    return ""


def _check_text_parity(
    language: TextSpec | None, request: ExportRequest, predictions: Sequence[NDArray[np.float32]]
) -> None:
    """Raise an ExportError if the int8 rows of an embedding table change a prediction too much."""
    limit = largest_tolerance("int8", request.task, predictions)
    if language is not None and not tolerance_for(language.parity) <= limit:
        raise ExportError(
            f"Quantizing the embedding table to int8 must change a golden prediction by at most {limit / 2:.2g}, got "
            f"{language.parity:.2g}. Train the text model with smaller rows, or use an encoder."
        )


def _export_missing(
    student: StudentLike, request: ExportRequest, exported: Mapping[GraphKey, onnx.ModelProto] | None
) -> dict[GraphKey, onnx.ModelProto]:
    graphs = dict(
        export_student(student, request.normalization, request.chunks, request.windows)
        if exported is None
        else exported
    )
    if not any(key.batch > 1 for key in graphs):
        graphs.update(export_batch_graphs(student, request.normalization, request.chunks))
    if isinstance(request.text_model, TextGraph) and not any(key.role == "text_encoder" for key in graphs):
        graphs.update(export_text_encoders(request.text_model))
    return graphs


def _check_normalization(request: ExportRequest, student: StudentLike) -> None:
    """Raise an ExportError if the normalization does not fit the student."""
    for name, dim in student.config.dims.items():
        normalization = request.normalization.get(name)
        if normalization is None or normalization.dim != dim:
            raise ExportError(
                f"normalization of {name} must have {dim} values, one per feature, got "
                f"{'none' if normalization is None else normalization.dim}."
            )


def _check_request(request: ExportRequest, shapes: StudentShapes) -> None:
    """Raise an ExportError if the request does not fit the student."""
    for name in shapes.dims:
        for field, lengths in (("chunks", request.chunks), ("windows", request.windows)):
            if name not in lengths:
                raise ExportError(f"{field} must have an entry for {name}, which the student takes as input.")
    available = {sample.subset for sample in request.golden_samples}
    missing = [subset.value for subset in subsets_of(shapes.dims) if subset not in available]
    if missing:
        raise ExportError(f"golden_samples must have one sample per subset, missing: {', '.join(missing)}.")
    if request.text_model is not None and request.text_model.dim != shapes.dims.get("language"):
        raise ExportError(
            f"The text model must return {shapes.dims.get('language')} features per frame for this student, got "
            f"{request.text_model.dim}."
        )
    if request.task.outputs != shapes.outputs:
        raise ExportError(f"The task must have {shapes.outputs} outputs, as the student, got {request.task.outputs}.")


def _measure_variant(
    files: Mapping[GraphKey, GraphFile],
    variant: GraphVariant,
    cases: Sequence[ParityCase],
    states: Mapping[str, tuple[StateSpec, ...]],
    student: StudentLike,
    request: ExportRequest,
    work_dir: Path,
) -> dict[GraphKey, float]:
    backend = open_measuring_backend(variant.measured_by)
    programs = {key: backend.load(work_dir / graph.file, variant.precision) for key, graph in files.items()}
    parity = measure_parity(programs, cases, states, request.chunks)
    parity.update(measure_text_encoder_parity(programs, student, request, work_dir))
    for program in programs.values():
        program.close()
    return parity
