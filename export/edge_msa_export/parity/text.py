"""Measures the parity of text models, as a difference of predictions.

This covers the int8 rows of an embedding table and every graph of a text encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.protocols import StudentLike
from edge_msa_export.graphs.student import predict_with_torch
from edge_msa_export.graphs.text_encoder import encode_with_torch
from edge_msa_export.parity.graphs import Program
from edge_msa_export.request import ExportRequest, GoldenSample
from edge_msa_export.text import (
    TABLE_FILE,
    TOKENIZER_FILE,
    ExportableText,
    TextGraph,
    TextTable,
    bucket_lengths,
    encode_text,
    load_tokenizer,
    quantize_rows,
    write_text_files,
)
from edge_msa_runtime.bundle.manifest import GraphKey, TextSpec

Frames = NDArray[np.float32]

# Relative to the largest value: another batch size changes the order of float32 sums.
_GOLDEN_FRAMES_TOLERANCE = 1e-4


@dataclass(frozen=True)
class EncodedText:
    """The language frames of one golden text.

    Attributes:
        frames: frames (T, d) that torch computes.
        device_frames: frames (T, d) that the device computes: the int8 rows of a table; the same for an encoder.
    """

    frames: Frames
    device_frames: Frames


def encode_golden_texts(model: ExportableText, root: Path, samples: Sequence[GoldenSample]) -> dict[str, EncodedText]:
    """Encode the text of every golden sample that has one.

    Args:
        model: the text model.
        root: folder that `write_text_files` wrote to.
        samples: the golden samples.

    Raises:
        ExportError: a text has no token, or the language frames of a sample are not those of its text.
    """
    tokenizer = load_tokenizer(model, root)
    encoded: dict[str, EncodedText] = {}
    for sample in samples:
        if sample.text is None or sample.text in encoded:
            continue
        ids = encode_text(model, tokenizer, sample.text)
        text = _encode_with_table(model, ids) if isinstance(model, TextTable) else _encode_with_graph(model, ids)
        _check_golden_frames(sample, text.frames)
        encoded[sample.text] = text
    return encoded


def write_text_model(student: StudentLike, request: ExportRequest, root: Path) -> TextSpec | None:
    """Write the files of the request's text model below `root` and return its spec, with the parity of int8 rows.

    Return None if the request has no text model.

    Raises:
        ExportError: the text model does not fit the student or a golden text.
    """
    model = request.text_model
    if model is None:
        return None
    write_text_files(model, root)
    texts = encode_golden_texts(model, root, request.golden_samples)
    if not texts:
        raise ExportError("At least one golden sample must have a text to measure the parity of the text model.")
    parity = 0.0
    for text in texts.values():
        device = predict_from_language(student, request, text.device_frames)
        difference = device - predict_from_language(student, request, text.frames)
        parity = max(parity, float(np.abs(difference).max()))
    return TextSpec(
        tokenizer=TOKENIZER_FILE,
        text_encoder="table" if isinstance(model, TextTable) else "encoder",
        table=TABLE_FILE if isinstance(model, TextTable) else "",
        max_tokens=model.max_tokens,
        parity=parity,
        context=model.context if isinstance(model, TextGraph) else 0,
    )


def measure_text_encoder_parity(
    programs: Mapping[GraphKey, Program], student: StudentLike, request: ExportRequest, root: Path
) -> dict[GraphKey, float]:
    """Return the parity of every text encoder graph; empty without a text encoder.

    Parity is the largest |prediction from the graph's frames - prediction from torch's frames|. The student is torch
    in both cases.
    """
    model = request.text_model
    if not isinstance(model, TextGraph):
        return {}
    texts = list(dict.fromkeys(sample.text for sample in request.golden_samples if sample.text is not None))
    worst: dict[GraphKey, float] = {}
    for length in bucket_lengths(model.max_tokens):
        key = GraphKey.text_encoder(length)
        tokenizer = load_tokenizer(model, root, length)
        for text in texts:
            ids = tokenizer.ids(text)
            expected = predict_from_language(student, request, encode_with_torch(model, ids))
            actual = predict_from_language(student, request, _run_text_encoder(programs[key], ids, length))
            # np.maximum keeps NaN, max() may lose it.
            worst[key] = float(np.maximum(worst.get(key, 0.0), np.abs(actual - expected).max()))
    return worst


def predict_from_language(student: StudentLike, request: ExportRequest, frames: Frames) -> Frames:
    """Return torch's prediction (outputs,) from raw language frames (T, d) only."""
    normalized = request.normalization["language"].apply(frames)
    return predict_with_torch(student, {"language": normalized}, {"language": np.ones(len(frames), np.bool_)})


def _encode_with_table(model: TextTable, ids: list[int]) -> EncodedText:
    integers, scales = quantize_rows(model.rows[ids])
    return EncodedText(model.rows[ids].astype(np.float32), integers * scales[:, None])


def _encode_with_graph(model: TextGraph, ids: list[int]) -> EncodedText:
    frames = encode_with_torch(model, ids)
    return EncodedText(frames, frames)


def _check_golden_frames(sample: GoldenSample, expected: Frames) -> None:
    frames = sample.frames["language"]
    limit = _GOLDEN_FRAMES_TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if frames.shape != expected.shape or not float(np.abs(frames - expected).max()) <= limit:
        raise ExportError(
            f"The language frames of golden text {(sample.text or '')[:40]!r} must be the output of the text model, of "
            f"shape {expected.shape}, got other frames of shape {frames.shape}."
        )


def _run_text_encoder(program: Program, ids: Sequence[int], length: int) -> Frames:
    padded, valid = np.zeros((1, length), np.int64), np.zeros((1, length), np.float32)
    padded[0, : len(ids)], valid[0, : len(ids)] = ids, 1
    return np.asarray(program({"ids": padded, "valid": valid})["frames"][0, : len(ids)], np.float32)
