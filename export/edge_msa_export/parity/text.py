"""How far words are from torch: of a table's int8 rows, and of every text encoder graph, told as a difference of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.export import StudentLike, torch_prediction
from edge_msa_export.graphs.text_encoder import torch_frames
from edge_msa_export.parity.graphs import Program
from edge_msa_export.request import ExportRequest, GoldenSample
from edge_msa_export.text import Text, TextGraph, TextTable, buckets, ids_of, int8_rows, tokenizer_of, write_text
from edge_msa_runtime.bundle.manifest import GraphKey, TextSpec

Frames = NDArray[np.float32]

# Of the largest value: float32 adds in another order in another batch.
_SAME = 1e-4


@dataclass(frozen=True)
class ReadWords:
    """What was said in one golden sample.

    `frames`: what torch reads of it, (T, d). `stored`: what the device's table gives in their place; for an encoder
    the same.
    """

    frames: Frames
    stored: Frames


def read_words(text: Text, root: Path, samples: Sequence[GoldenSample]) -> dict[str, ReadWords]:
    """The words of every golden text.

    Raises:
        ExportError: a text has no token, or the frames given with it are not its own.
    """
    tokenizer = tokenizer_of(text, root)
    found: dict[str, ReadWords] = {}
    for sample in samples:
        if sample.text is None or sample.text in found:
            continue
        ids = ids_of(text, tokenizer, sample.text)
        words = _of_table(text, ids) if isinstance(text, TextTable) else _of_graph(text, ids)
        _check_frames(sample, words.frames)
        found[sample.text] = words
    return found


def text_spec(student: StudentLike, request: ExportRequest, root: Path) -> TextSpec | None:
    """Write what reads words below `root` and say what it is, with the part that int8 rows have in a prediction.

    Raises:
        ExportError: it does not fit the student, or a golden text.
    """
    text = request.text
    if text is None:
        return None
    fields = write_text(text, root)
    said = read_words(text, root, request.golden)
    if not said:
        raise ExportError("no golden sample has a text, and parity is measured on them; give what was said")
    parity = 0.0
    for words in said.values():
        apart = read_language(student, request, words.stored) - read_language(student, request, words.frames)
        parity = max(parity, float(np.abs(apart).max()))
    return TextSpec(**fields, max_tokens=text.max_tokens, parity=parity)


def measure_text_encoders(
    programs: Mapping[GraphKey, Program], student: StudentLike, request: ExportRequest, root: Path
) -> dict[GraphKey, float]:
    """The largest |torch prediction of the graph's frames - torch prediction of torch's frames| of every text encoder graph."""
    text = request.text
    if not isinstance(text, TextGraph):
        return {}
    texts = list(dict.fromkeys(sample.text for sample in request.golden if sample.text is not None))
    worst: dict[GraphKey, float] = {}
    for length in buckets(text.max_tokens):
        key = GraphKey.text_encoder(length)
        tokenizer = tokenizer_of(text, root, length)
        for said in texts:
            ids = tokenizer.ids(said)
            expected = read_language(student, request, torch_frames(text, ids))
            apart = read_language(student, request, _run_text_encoder(programs[key], ids, length)) - expected
            worst[key] = float(np.maximum(worst.get(key, 0.0), np.abs(apart).max()))  # keeps a NaN
    return worst


def read_language(student: StudentLike, request: ExportRequest, frames: Frames) -> Frames:
    """Torch's prediction (outputs,) of raw frames (T, d) of language alone."""
    normalized = request.normalization["language"].apply(frames)
    return torch_prediction(student, {"language": normalized}, {"language": np.ones(len(frames), np.bool_)})


def _of_table(text: TextTable, ids: list[int]) -> ReadWords:
    integers, scales = int8_rows(text.rows[ids])
    return ReadWords(text.rows[ids].astype(np.float32), integers * scales[:, None])


def _of_graph(text: TextGraph, ids: list[int]) -> ReadWords:
    frames = torch_frames(text, ids)
    return ReadWords(frames, frames)


def _check_frames(sample: GoldenSample, frames: Frames) -> None:
    given = sample.frames["language"]
    limit = _SAME * max(1.0, float(np.abs(frames).max()))
    if given.shape != frames.shape or not float(np.abs(given - frames).max()) <= limit:
        raise ExportError(
            f"the golden frames of language {given.shape} are not those of their text {(sample.text or '')[:40]!r} "
            f"{frames.shape}; give what the text encoder itself makes of it"
        )


def _run_text_encoder(program: Program, ids: Sequence[int], length: int) -> Frames:
    padded, valid = np.zeros((1, length), np.int64), np.zeros((1, length), np.float32)
    padded[0, : len(ids)], valid[0, : len(ids)] = ids, 1
    made: Frames = np.asarray(program({"ids": padded, "valid": valid})["frames"][0, : len(ids)], np.float32)
    return made
