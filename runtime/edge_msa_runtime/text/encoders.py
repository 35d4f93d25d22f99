"""Text encoders: from words to frames of the language modality, by rows of a table or by an encoder's graph."""

from __future__ import annotations

import abc
import zipfile
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_msa_runtime.bundle.reader import Bundle
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import Rows


class TextEncoder(abc.ABC):
    """Turns words into frames; the tokenizer is read when the first words come.

    `incremental`: the frames of a word do not depend on other words, so that a stream takes them as they come.
    `max_tokens`: what it reads of a text at most.
    """

    incremental: bool

    def __init__(self, path: Path, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._path = path
        self._made: Tokenizer | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer.

        Raises:
            BackendUnavailableError: the tokenizers library is not installed.
            BundleError: the file is no tokenizer.
        """
        if self._made is None:
            self._made = Tokenizer(self._path, self.max_tokens, special=not self.incremental)
        return self._made

    def frames(self, text: str) -> Rows:
        """The frames (n, d) of a text, n at most `max_tokens`; none where nothing of it is a token.

        They are normalized already, and overwritten by the next call.

        Raises:
            UsageError: it is no Unicode text.
            BackendUnavailableError: the tokenizers library is not installed.
            InferenceError: the backend failed.
        """
        return self.rows(self.tokenizer.ids(text))

    @abc.abstractmethod
    def rows(self, ids: Sequence[int]) -> Rows:
        """The frames (n, d) of n ids, at most `max_tokens`; overwritten by the next call."""


class EmbeddingTableEncoder(TextEncoder):
    """Rows of a table of int8, each with its scale."""

    incremental = True

    def __init__(self, path: Path, max_tokens: int, table: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(path, max_tokens)
        self._integers, self._scales = table["rows"], table["scales"]
        self._frames = np.zeros((max_tokens, self._integers.shape[1]), np.float32)

    def rows(self, ids: Sequence[int]) -> Rows:
        """The rows, each times its scale."""
        target = self._frames[: len(ids)]
        try:
            index = np.asarray(ids, np.intp)
            np.multiply(self._integers[index], self._scales[index], out=target)
        except IndexError:
            raise BundleError(
                f"the tokenizer knows id {max(ids)}, the table has {len(self._integers)} rows; export the bundle again"
            ) from None
        return target


class GraphTextEncoder(TextEncoder):
    """An encoder's graphs, the shortest that holds the text."""

    incremental = False

    def __init__(self, path: Path, max_tokens: int, graphs: Graphs, dim: int) -> None:
        super().__init__(path, max_tokens)
        self._graphs = graphs
        self._none = np.zeros((0, dim), np.float32)

    def rows(self, ids: Sequence[int]) -> Rows:
        """What the encoder makes of them."""
        return self._graphs.text_encoder(len(ids)).run(ids) if ids else self._none


def open_text_encoder(bundle: Bundle, graphs: Graphs) -> TextEncoder | None:
    """The text encoder that a bundle names, or None where it reads no words.

    Raises:
        BundleError: its table does not fit the language modality.
    """
    spec = bundle.manifest.language
    if spec is None:
        return None
    dim = bundle.manifest.modalities["language"].dim
    path = bundle.path / spec.tokenizer
    if spec.text_encoder == "graph":
        return GraphTextEncoder(path, spec.max_tokens, graphs, dim)
    return EmbeddingTableEncoder(path, spec.max_tokens, _read_table(bundle.path / spec.table, dim))


def _read_table(path: Path, dim: int) -> Mapping[str, NDArray[Any]]:
    try:
        # Opened here: NumPy leaves a file open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            rows, scales = archive["rows"], archive["scales"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path.name} is no table of rows ({error}); export the bundle again") from error
    if rows.dtype != np.int8 or rows.ndim != 2 or rows.shape[1] != dim or scales.shape != rows.shape[:1]:
        raise BundleError(
            f"{path.name} has rows {rows.dtype} {rows.shape} and scales {scales.shape}, wanted are int8 (V, {dim}) "
            "and (V,); export the bundle again"
        )
    return {"rows": rows, "scales": scales.astype(np.float32)[:, None]}
