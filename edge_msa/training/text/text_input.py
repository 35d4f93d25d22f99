"""A tokenizer with a text encoder, in memory and as files of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import RunError
from edge_msa.models.encoder_widths import EncoderWidths
from edge_msa.models.pretrained import import_transformers
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TextEncoder, TransformerTextEncoder

TEXT_ENCODER_NAME = "text_encoder.json"
TEXT_ENCODER_WEIGHTS_NAME = "text_encoder.safetensors"
TOKENIZER_NAME = "tokenizer.json"
FILES = (TEXT_ENCODER_NAME, TEXT_ENCODER_WEIGHTS_NAME, TOKENIZER_NAME)


@dataclass(frozen=True)
class TextInput:
    """A tokenizer and a text encoder, which together turn texts into frames."""

    tokenizer: TextTokenizer
    text_encoder: TextEncoder

    def batch(self, ids: Sequence[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
        """Return the ids (B, T) int64 of several texts and their validity (B, T) bool, on the encoder's device."""
        return pad_ids(ids, next(self.text_encoder.parameters()).device)


def pad_ids(ids: Sequence[NDArray[np.int64]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids padded with 0, (B, T) int64, and their validity, (B, T) bool, with T at least 1."""
    longest = max(1, *(len(item) for item in ids), 1)
    padded = np.zeros((len(ids), longest), np.int64)
    valid = np.zeros((len(ids), longest), np.bool_)
    for row, item in enumerate(ids):
        padded[row, : len(item)], valid[row, : len(item)] = item, True
    return to_device(torch.from_numpy(padded), device), to_device(torch.from_numpy(valid), device)


def first_tokens(counts: Sequence[int], valid: Tensor) -> Tensor:
    """Return which tokens of padded texts (B, T) are the first `counts` (B,) of their text, (B, T) bool."""
    positions = torch.arange(valid.shape[1], device=valid.device)
    return positions < to_device(torch.tensor(counts), valid.device)[:, None]


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Return values of the CPU on a device, without waiting for a GPU to finish its work."""
    if device.type == "cuda":
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def batches_by_length(ids: Sequence[NDArray[np.int64]], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of row indices, sorted by the length of the texts to minimize padding."""
    order = np.argsort([len(item) for item in ids], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def write_text_input(folder: Path, text_input: TextInput) -> str:
    """Write tokenizer and text encoder into the folder of a run, and return the digest of the files.

    Raises:
        RunError: A file cannot be written.
    """
    from safetensors.numpy import save

    text_encoder = text_input.text_encoder
    description: dict[str, Any] = {
        "kind": text_encoder.kind,
        "max_tokens": text_input.tokenizer.max_tokens,
        "special": text_input.tokenizer.special,
        "context": text_input.tokenizer.context,
    }
    if isinstance(text_encoder, EmbeddingTableEncoder):
        description |= {"size": text_encoder.table.num_embeddings, "dim": text_encoder.dim}
    else:
        description |= {"config": text_encoder.encoder.config.to_dict()}
        if text_encoder.widths is not None:
            description |= {"widths": dataclasses.asdict(text_encoder.widths)}
    weights = {
        name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in text_encoder.state_dict().items()
    }
    try:
        (folder / TEXT_ENCODER_NAME).write_text(json.dumps(description, indent=1, default=str) + "\n", encoding="utf-8")
        (folder / TEXT_ENCODER_WEIGHTS_NAME).write_bytes(save(weights))
        (folder / TOKENIZER_NAME).write_text(text_input.tokenizer.tokenizer, encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"Cannot write {folder}: {error.strerror or error}. Free space and run the command again."
        ) from None
    return text_input_digest(folder)


def copy_text_input(source: Path, work: Path) -> None:
    """Copy the tokenizer and text encoder of a run into the folder of another run.

    Raises:
        RunError: A file cannot be copied.
    """
    for name in FILES:
        try:
            shutil.copyfile(source / name, work / name)
        except OSError as error:
            reason = error.strerror or error
            raise RunError(f"Cannot copy {source / name}: {reason}. Free space and run the command again.") from None


def text_input_digest(folder: Path) -> str:
    """Return the SHA-256 of the files that `write_text_input` wrote.

    Raises:
        RunError: A file is missing.
    """
    digest = hashlib.sha256()
    for name in FILES:
        try:
            digest.update((folder / name).read_bytes())
        except OSError:
            raise RunError(f"{folder} has no {name}, which its text encoder needs. Make the run again.") from None
    return digest.hexdigest()


def load_text_input_files(folder: Path, digest: str) -> TextInput:
    """Load what `write_text_input` wrote, in evaluation mode on the CPU.

    Args:
        folder: Folder of the run.
        digest: Expected digest of the files.

    Raises:
        RunError: Files are missing, changed or inconsistent.
        BackendUnavailableError: The text encoder needs transformers, which is not installed.
    """
    from safetensors.torch import load_file

    if text_input_digest(folder) != digest:
        raise RunError(f"The text encoder in {folder} has changed since the run was made. Make the run again.")
    try:
        description = json.loads((folder / TEXT_ENCODER_NAME).read_text(encoding="utf-8"))
        tokenizer = TextTokenizer(
            (folder / TOKENIZER_NAME).read_text(encoding="utf-8"),
            description["max_tokens"],
            description["special"],
            description.get("context", 0),
        )
        text_encoder = _create_text_encoder(description)
        text_encoder.load_state_dict(load_file(folder / TEXT_ENCODER_WEIGHTS_NAME))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(f"Cannot load the text encoder in {folder}: {reason}. Make the run again.") from None
    return TextInput(tokenizer, text_encoder.eval())


def _create_text_encoder(description: dict[str, Any]) -> TextEncoder:
    if description["kind"] == "table":
        return EmbeddingTableEncoder(description["size"], description["dim"])
    transformers = import_transformers("This run's text encoder")
    config = dict(description["config"])
    model_config = transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    text_encoder = TransformerTextEncoder(transformers.AutoModel.from_config(model_config))
    if widths := description.get("widths"):
        EncoderWidths(tuple(widths["heads"]), tuple(widths["neurons"])).apply(text_encoder.encoder)
    return text_encoder
