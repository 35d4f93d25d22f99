"""Text encoders: convert text to frames of the language modality, with an embedding table or with a graph."""

from __future__ import annotations

import abc
import threading
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import BundleError, DataError, UsageError
from edge_msa_runtime.inputs.npz_files import load_arrays
from edge_msa_runtime.text.earlier_utterances import append_utterances
from edge_msa_runtime.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_msa_runtime.bundle.loader import Bundle
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import Frames


class TextEncoder(abc.ABC):
    """Converts text to frames, from any number of threads. The tokenizer is loaded when the first text arrives.

    Attributes:
        incremental: whether the frames of a word are independent of other words, so that a stream can encode words
            as they arrive.
        max_tokens: the largest number of tokens that are encoded together, including special tokens.
        context: number of earlier utterances that it reads.
    """

    incremental: bool

    def __init__(self, tokenizer: Path, max_tokens: int, context: int) -> None:
        self.max_tokens = max_tokens
        self.context = context
        self._path = tokenizer
        self._tokenizer: Tokenizer | None = None
        self._lock = threading.Lock()

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            BackendUnavailableError: the tokenizers library is not installed.
            BundleError: the file is not a tokenizer.
        """
        if self._tokenizer is None:
            with self._lock:
                if self._tokenizer is None:
                    self._tokenizer = Tokenizer(self._path, self.max_tokens, special=not self.incremental)
        return self._tokenizer

    @abc.abstractmethod
    def encode_ids(self, ids: Sequence[int], earlier: Sequence[Sequence[int]] = ()) -> Frames:
        """Return the frames (n, d) of n token ids, n at most `max_tokens`.

        Args:
            ids: the tokens.
            earlier: the tokens of at most `context` earlier utterances without special tokens, the newest last.
        """


class TableLookupEncoder(TextEncoder):
    """Looks up one row of an int8 table per token and multiplies it by the scale of the row."""

    incremental = True

    def __init__(self, tokenizer: Path, max_tokens: int, table: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(tokenizer, max_tokens, 0)
        self._rows, self._scales = table["rows"], table["scales"]

    def encode_ids(self, ids: Sequence[int], earlier: Sequence[Sequence[int]] = ()) -> Frames:
        """Return the scaled rows of the ids. They do not depend on earlier utterances."""
        del earlier
        index = np.asarray(ids, np.intp)
        try:
            frames: Frames = self._rows[index] * self._scales[index]
        except IndexError:
            raise BundleError(
                f"Token ids must be less than the {len(self._rows)} rows of the table, got {max(ids)}. "
                "Export the bundle again."
            ) from None
        return frames


class GraphTextEncoder(TextEncoder):
    """Runs the shortest text encoder graph that holds the text."""

    incremental = False

    def __init__(self, tokenizer: Path, max_tokens: int, context: int, graphs: Graphs, dim: int) -> None:
        super().__init__(tokenizer, max_tokens, context)
        self._graphs = graphs
        self._no_frames = np.zeros((0, dim), np.float32)

    def encode_ids(self, ids: Sequence[int], earlier: Sequence[Sequence[int]] = ()) -> Frames:
        """Return the frames that the graph computes from the ids, with the earlier utterances after them."""
        if not ids:
            return self._no_frames
        if not earlier:
            return self._graphs.encode_text(ids)
        tokens = append_utterances(ids, earlier, self.tokenizer.ending, self.max_tokens)
        return self._graphs.encode_text(tokens)[: len(ids)]


def open_text_encoder(bundle: Bundle, graphs: Graphs) -> TextEncoder | None:
    """Open the text encoder of a bundle; None if the bundle does not accept text.

    Raises:
        BundleError: the embedding table does not fit the language modality.
    """
    spec = bundle.manifest.language
    if spec is None:
        return None
    dim = bundle.manifest.modalities["language"].dim
    tokenizer = bundle.path / spec.tokenizer
    if spec.text_encoder == "encoder":
        return GraphTextEncoder(tokenizer, spec.max_tokens, spec.context, graphs, dim)
    return TableLookupEncoder(tokenizer, spec.max_tokens, _load_table(bundle.path / spec.table, dim))


def require_text_encoder(text_encoder: TextEncoder | None) -> TextEncoder:
    """Return the text encoder.

    Raises:
        UsageError: it is None, because the bundle does not accept text.
    """
    if text_encoder is None:
        raise UsageError(
            "This bundle does not accept text. Pass frames of language, or export a bundle with a text encoder."
        )
    return text_encoder


def _load_table(path: Path, dim: int) -> Mapping[str, NDArray[Any]]:
    try:
        arrays = load_arrays(path, "Export the bundle again.")
    except DataError as error:
        raise BundleError(str(error)) from error
    if not {"rows", "scales"} <= set(arrays):
        raise BundleError(
            f"{path.name} must have the arrays rows and scales, got {', '.join(arrays) or 'none'}. "
            "Export the bundle again."
        )
    rows, scales = arrays["rows"], arrays["scales"]
    if rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != dim or scales.shape != rows.shape[:1]:
        raise BundleError(
            f"{path.name} must have rows int8 (V, {dim}) and scales (V,), got rows {rows.dtype} {rows.shape} and "
            f"scales {scales.shape}. Export the bundle again."
        )
    return {"rows": rows, "scales": scales.astype(np.float32)[:, None]}
