"""The text model of a bundle: an embedding table or a text encoder, and the files that the device needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError
from edge_msa_runtime.errors import EdgeMsaError
from edge_msa_runtime.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import nn

_FOLDER = "language"
TOKENIZER_FILE = f"{_FOLDER}/tokenizer.json"
TABLE_FILE = f"{_FOLDER}/table.npz"

# Lengths of the window graphs of language and of the text encoder graphs. Graphs have static shapes, so a short text
# runs fast only in a short graph.
BUCKET_LENGTHS = (16, 32, 64, 128)


@dataclass(frozen=True)
class TextTable:
    """A text model that looks up one row of an embedding table per token.

    The device stores int8 rows, each with its own scale, at every precision.

    Attributes:
        tokenizer: JSON text in the format of the tokenizers library. Special tokens are not used.
        rows: float32 (V, d), by token id.
        max_tokens: longer texts are truncated at the end.
    """

    tokenizer: str
    rows: NDArray[np.float32]
    max_tokens: int

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not self.rows.size:
            raise ExportError(f"The embedding table must have shape (tokens, features), got {self.rows.shape}.")
        if not np.isfinite(self.rows).all():
            raise ExportError("The embedding table must be finite, got NaN or infinity.")
        _check_max_tokens(self.max_tokens)

    @property
    def dim(self) -> int:
        """Features per frame."""
        return int(self.rows.shape[1])

    @property
    def parameters(self) -> int:
        """Number of learned parameters."""
        return int(self.rows.size)


@dataclass(frozen=True)
class TextGraph:
    """A text model that runs an encoder over the whole text.

    Attributes:
        tokenizer: JSON text in the format of the tokenizers library. Its post-processor adds the special tokens.
        module: a torch module in evaluation mode that maps ids (1, L) int64 and valid (1, L) float32, ones first, to
            frames (1, L, dim). Ids after the valid ones must not affect the frames of the valid ones.
        dim: features per frame.
        max_tokens: longer texts are truncated; special tokens count.
        context: number of earlier utterances that the encoder reads after the text.
    """

    tokenizer: str
    module: nn.Module
    dim: int
    max_tokens: int
    context: int = 0

    def __post_init__(self) -> None:
        _check_max_tokens(self.max_tokens)

    @property
    def parameters(self) -> int:
        """Number of learned parameters."""
        return int(sum(parameter.numel() for parameter in self.module.parameters()))


ExportableText = TextTable | TextGraph


def bucket_lengths(longest: int) -> tuple[int, ...]:
    """Return the lengths to export graphs for: the bucket lengths below `longest`, and `longest` itself."""
    return (*(length for length in BUCKET_LENGTHS if length < longest), longest)


def quantize_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize each row of a table (V, d) to int8 within ±127. Return the int8 rows and one scale per row (V,)."""
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def write_text_files(model: ExportableText, root: Path) -> None:
    """Write the tokenizer, without white space, and the table of a `TextTable` below `root`.

    Raises:
        ExportError: the tokenizer is not valid JSON.
    """
    (root / _FOLDER).mkdir(parents=True, exist_ok=True)
    try:
        compact = json.dumps(json.loads(model.tokenizer), ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        raise ExportError(f"The tokenizer must be JSON: {error}.") from error
    (root / TOKENIZER_FILE).write_text(compact, encoding="utf-8", newline="\n")
    if isinstance(model, TextTable):
        integers, scales = quantize_rows(model.rows)
        np.savez(root / TABLE_FILE, rows=integers, scales=scales)


def load_tokenizer(model: ExportableText, root: Path, max_tokens: int | None = None) -> Tokenizer:
    """Load the tokenizer that `write_text_files` wrote, as the device does.

    Raises:
        ExportError: the file is not a tokenizer, or the tokenizers library is missing.
    """
    try:
        return Tokenizer(root / TOKENIZER_FILE, max_tokens or model.max_tokens, special=isinstance(model, TextGraph))
    except EdgeMsaError as error:
        raise ExportError(str(error)) from error


def encode_text(model: ExportableText, tokenizer: Tokenizer, text: str) -> list[int]:
    """Return the token ids of a text, as the device computes them.

    Raises:
        ExportError: the text has no token, the table lacks the row of a token, or the words would have other tokens
            when they arrive one by one, as in a stream.
    """
    ids = tokenizer.ids(text)
    excerpt = text[:40]
    if not ids:
        raise ExportError(f"The golden text {excerpt!r} must have at least one token, got none.")
    if isinstance(model, TextTable):
        if max(ids) >= len(model.rows):
            raise ExportError(
                f"The embedding table must have a row for every token: the tokenizer has id {max(ids)}, the table has "
                f"{len(model.rows)} rows."
            )
        word_ids = [token for word in text.split() for token in tokenizer.ids(word)]
        if word_ids[: model.max_tokens] != ids:
            raise ExportError(
                f"The tokenizer encodes {excerpt!r} differently when its words arrive one by one. An embedding table "
                "needs a tokenizer that splits at white space."
            )
    return ids


def _check_max_tokens(max_tokens: int) -> None:
    if max_tokens < 1:
        raise ExportError(f"max_tokens must be at least 1, got {max_tokens}.")
