"""Pre-trained text encoders such as BERT, loaded with transformers from a folder or the Hugging Face hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_msa.errors import BackendUnavailableError, UsageError


@dataclass(frozen=True)
class PretrainedEncoder:
    """A BERT-like model in evaluation mode, and its tokenizer in the JSON format of the tokenizers library."""

    name: str
    tokenizer: str
    model: Any

    @property
    def width(self) -> int:
        """Number of features per token."""
        return int(self.model.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text."""
        return int(getattr(self.model.config, "max_position_embeddings", 512))


def load_encoder(source: str, *, layers: int | None = None, device: torch.device | None = None) -> PretrainedEncoder:
    """Load a pre-trained encoder.

    Args:
        source: A folder with config.json, weights and tokenizer, or a model name on the Hugging Face hub.
        layers: Number of first layers to keep (default: all).
        device: Device to move the model to (default: the CPU).

    Raises:
        BackendUnavailableError: transformers is not installed, or the hub cannot be reached.
        UsageError: The source is not such a model, or has fewer layers.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise BackendUnavailableError(
            "Encoding text needs the transformers package. Install it with pip install 'edge-msa[text]'."
        ) from None
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Loading takes only a second, and a progress bar would clutter the logs.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    local = Path(source).is_dir()
    if not local and ("/" not in source or source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise UsageError(
            f"{source} is neither a folder nor a model name. "
            "Pass a folder, or a name on the hub such as sentence-transformers/all-MiniLM-L6-v2."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        model = AutoModel.from_pretrained(source, local_files_only=local, use_safetensors=True)
    except Exception as error:  # noqa: BLE001 - safetensors, tokenizers and configs raise different exceptions
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if local:
            raise UsageError(f"transformers cannot load an encoder from {source}: {first}") from None
        raise BackendUnavailableError(
            f"Cannot download {source}: {first}. Download it yourself and pass its folder."
        ) from None
    if tokenizer.pad_token is None or getattr(model.config, "is_encoder_decoder", False):
        raise UsageError(
            f"{source} is not an encoder like BERT. "
            "Pass one whose tokenizer has a padding token, such as sentence-transformers/all-MiniLM-L6-v2."
        )
    if not tokenizer.is_fast:
        raise UsageError(f"{source} has no fast tokenizer. Pass a folder with tokenizer.json.")
    if layers is not None:
        _keep_layers(model, layers, source)
    text = tokenizer.backend_tokenizer.to_str()
    return PretrainedEncoder(source, text, model.eval().to(device or torch.device("cpu")))


def _keep_layers(model: Any, layers: int, source: str) -> None:
    stack = getattr(getattr(model, "encoder", None), "layer", None)
    if stack is None:
        raise UsageError(
            f"The layers of {source} cannot be truncated, because the model has no encoder.layer. Omit --layers."
        )
    if not 1 <= layers <= len(stack):
        raise UsageError(f"--layers must be from 1 to {len(stack)} for {source}, got {layers}.")
    model.encoder.layer = stack[:layers]
    model.config.num_hidden_layers = layers
