"""Text encoders: from token ids to frames of the language modality, the input of the student's language encoder.

A `table` looks up one row per token, which is causal and almost free. An `encoder` is a BERT-like model whose last
hidden states are the frames, so every token depends on all others.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa.errors import UsageError
from edge_msa.models.encoder_layers import Layers, keep_layers, layer_stack
from edge_msa.models.encoder_widths import EncoderWidths
from edge_msa.models.student import Student

# Subtracted from the scores of padding: far below any score, and still finite in float16.
_UNATTENDED = 1e4

TextEncoderKind = Literal["table", "encoder"]


def first_position(model: Any) -> int:
    """Return the position of the first token: 0 in BERT; RoBERTa and its relatives count from that after padding."""
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def max_tokens(model: Any) -> int:
    """Return the maximum number of tokens of a text that a model of the transformers package can encode."""
    return int(getattr(model.config, "max_position_embeddings", 512)) - first_position(model)


def _selected_rows(embedding: nn.Embedding, ids: NDArray[np.int64]) -> nn.Embedding:
    rows = embedding.weight.detach()[torch.from_numpy(ids).to(embedding.weight.device)]
    return nn.Embedding(len(rows), embedding.embedding_dim, _weight=rows, device=rows.device)


class EmbeddingTableEncoder(nn.Module):
    """A lookup in an embedding table, (V, dim)."""

    kind: TextEncoderKind = "table"

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(size, dim)

    @property
    def dim(self) -> int:
        """Number of features per token."""
        return self.table.embedding_dim

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Return the frames (B, T, dim) of ids (B, T) int64, zero where `valid` (B, T) bool is False."""
        rows: Tensor = self.table(ids)
        return rows * valid[..., None]

    def keep_tokens(self, ids: NDArray[np.int64]) -> None:
        """Remove the rows of all tokens but those with these ids, which are numbered in their order from then on."""
        self.table = _selected_rows(self.table, ids)


class TransformerTextEncoder(nn.Module):
    """The last hidden states of a BERT-like model of the transformers package."""

    kind: TextEncoderKind = "encoder"

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self._has_token_types = hasattr(getattr(encoder, "embeddings", None), "token_type_embeddings")
        self._first_position = first_position(encoder)

    @property
    def dim(self) -> int:
        """Number of features per token."""
        return int(self.encoder.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text."""
        return max_tokens(self.encoder)

    @property
    def first_position(self) -> int:
        """Position of the first token."""
        return self._first_position

    @property
    def layers(self) -> int:
        """Number of Transformer layers.

        Raises:
            UsageError: The model has no list of layers as BERT has.
        """
        stack = layer_stack(self.encoder)
        if stack is None:
            raise UsageError(
                "The layers of this encoder cannot be chosen, because the model has no encoder.layer. "
                "Omit --layers, reset_layers and layer_decay, or pass an encoder like BERT."
            )
        return len(stack)

    @property
    def widths(self) -> EncoderWidths | None:
        """Widths of the layers; None if they are not built like BERT's."""
        return EncoderWidths.of(self.encoder)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Return the frames (B, T, dim) of ids (B, T) int64, zero where `valid` (B, T), bool or float 0/1, is 0."""
        # The additive mask and the token types are computed here, because transformers would compute both with
        # operators that few backends support.
        mask = (valid[:, None, None, :].to(torch.float32) - 1) * _UNATTENDED
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._has_token_types:
            inputs["token_type_ids"] = torch.zeros_like(ids)
        if self._first_position:
            # transformers would count the tokens that are no padding, whose id is not 0 as it is here.
            positions = torch.arange(ids.shape[1], device=ids.device) + self._first_position
            inputs["position_ids"] = positions[None]
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return states * valid[..., None]

    def exportable(self) -> TransformerTextEncoder:
        """Switch to the attention implementation whose operators backends support, and return the encoder."""
        self.encoder.set_attn_implementation("eager")
        return self

    def rate_factors(self, decay: float) -> dict[str, float]:
        """Return factors on the learning rate by prefix of the weights' names.

        The factor of the last layer is 1. Each layer has the factor of the layer above it times `decay`, and the
        embeddings come below the first layer.
        """
        layers = {f"encoder.encoder.layer.{index}.": decay ** (self.layers - 1 - index) for index in range(self.layers)}
        return layers | {"encoder.embeddings.": decay**self.layers}

    def set_dropout(self, rate: float) -> int:
        """Set the rate of all dropout layers, and return their number."""
        found = [module for module in self.encoder.modules() if isinstance(module, nn.Dropout)]
        for module in found:
            module.p = rate
        return len(found)

    def reset_layers(self, count: int, seed: int) -> None:
        """Give the last `count` layers new random weights, those of a new model with the same config.

        Raises:
            UsageError: The encoder has fewer layers.
        """
        if not count:
            return
        if count > self.layers:
            raise UsageError(f"text.reset_layers must be from 0 to {self.layers} for this encoder, got {count}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            new = type(self.encoder)(self.encoder.config)
            if self.widths is not None:
                self.widths.apply(new)
        for layer, fresh in zip(self.encoder.encoder.layer[-count:], new.encoder.layer[-count:], strict=True):
            layer.load_state_dict(fresh.state_dict())

    def keep_tokens(self, ids: NDArray[np.int64]) -> None:
        """Remove the embeddings of all tokens but those with these ids, which are numbered in their order from then on.

        The ids up to that of padding must stay if it determines the positions.
        """
        self.encoder.set_input_embeddings(_selected_rows(self.encoder.get_input_embeddings(), ids))
        config = self.encoder.config
        config.vocab_size = len(ids)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            new = np.flatnonzero(ids == getattr(config, name, None))
            setattr(config, name, int(new[0]) if len(new) else None)

    def keep_layers(self, layers: Layers, source: str) -> None:
        """Remove all other layers; see `keep_layers` of `edge_msa.models.encoder_layers`."""
        keep_layers(self.encoder, layers, source)


TextEncoder = EmbeddingTableEncoder | TransformerTextEncoder


class TextModel(nn.Module):
    """A text encoder and a student on top of it: maps token ids to predictions."""

    def __init__(self, text_encoder: TextEncoder, student: Student) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.student = student

    def forward(self, ids: Tensor, valid: Tensor, own: Tensor | None = None) -> Tensor:
        """Return the predictions (B, outputs) of ids (B, T) int64, with `valid` (B, T) bool without gaps.

        `own` (B, T) bool are the tokens of the current utterances, which become frames (default: all that are valid).
        The encoder also reads the others.
        """
        frames = self.text_encoder(ids, valid)
        prediction: Tensor = self.student({"language": frames}, {"language": valid if own is None else own})
        return prediction
