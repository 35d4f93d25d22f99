"""Pre-trained encoders of words, as BERT is ALMT's: a folder or a name on the hub, by transformers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edge_msa.errors import BackendUnavailableError, UsageError


@dataclass(frozen=True)
class PretrainedEncoder:
    """A BERT-like model in evaluation mode, and its tokenizer as the JSON of the tokenizers library."""

    name: str
    tokenizer: str
    model: Any

    @property
    def width(self) -> int:
        """Features a token."""
        return int(self.model.config.hidden_size)

    @property
    def longest(self) -> int:
        """Tokens that it has positions for."""
        return int(getattr(self.model.config, "max_position_embeddings", 512))


def load_encoder(source: str, *, layers: int | None = None, device: torch.device | None = None) -> PretrainedEncoder:
    """A model that transformers can load.

    Args:
        source: a folder with config.json, weights and tokenizer, or a name on the Hugging Face hub.
        layers: how many of its first layers to keep; None for all.
        device: the CPU if none is named.

    Raises:
        BackendUnavailableError: transformers is not installed, or the hub cannot be reached.
        UsageError: the folder holds no such model, or has fewer layers.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise BackendUnavailableError(
            "encoding text needs the transformers package: pip install 'edge-msa[language]'"
        ) from None
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # A file is read in a second, and a log is no terminal.
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    local = Path(source).is_dir()
    if not local and ("/" not in source or source.startswith((".", "/", "~")) or source.count("/") > 1):
        raise UsageError(
            f"{source} is no folder, and no name on a hub (such as sentence-transformers/all-MiniLM-L6-v2)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        model = AutoModel.from_pretrained(source, local_files_only=local, use_safetensors=True)
    except Exception as error:  # noqa: BLE001 - safetensors, tokenizers and configs each raise kinds of their own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if local:
            raise UsageError(f"{source} holds no encoder that transformers can load: {first}") from None
        raise BackendUnavailableError(
            f"{source} cannot be fetched ({first}): download it, and give its folder"
        ) from None
    if tokenizer.pad_token is None or getattr(model.config, "is_encoder_decoder", False):
        raise UsageError(f"{source} is no encoder like BERT: give one whose tokenizer pads, such as all-MiniLM-L6-v2")
    if not tokenizer.is_fast:
        raise UsageError(f"{source} has no fast tokenizer: give a folder with tokenizer.json")
    if layers is not None:
        _keep_layers(model, layers, source)
    text = tokenizer.backend_tokenizer.to_str()
    return PretrainedEncoder(source, text, model.eval().to(device or torch.device("cpu")))


def _keep_layers(model: Any, layers: int, source: str) -> None:
    stack = getattr(getattr(model, "encoder", None), "layer", None)
    if stack is None:
        raise UsageError(f"{source} is not built like BERT (encoder.layer): encode with all of its layers")
    if not 1 <= layers <= len(stack):
        raise UsageError(f"--layers is {layers}; {source} has 1 to {len(stack)}")
    model.encoder.layer = stack[:layers]
    model.config.num_hidden_layers = layers
