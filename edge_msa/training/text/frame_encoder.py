"""Frames of a Transformer text encoder, computed when they are needed.

The frames of complete texts are computed once per split and stored, in memory up to a limit and then in a temporary
file, so that memory does not grow with the number of texts. Texts with hidden words, which MSM draws in every epoch,
are encoded per batch and not stored. If half of the samples lose words, an epoch encodes half of the texts. Storing
several masked versions of each text instead would take several times the space and still repeat masks.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from typing import BinaryIO, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from edge_msa.console import print_progress
from edge_msa.data.dataset import BoolArray, FloatArray, Frames
from edge_msa.models.text_encoders import EmbeddingTableEncoder
from edge_msa.training.text.text_input import TextInput, batches_by_length, pad_ids

_MEMORY_LIMIT = 256 << 20
"""Bytes of stored frames in memory. Further frames are stored in a temporary file."""
_BATCH = 64
_MANY = 1000
"""Encoding at least this many texts takes long, so a message announces it."""
PADDING = -1


class TextToFrames(Protocol):
    """Computes the language frames of texts. A text without a word has no valid frame."""

    def __call__(self, texts: Sequence[str], earlier: Sequence[Sequence[str]] = (), /) -> Frames:
        """Return the frames of texts. `earlier` are the texts before each text, as in `Split.earlier`."""


def text_frames(text_input: TextInput) -> TextToFrames:
    """Return what computes the language frames of texts."""
    text_encoder = text_input.text_encoder
    if not isinstance(text_encoder, EmbeddingTableEncoder):
        return TextFrameEncoder(text_input).frames
    table = text_encoder.table.weight.detach().cpu().numpy()

    def look_up(texts: Sequence[str], _earlier: Sequence[Sequence[str]] = (), /) -> Frames:
        ids, valid = pad_ids(text_input.tokenizer.ids(texts), torch.device("cpu"))
        return Frames(valid.numpy(), ids=ids.numpy(), table=table)

    return look_up


class TextFrameEncoder:
    """The frame encoder of a tokenizer and a Transformer text encoder (`edge_msa.data.dataset.FrameEncoder`).

    The tokenizer is the attribute `tokenizer`.

    Args:
        text_input: Tokenizer and text encoder, which must not be changed later.
    """

    def __init__(self, text_input: TextInput) -> None:
        self._text_input = text_input
        self.tokenizer = text_input.tokenizer
        self._special = sorted(text_input.tokenizer.special_ids)
        self._unknown = text_input.tokenizer.unknown
        self._store = _FrameStore(self.dim)
        self._numbers: dict[bytes, int] = {}
        self._pending: dict[bytes, list[NDArray[np.int64]]] = {}

    @property
    def dim(self) -> int:
        """Features per frame."""
        return self._text_input.text_encoder.dim

    def to(self, device: torch.device) -> None:
        """Move the text encoder to the device on which frames are computed."""
        self._text_input.text_encoder.to(device)

    def frames(self, texts: Sequence[str], earlier: Sequence[Sequence[str]] = ()) -> Frames:
        """Return the frames of texts, which are encoded together when one of them is taken for the first time.

        `earlier` are the texts before each text, as in `Split.earlier`.
        """
        own = self._text_input.tokenizer.ids(texts)
        tokens = self._text_input.tokenizer.append_earlier(own, earlier)
        longest = max((len(item) for item in tokens), default=0) or 1
        ids = np.full((len(tokens), longest), PADDING, np.int32)
        for row, item in enumerate(tokens):
            ids[row, : len(item)] = item
        for key in {_key(item) for item in tokens if len(item)} - self._numbers.keys():
            # A text of several splits belongs to the smallest: taking a small split must not encode a large one.
            if key not in self._pending or len(tokens) < len(self._pending[key]):
                self._pending[key] = tokens
        counts = np.array([[len(item)] for item in own], np.int64).reshape(-1, 1)
        return Frames(np.arange(longest) < counts, ids=ids, encoder=self)

    def encode(self, ids: NDArray[np.integer]) -> FloatArray:
        """Return the frames (n, T, d) of token ids (n, T), which are negative at padding; frames there are zero."""
        values = np.zeros((*ids.shape, self.dim), np.float32)
        texts = [row[row >= 0].astype(np.int64) for row in ids]
        unknown = []
        for row, tokens in enumerate(texts):
            key = _key(tokens)
            if key not in self._numbers and key in self._pending:
                self._store_all(self._pending[key])
            if key in self._numbers:
                values[row, : len(tokens)] = self._store.read(self._numbers[key])
            elif len(tokens):
                unknown.append(row)
        for batch in batches_by_length([texts[row] for row in unknown], _BATCH):
            rows = [unknown[index] for index in batch]
            for row, frames in zip(rows, self._compute([texts[row] for row in rows]), strict=True):
                values[row, : len(frames)] = frames
        return values

    def hide(self, ids: NDArray[np.integer], hidden: BoolArray) -> NDArray[np.integer]:
        """Return the ids with the unknown token in place of each `hidden` (n, T) word. Special tokens stay."""
        return np.where(hidden & (ids >= 0) & ~np.isin(ids, self._special), self._unknown, ids).astype(ids.dtype)

    def _store_all(self, texts: Sequence[NDArray[np.int64]]) -> None:
        """Compute and store the frames of texts, in batches that do not depend on which of them is needed first."""
        own = {key: tokens for tokens in texts if self._pending.get(key := _key(tokens)) is texts}
        if len(own) >= _MANY:
            print_progress(f"Encoding {len(own)} texts.")
        keys, distinct = list(own), list(own.values())
        for batch in batches_by_length(distinct, _BATCH):
            for row, frames in zip(batch, self._compute([distinct[row] for row in batch]), strict=True):
                self._numbers[keys[row]] = self._store.add(frames)
                del self._pending[keys[row]]

    def _compute(self, texts: Sequence[NDArray[np.int64]]) -> list[FloatArray]:
        """Return the frames of each text, (tokens, d)."""
        encoder = self._text_input.text_encoder.eval()
        ids, valid = self._text_input.batch(texts)
        with torch.no_grad(), torch.autocast(ids.device.type, enabled=False):
            states = encoder(ids, valid).cpu().numpy()
        return [np.ascontiguousarray(row[: len(text)]) for row, text in zip(states, texts, strict=True)]


class _FrameStore:
    """Frames of texts by number: in memory up to a limit, the rest in a temporary file without a name."""

    def __init__(self, dim: int) -> None:
        self._dim, self.bytes_in_memory = dim, 0
        self._items: list[FloatArray | tuple[int, int]] = []
        self._file: BinaryIO | None = None
        self._end = 0

    def add(self, frames: FloatArray) -> int:
        """Store frames (n, dim) and return their number."""
        if self.bytes_in_memory + frames.nbytes <= _MEMORY_LIMIT:
            self.bytes_in_memory += frames.nbytes
            self._items.append(frames)
        else:
            if self._file is None:
                self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - it is open as long as the store
                weakref.finalize(self, self._file.close)
            self._file.seek(self._end)
            self._file.write(frames.tobytes())
            self._items.append((self._end, len(frames)))
            self._end += frames.nbytes
        return len(self._items) - 1

    def read(self, number: int) -> FloatArray:
        """Return the frames with that number."""
        item = self._items[number]
        if not isinstance(item, tuple):
            return item
        offset, count = item
        assert self._file is not None  # noqa: S101 - `add` opened it
        self._file.seek(offset)
        content = self._file.read(count * self._dim * 4)
        return np.frombuffer(content, np.float32).reshape(count, self._dim)


def _key(tokens: NDArray[np.integer]) -> bytes:
    return tokens.astype(np.int32).tobytes()
