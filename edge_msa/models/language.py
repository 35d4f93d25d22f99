"""Language encoders: from what was said to token features, as BERT does in ALMT; here frozen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_msa.errors import BackendError, UsageError


@dataclass(frozen=True)
class LanguageEncoder:
    """A BERT-like model and its tokenizer, in evaluation mode; `load_encoder` makes it."""

    name: str
    tokenizer: Any
    model: Any

    @property
    def width(self) -> int:
        """Features a token."""
        return int(self.model.config.hidden_size)

    @property
    def longest(self) -> int:
        """Tokens that it has positions for."""
        return int(getattr(self.model.config, "max_position_embeddings", 512))

    def encode(
        self, texts: Sequence[str], *, max_tokens: int = 64, batch_size: int = 32
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Features of the last layer for every token, the special ones included.

        Args:
            texts: N utterances; the tokenizer decides about upper case and punctuation.
            max_tokens: longer utterances lose their end.
            batch_size: utterances a pass.

        Returns:
            (N, T, width) float32, zero behind an utterance's end, and (N, T) bool; T is the longest one's length.
        """
        device = next(self.model.parameters()).device
        parts = []
        for start in range(0, len(texts), batch_size):
            chosen = [str(text) for text in texts[start : start + batch_size]]
            tokens = self.tokenizer(chosen, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
            with torch.no_grad():
                states = self.model(**tokens.to(device)).last_hidden_state
            parts.append((states.float().cpu().numpy(), tokens["attention_mask"].bool().cpu().numpy()))
        longest = max(mask.shape[1] for _, mask in parts)
        values = np.zeros((len(texts), longest, self.width), np.float32)
        valid = np.zeros((len(texts), longest), np.bool_)
        for index, (states, mask) in enumerate(parts):
            rows = slice(index * batch_size, index * batch_size + len(mask))
            values[rows, : mask.shape[1]] = states * mask[..., None]
            valid[rows, : mask.shape[1]] = mask
        return values, valid


def load_encoder(source: str, *, layers: int | None = None, device: torch.device | None = None) -> LanguageEncoder:
    """A model that transformers can load.

    Args:
        source: a folder with config.json, weights and tokenizer, or a name on the Hugging Face hub.
        layers: how many of its first layers to keep; None for all.
        device: the CPU if none is named.

    Raises:
        BackendError: transformers is not installed, or the hub cannot be reached.
        UsageError: the folder holds no such model, or has fewer layers.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError:
        raise BackendError("encoding text needs the transformers package: pip install 'edge-msa[language]'") from None
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
        raise BackendError(f"{source} cannot be fetched ({first}): download it, and give its folder") from None
    if tokenizer.pad_token is None or getattr(model.config, "is_encoder_decoder", False):
        raise UsageError(f"{source} is no encoder like BERT: give one whose tokenizer pads, such as all-MiniLM-L6-v2")
    if layers is not None:
        _keep_layers(model, layers, source)
    return LanguageEncoder(source, tokenizer, model.eval().to(device or torch.device("cpu")))


def _keep_layers(model: Any, layers: int, source: str) -> None:
    stack = getattr(getattr(model, "encoder", None), "layer", None)
    if stack is None:
        raise UsageError(f"{source} is not built like BERT (encoder.layer): encode with all of its layers")
    if not 1 <= layers <= len(stack):
        raise UsageError(f"--layers is {layers}; {source} has 1 to {len(stack)}")
    model.encoder.layer = stack[:layers]
    model.config.num_hidden_layers = layers
