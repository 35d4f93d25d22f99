"""How a bundle reads words: the table or the encoder that a caller gives, and the files that the device needs of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError
from edge_msa_runtime.errors import BackendUnavailableError, BundleError
from edge_msa_runtime.text.tokenizer import Tokenizer

FOLDER = "language"
TOKENIZER_FILE = f"{FOLDER}/tokenizer.json"
TABLE_FILE = f"{FOLDER}/table.npz"

# Lengths that window graphs of language and text encoder graphs are made for; what a target runs has static shapes.
BUCKETS = (16, 32, 64, 128)

Array = NDArray[Any]


@dataclass(frozen=True)
class TextTable:
    """Rows of an embedding table, one a token.

    `tokenizer`: the JSON text of the tokenizers library. `rows`: float32 (V, d), by token id. `max_tokens`: longer
    text loses its end. Special tokens are not read. The device has int8 rows, each with its scale, at every precision.
    """

    tokenizer: str
    rows: NDArray[np.float32]
    max_tokens: int

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not self.rows.size or not np.isfinite(self.rows).all():
            raise ExportError(f"the table is {self.rows.shape}, wanted are finite rows (V, d)")
        _check_tokens(self.max_tokens)

    @property
    def dim(self) -> int:
        """Features a frame."""
        return int(self.rows.shape[1])

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return int(self.rows.size)


@dataclass(frozen=True)
class TextGraph:
    """An encoder over whole texts.

    `tokenizer`: as `TextTable`'s; its own post-processor adds the special tokens. `module`: a torch module in
    evaluation mode, ids (1, L) int64 and valid (1, L) float32 with its ones first -> frames (1, L, dim); what lies
    behind the valid tokens must not matter. `max_tokens`: with the special tokens.
    """

    tokenizer: str
    module: Any
    dim: int
    max_tokens: int

    def __post_init__(self) -> None:
        _check_tokens(self.max_tokens)

    @property
    def parameters(self) -> int:
        """Numbers that were learned."""
        return int(sum(parameter.numel() for parameter in self.module.parameters()))


Text = TextTable | TextGraph


def buckets(longest: int) -> tuple[int, ...]:
    """The lengths that are baseline check a graph of their own, up to `longest`, which is the last of them."""
    return (*(length for length in BUCKETS if length < longest), longest)


def int8_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Each row as int8 within 127, (V, d), and the scales (V,) that bring it back."""
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def write_text(text: Text, root: Path) -> dict[str, str]:
    """Write the tokenizer, without its white space, and the table below `root`.

    Returns:
        The fields `tokenizer`, `text_encoder` and `table` of a `TextSpec`.

    Raises:
        ExportError: the tokenizer cannot be read, or knows ids that the table has no row for.
    """
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    try:
        compact = json.dumps(json.loads(text.tokenizer), ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        raise ExportError(f"the tokenizer is no JSON: {error}") from error
    (root / TOKENIZER_FILE).write_text(compact, encoding="utf-8", newline="\n")
    if isinstance(text, TextGraph):
        return {"tokenizer": TOKENIZER_FILE, "text_encoder": "graph", "table": ""}
    integers, scales = int8_rows(text.rows)
    np.savez(root / TABLE_FILE, rows=integers, scales=scales)
    return {"tokenizer": TOKENIZER_FILE, "text_encoder": "table", "table": TABLE_FILE}


def tokenizer_of(text: Text, root: Path, max_tokens: int | None = None) -> Tokenizer:
    """The device's own tokenizer, on the file that `write_text` wrote.

    Raises:
        ExportError: it is not one, or the tokenizers library is missing.
    """
    try:
        return Tokenizer(root / TOKENIZER_FILE, max_tokens or text.max_tokens, special=isinstance(text, TextGraph))
    except (BackendUnavailableError, BundleError) as error:
        raise ExportError(str(error)) from error


def ids_of(text: Text, tokenizer: Tokenizer, said: str) -> list[int]:
    """The ids of what was said, as the device finds them.

    Raises:
        ExportError: there are none, the table lacks one, or a stream of single words would find others.
    """
    ids = tokenizer.ids(said)
    if not ids:
        raise ExportError(f"the golden text {said[:40]!r} has no token; give one that has words")
    if isinstance(text, TextTable):
        if max(ids) >= len(text.rows):
            raise ExportError(
                f"the tokenizer knows id {max(ids)}, the table has {len(text.rows)} rows; give it them all"
            )
        single = [token for word in said.split() for token in tokenizer.ids(word)]
        if single[: text.max_tokens] != ids:
            raise ExportError(
                f"the tokenizer reads {said[:40]!r} otherwise when its words come one by one; "
                "a table needs one that splits at white space"
            )
    return ids


def _check_tokens(max_tokens: int) -> None:
    if max_tokens < 1:
        raise ExportError(f"max_tokens is {max_tokens}; give at least 1")
