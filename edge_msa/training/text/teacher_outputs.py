"""What a student learns from text teachers: their predictions, and their mean frame for every token."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.runs import Run
from edge_msa.console import print_progress
from edge_msa.data.dataset import FloatArray
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.text.load import load_text_model
from edge_msa.training.text.text_input import TextInput, batches_by_length
from edge_msa_runtime.atomic_files import atomic_file


@dataclass(frozen=True)
class TeacherOutputs:
    """The outputs of one teacher for N texts with P distinct tokens."""

    predictions: FloatArray
    """(N, outputs)."""
    tokens: tuple[str, ...]
    """The text of each token, (P,)."""
    means: FloatArray
    """The mean frame of each token over its occurrences, (P, d)."""
    counts: NDArray[np.int64]
    """The number of occurrences of each token, (P,)."""


def load_or_compute_outputs(teacher: Run, texts: Sequence[str], cache_dir: Path) -> TeacherOutputs:
    """Return the outputs of a teacher, cached in `cache_dir`."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    cache_key = compute_cache_key("teacher outputs", {}, 0, {"teacher": teacher.digest, "texts": digest.hexdigest()})
    path = cache_dir / f"{cache_key[:32]}.npz"
    if (cached := _load(path)) is not None:
        return cached
    print_progress(f"Predicting {len(texts)} texts with {teacher.path}.")
    outputs = compute_outputs(*load_text_model(teacher), texts)
    _save(path, outputs)
    return outputs


def compute_outputs(
    model: TextModel, text_input: TextInput, texts: Sequence[str], batch_size: int = 64
) -> TeacherOutputs:
    """Return the outputs of a text model, which is left in evaluation mode."""
    ids = text_input.tokenizer.ids(texts)
    predictions = np.zeros((len(ids), model.student.config.outputs), np.float32)
    sums = np.zeros((text_input.tokenizer.size, model.text_encoder.dim), np.float64)
    counts = np.zeros(text_input.tokenizer.size, np.int64)
    model.eval()
    with torch.no_grad():
        for rows in batches_by_length(ids, batch_size):
            batch_ids, valid = text_input.batch([ids[row] for row in rows])
            frames = model.text_encoder(batch_ids, valid)
            predictions[rows] = model.student({"language": frames}, {"language": valid}).cpu().numpy()
            tokens = batch_ids[valid].cpu().numpy()
            np.add.at(sums, tokens, frames[valid].cpu().numpy())
            np.add.at(counts, tokens, 1)
    occurring = np.flatnonzero(counts)
    vocabulary = text_input.tokenizer.vocabulary
    means = (sums[occurring] / counts[occurring, None]).astype(np.float32)
    return TeacherOutputs(predictions, tuple(vocabulary[index] for index in occurring), means, counts[occurring])


def compute_table(outputs: TeacherOutputs, tokenizer: TextTokenizer, dim: int) -> FloatArray:
    """Return an embedding table (V, dim) for a vocabulary: the mean frame of each token, reduced with a PCA.

    The PCA weighs each token by its occurrences. Rows are scaled to a standard deviation of 1 over all occurrences.
    Tokens that the teacher has not seen are zero.
    """
    center = np.average(outputs.means, axis=0, weights=outputs.counts)
    covariance = np.cov((outputs.means - center).T, fweights=outputs.counts)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :dim]
    rows = (outputs.means - center) @ directions
    rows /= np.sqrt(np.average((rows**2).sum(axis=1), weights=outputs.counts) / rows.shape[1])
    indices = {token: index for index, token in enumerate(tokenizer.vocabulary)}
    table = np.zeros((tokenizer.size, dim), np.float32)
    for token, row in zip(outputs.tokens, rows, strict=True):
        if token in indices:
            table[indices[token], : len(row)] = row
    return table


def _load(path: Path) -> TeacherOutputs | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tokens = tuple(str(token) for token in arrays["tokens"])
            return TeacherOutputs(arrays["predictions"], tokens, arrays["means"], arrays["counts"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # missing or damaged: compute again


def _save(path: Path, outputs: TeacherOutputs) -> None:
    with atomic_file(path) as file:
        np.savez(
            file,
            predictions=outputs.predictions,
            tokens=np.array(outputs.tokens),
            means=outputs.means,
            counts=outputs.counts,
        )
