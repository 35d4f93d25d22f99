"""Parity cases from golden samples, and the parity that fp32 graphs must reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.protocols import StudentLike
from edge_msa_export.graphs.student import list_window_lengths, predict_with_torch
from edge_msa_export.parity.graphs import ParityCase, make_mask_with_gaps
from edge_msa_export.parity.text import EncodedText, encode_golden_texts
from edge_msa_export.request import ExportRequest, GoldenSample
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.inputs.gaps import pack_frames

# Far above the rounding of float32 (1e-6) and far below the effect of a wrong axis or state.
FP32_TOLERANCE = 1e-4


def build_parity_cases(student: StudentLike, request: ExportRequest, root: Path) -> list[ParityCase]:
    """Return the golden samples as parity cases, truncated to each window graph.

    A sample with a text has the language frames that the device computes. `root` is the folder that
    `write_text_model` wrote to.
    """
    model = request.text_model
    texts = {} if model is None else encode_golden_texts(model, root, request.golden_samples)
    return [
        case
        for sample in request.golden_samples
        for case in _build_cases(student, request, sample, texts.get(sample.text or ""))
    ]


def build_golden_arrays(student: StudentLike, request: ExportRequest) -> dict[str, NDArray[Any]]:
    """Return the arrays of golden.npz: raw frames, text and torch's prediction of every golden sample.

    The keys are `<subset>/<modality>`, `<subset>/text` and `<subset>/prediction`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for sample in request.golden_samples:
        name = sample.subset.value
        raw = {modality: np.asarray(value, dtype=np.float32) for modality, value in sample.frames.items()}
        arrays.update({f"{name}/{modality}": value for modality, value in raw.items()})
        frames = {modality: request.normalization[modality].apply(value) for modality, value in raw.items()}
        valid = {modality: np.ones(len(value), np.bool_) for modality, value in frames.items()}
        arrays[f"{name}/prediction"] = predict_with_torch(student, frames, valid)
        if sample.text is not None:
            arrays[f"{name}/text"] = np.array(sample.text)
    return arrays


def check_fp32_parity(runner: str, parity: Mapping[GraphKey, float], cases: Sequence[ParityCase]) -> None:
    """Raise an ExportError if an fp32 graph does not reproduce the predictions of torch.

    Args:
        runner: what ran the graphs, for the message.
        parity: parity by graph.
        cases: the cases that it was measured on.
    """
    limit = compute_fp32_limit(cases)
    for key, value in sorted(parity.items(), key=lambda item: str(item[0])):
        if not value <= limit:
            raise ExportError(
                f"The {key} graph must be within {limit:.0e} of torch at fp32, got {value:.1e} in {runner}. This "
                "student cannot be exported faithfully."
            )


def compute_fp32_limit(cases: Sequence[ParityCase]) -> float:
    """Return how much the prediction of an fp32 graph may differ from torch's."""
    return FP32_TOLERANCE * max(1.0, *(float(np.abs(case.prediction).max()) for case in cases))


def _build_cases(
    student: StudentLike, request: ExportRequest, sample: GoldenSample, text: EncodedText | None
) -> Iterator[ParityCase]:
    frames = dict(sample.frames) if text is None else {**sample.frames, "language": text.device_frames}
    gap_frames = {
        name: np.array(request.normalization[name].mean_frame, np.float32) for name in student.config.gap_frames
    }
    for key, lengths in list_window_lengths(sample.subset, request.windows).items():
        truncated = {name: np.asarray(value[: lengths[name]], np.float32) for name, value in frames.items()}
        normalized = {name: request.normalization[name].apply(value) for name, value in truncated.items()}
        for make_mask in (np.ones, make_mask_with_gaps):
            valid = {name: np.asarray(make_mask(len(value)), dtype=np.bool_) for name, value in truncated.items()}
            rows = {name: pack_frames(value, valid[name], gap_frames.get(name)) for name, value in truncated.items()}
            prediction = predict_with_torch(student, normalized, valid)
            yield ParityCase(sample.subset, key, lengths, rows, prediction)
