"""What a student takes from text teachers and encoders: predictions, and a vector for every token."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.runs import Run
from edge_msa.console import print_progress
from edge_msa.data.dataset import FloatArray
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TextModel
from edge_msa.training.text.load import load_text_model, require_text_input
from edge_msa.training.text.text_input import TextInput, batches_by_length, first_tokens
from edge_msa_runtime.atomic_files import atomic_file

_BATCH = 64


@dataclass(frozen=True)
class TokenRows:
    """A vector for each of the P distinct tokens of some texts."""

    tokens: tuple[str, ...]
    """The text of each token, (P,)."""
    rows: FloatArray
    """The vector of each token, (P, d)."""
    counts: NDArray[np.int64]
    """The number of occurrences of each token, (P,)."""


@dataclass(frozen=True)
class TeacherOutputs:
    """The outputs of one teacher for N texts."""

    predictions: FloatArray
    """(N, outputs)."""
    mean_frames: TokenRows
    """The mean frame of each token over its occurrences."""


def load_or_compute_outputs(
    teacher: Run,
    texts: Sequence[str],
    earlier: Sequence[Sequence[str]],
    cache_dir: Path,
    device: torch.device | None = None,
    precision: str = "32",
) -> TeacherOutputs:
    """Return the outputs of a teacher, cached in `cache_dir`.

    They are computed on `device` (default: the CPU) with `precision`, which is `32` or `bf16`. `earlier` are the texts
    before each text, as in `Split.earlier`, which a teacher with context reads.
    """
    context = require_text_input(teacher).context
    earlier = [item[-context:] for item in earlier] if context else ()
    path = _cache_file(cache_dir, f"teacher outputs {precision}", teacher.digest, texts, earlier)
    if (cached := _load(path)) is not None:
        return cached
    print_progress(f"Predicting {len(texts)} texts with {teacher.path}.")
    model, text_input = load_text_model(teacher)
    on_device = model.to(device or torch.device("cpu"))
    outputs = compute_outputs(on_device, text_input, texts, earlier, precision=precision)
    _save(path, outputs.mean_frames, outputs.predictions)
    return outputs


def load_or_compute_mean_frames(
    text_input: TextInput,
    name: str,
    digest: str,
    texts: Sequence[str],
    cache_dir: Path,
    device: torch.device,
    precision: str = "32",
) -> TokenRows:
    """Return the mean frame of each token of an encoder without a student, cached in `cache_dir`.

    Args:
        text_input: The encoder and its tokenizer.
        name: Name of the encoder, for messages.
        digest: Identifies the encoder and its layers.
        texts: Training texts.
        cache_dir: Folder of the cache.
        device: Device to compute on.
        precision: `32` or `bf16`.
    """
    path = _cache_file(cache_dir, f"mean frames {precision}", digest, texts)
    if (cached := _load(path)) is not None:
        return cached.mean_frames
    print_progress(f"Encoding {len(texts)} texts with {name}.")
    text_input.text_encoder.eval().to(device)
    ids = text_input.tokenizer.ids(texts)
    means = _MeanFrames(text_input)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for rows in batches_by_length(ids, _BATCH):
            batch_ids, valid = text_input.batch([ids[row] for row in rows])
            means.add(batch_ids, valid, text_input.text_encoder(batch_ids, valid).float())
    result = means.result()
    _save(path, result, np.zeros((len(ids), 0), np.float32))
    return result


def compute_outputs(
    model: TextModel,
    text_input: TextInput,
    texts: Sequence[str],
    earlier: Sequence[Sequence[str]] = (),
    batch_size: int = _BATCH,
    precision: str = "32",
) -> TeacherOutputs:
    """Return the outputs of a text model, which is left in evaluation mode.

    `earlier` are the texts before each text, as in `Split.earlier`.
    """
    own_ids = text_input.tokenizer.ids(texts)
    ids = text_input.tokenizer.append_earlier(own_ids, earlier)
    predictions = np.zeros((len(ids), model.student.config.outputs), np.float32)
    means = _MeanFrames(text_input)
    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        for rows in batches_by_length(ids, batch_size):
            batch_ids, valid = text_input.batch([ids[row] for row in rows])
            own = first_tokens([len(own_ids[row]) for row in rows], valid)
            frames = model.text_encoder(batch_ids, valid)
            predictions[rows] = model.student({"language": frames}, {"language": own}).float().cpu().numpy()
            means.add(batch_ids, own, frames.float())
    return TeacherOutputs(predictions, means.result())


def token_embeddings(text_input: TextInput, texts: Sequence[str]) -> TokenRows:
    """Return the embedding of each token that occurs in texts, before the first layer and without its position."""
    encoder = text_input.text_encoder
    table = encoder.table if isinstance(encoder, EmbeddingTableEncoder) else encoder.encoder.get_input_embeddings()
    ids = np.concatenate([np.zeros(0, np.int64), *text_input.tokenizer.ids(texts)])
    counts = np.bincount(ids, minlength=text_input.tokenizer.size)
    occurring = np.flatnonzero(counts)
    vocabulary = text_input.tokenizer.vocabulary
    rows = table.weight.detach().cpu().numpy()[occurring].astype(np.float32)
    return TokenRows(tuple(vocabulary[index] for index in occurring), rows, counts[occurring])


def compute_table(source: TokenRows, tokenizer: TextTokenizer, dim: int) -> FloatArray:
    """Return an embedding table (V, dim) for a vocabulary: the row of each token, reduced with a PCA.

    The PCA weighs each token by its occurrences. Rows are scaled to a standard deviation of 1 over all occurrences.
    Tokens without a row are zero.
    """
    center = np.average(source.rows, axis=0, weights=source.counts)
    covariance = np.cov((source.rows - center).T, fweights=source.counts)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :dim]
    rows = (source.rows - center) @ directions
    rows /= np.sqrt(np.average((rows**2).sum(axis=1), weights=source.counts) / rows.shape[1])
    indices = {token: index for index, token in enumerate(tokenizer.vocabulary)}
    table = np.zeros((tokenizer.size, dim), np.float32)
    for token, row in zip(source.tokens, rows, strict=True):
        if token in indices:
            table[indices[token], : len(row)] = row
    return table


class _MeanFrames:
    """The running mean of the frames of each token."""

    def __init__(self, text_input: TextInput) -> None:
        self._tokenizer = text_input.tokenizer
        self._sums = np.zeros((text_input.tokenizer.size, text_input.text_encoder.dim), np.float64)
        self._counts = np.zeros(text_input.tokenizer.size, np.int64)

    def add(self, ids: Tensor, valid: Tensor, frames: Tensor) -> None:
        """Add the frames (B, T, d) of ids (B, T)."""
        tokens = ids[valid].cpu().numpy()
        np.add.at(self._sums, tokens, frames[valid].cpu().numpy())
        np.add.at(self._counts, tokens, 1)

    def result(self) -> TokenRows:
        """Return the means of the tokens that occurred."""
        occurring = np.flatnonzero(self._counts)
        vocabulary = self._tokenizer.vocabulary
        means = (self._sums[occurring] / self._counts[occurring, None]).astype(np.float32)
        return TokenRows(tuple(vocabulary[index] for index in occurring), means, self._counts[occurring])


def _cache_file(
    cache_dir: Path, command: str, source: str, texts: Sequence[str], earlier: Sequence[Sequence[str]] = ()
) -> Path:
    digest = hashlib.sha256()
    for text in (*texts, *(text for item in earlier for text in ("", *item))):
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    cache_key = compute_cache_key(command, {}, 0, {"teacher": source, "texts": digest.hexdigest()})
    return cache_dir / f"{cache_key[:32]}.npz"


def _load(path: Path) -> TeacherOutputs | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tokens = tuple(str(token) for token in arrays["tokens"])
            return TeacherOutputs(arrays["predictions"], TokenRows(tokens, arrays["rows"], arrays["counts"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # missing or damaged: compute again


def _save(path: Path, rows: TokenRows, predictions: FloatArray) -> None:
    with atomic_file(path) as file:
        np.savez(file, tokens=np.array(rows.tokens), rows=rows.rows, counts=rows.counts, predictions=predictions)
