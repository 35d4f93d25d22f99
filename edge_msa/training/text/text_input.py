"""A text encoder with its tokenizer: what makes frames of words, in memory and as files of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.dataset import Frames
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import BackendUnavailableError, RunError
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TextEncoder, TransformerTextEncoder

TEXT_ENCODER_NAME = "text_encoder.json"
TEXT_ENCODER_WEIGHTS_NAME = "text_encoder.safetensors"
TOKENIZER_NAME = "tokenizer.json"
FILES = (TEXT_ENCODER_NAME, TEXT_ENCODER_WEIGHTS_NAME, TOKENIZER_NAME)


@dataclass(frozen=True)
class TextInput:
    """TextTokenizer to frames: the tokenizer, then the text encoder."""

    words: TextTokenizer
    text_encoder: TextEncoder

    def batch(self, ids: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        """Ids of several texts as (B, T) int64 with their validity (B, T) bool, on the text encoder's device."""
        return padded(ids, next(self.text_encoder.parameters()).device)

    def frames(self, texts: Sequence[str], batch_size: int = 64) -> Frames:
        """The language stream of those texts; one without a word has no valid frame."""
        ids = self.words.ids(texts)
        longest = max(1, *(len(item) for item in ids)) if ids else 1
        if isinstance(self.text_encoder, EmbeddingTableEncoder):
            places, valid = padded(ids, torch.device("cpu"), longest)
            table = self.text_encoder.table.weight.detach().cpu().numpy()
            return Frames(valid.numpy(), ids=places.numpy(), table=table)
        values = np.zeros((len(ids), longest, self.text_encoder.dim), np.float32)
        valid_rows = np.zeros((len(ids), longest), np.bool_)
        self.text_encoder.eval()
        with torch.no_grad():
            for rows in by_length(ids, batch_size):
                places, valid = self.batch([ids[row] for row in rows])
                states: Tensor = self.text_encoder(places, valid)
                values[rows, : states.shape[1]] = states.cpu().numpy()
                valid_rows[rows, : states.shape[1]] = valid.cpu().numpy()
        return Frames(valid_rows, values=values)


def padded(ids: Sequence[NDArray[np.int64]], device: torch.device, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Ids (B, T) int64, 0 behind each text's end, and their validity (B, T) bool; T at least 1."""
    longest = length or max(1, *(len(item) for item in ids), 1)
    places = np.zeros((len(ids), longest), np.int64)
    valid = np.zeros((len(ids), longest), np.bool_)
    for row, item in enumerate(ids):
        places[row, : len(item)], valid[row, : len(item)] = item, True
    return torch.from_numpy(places).to(device), torch.from_numpy(valid).to(device)


def by_length(ids: Sequence[NDArray[np.int64]], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Rows in batches of texts of like length: less is padded."""
    order = np.argsort([len(item) for item in ids], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def write_text_input(folder: Path, text_input: TextInput) -> str:
    """Write it into a run's folder; the result is the digest of its files."""
    from safetensors.numpy import save

    text_encoder = text_input.text_encoder
    described: dict[str, Any] = {
        "kind": text_encoder.kind,
        "max_tokens": text_input.words.max_tokens,
        "special": text_input.words.special,
    }
    if isinstance(text_encoder, EmbeddingTableEncoder):
        described |= {"size": text_encoder.table.num_embeddings, "dim": text_encoder.dim}
    else:
        described |= {"config": text_encoder.encoder.config.to_dict()}
    weights = {
        name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in text_encoder.state_dict().items()
    }
    try:
        (folder / TEXT_ENCODER_NAME).write_text(json.dumps(described, indent=1, default=str) + "\n", encoding="utf-8")
        (folder / TEXT_ENCODER_WEIGHTS_NAME).write_bytes(save(weights))
        (folder / TOKENIZER_NAME).write_text(text_input.words.tokenizer, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror or error}): free space and run it again") from None
    return text_input_digest(folder)


def text_input_digest(folder: Path) -> str:
    """SHA-256 over the files that `write_text_input` wrote.

    Raises:
        RunError: one of them is missing.
    """
    digest = hashlib.sha256()
    for name in FILES:
        try:
            digest.update((folder / name).read_bytes())
        except OSError:
            raise RunError(f"{folder} lacks {name}, which its language needs: make the run again") from None
    return digest.hexdigest()


def read_text_input(folder: Path, digest: str) -> TextInput:
    """What `write_text_input` wrote, in evaluation mode on the CPU.

    Raises:
        RunError: files are missing, changed, or do not fit together.
    """
    from safetensors.torch import load_file

    if text_input_digest(folder) != digest:
        raise RunError(f"the language of {folder} has changed since the run was made: make the run again")
    try:
        described = json.loads((folder / TEXT_ENCODER_NAME).read_text(encoding="utf-8"))
        words = TextTokenizer(
            (folder / TOKENIZER_NAME).read_text(encoding="utf-8"), described["max_tokens"], described["special"]
        )
        text_encoder = _empty(described)
        text_encoder.load_state_dict(load_file(folder / TEXT_ENCODER_WEIGHTS_NAME))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"the language of {folder} cannot be read ({first}): make the run again") from None
    return TextInput(words, text_encoder.eval())


def _empty(described: dict[str, Any]) -> TextEncoder:
    if described["kind"] == "table":
        return EmbeddingTableEncoder(described["size"], described["dim"])
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError:
        raise BackendUnavailableError(
            "this run's language needs the transformers package: pip install 'edge-msa[language]'"
        ) from None
    config = dict(described["config"])
    shape = AutoConfig.for_model(config.pop("model_type"), **config)
    return TransformerTextEncoder(AutoModel.from_config(shape))  # type: ignore[no-untyped-call]
