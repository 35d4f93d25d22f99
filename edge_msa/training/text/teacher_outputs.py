"""What language teachers know of texts: their predictions, and a table of what their tokens mean on the average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.models.text_encoders import TextModel
from edge_msa.training.text.text_input import TextInput, by_length


@dataclass(frozen=True)
class Taught:
    """What one teacher knows of N texts.

    `predictions` (N, outputs). Of every token that occurs: `pieces`, its text; `means` (P, d), the mean of the text encoder's
    frames over its occurrences; `counts` (P,).
    """

    predictions: FloatArray
    pieces: tuple[str, ...]
    means: FloatArray
    counts: NDArray[np.int64]


def ask(reader: TextModel, text_input: TextInput, texts: Sequence[str], batch_size: int = 64) -> Taught:
    """Ask one teacher; the reader is left in evaluation mode."""
    ids = text_input.words.ids(texts)
    predictions = np.zeros((len(ids), reader.student.config.outputs), np.float32)
    sums = np.zeros((text_input.words.size, reader.text_encoder.dim), np.float64)
    counts = np.zeros(text_input.words.size, np.int64)
    reader.eval()
    with torch.no_grad():
        for rows in by_length(ids, batch_size):
            places, valid = text_input.batch([ids[row] for row in rows])
            frames = reader.text_encoder(places, valid)
            predictions[rows] = reader.student({"language": frames}, {"language": valid}).cpu().numpy()
            tokens = places[valid].cpu().numpy()
            np.add.at(sums, tokens, frames[valid].cpu().numpy())
            np.add.at(counts, tokens, 1)
    seen = np.flatnonzero(counts)
    vocabulary = text_input.words.vocabulary
    means = (sums[seen] / counts[seen, None]).astype(np.float32)
    return Taught(predictions, tuple(vocabulary[index] for index in seen), means, counts[seen])


def table_of(taught: Taught, words: TextTokenizer, dim: int) -> FloatArray:
    """A table (V, dim) for a vocabulary: each piece's mean, reduced by a PCA that counts every occurrence.

    Pieces that the teacher never met are zero. Rows are scaled to a deviation of 1 over all occurrences.
    """
    center = np.average(taught.means, axis=0, weights=taught.counts)
    covariance = np.cov((taught.means - center).T, fweights=taught.counts)
    directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :dim]
    rows = (taught.means - center) @ directions
    rows /= np.sqrt(np.average((rows**2).sum(axis=1), weights=taught.counts) / rows.shape[1])
    places = {piece: index for index, piece in enumerate(words.vocabulary)}
    table = np.zeros((words.size, dim), np.float32)
    for piece, row in zip(taught.pieces, rows, strict=True):
        if piece in places:
            table[places[piece], : len(row)] = row
    return table
