"""Text encoders: from token ids to frames of the language modality, the input of the student's language encoder.

A `table` looks up one row per token, which is causal and almost free. An `encoder` is a BERT-like model whose last
hidden states are the frames, so every token depends on all others.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from edge_msa.models.student import Student

# Subtracted from the scores of padding: far below any score, and still finite in float16.
_UNATTENDED = 1e4

TextEncoderKind = Literal["table", "encoder"]


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


class TransformerTextEncoder(nn.Module):
    """The last hidden states of a BERT-like model of the transformers package."""

    kind: TextEncoderKind = "encoder"

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self._has_token_types = hasattr(getattr(encoder, "embeddings", None), "token_type_embeddings")

    @property
    def dim(self) -> int:
        """Number of features per token."""
        return int(self.encoder.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a text."""
        return int(getattr(self.encoder.config, "max_position_embeddings", 512))

    @property
    def layers(self) -> int:
        """Number of Transformer layers."""
        return len(self.encoder.encoder.layer)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Return the frames (B, T, dim) of ids (B, T) int64, zero where `valid` (B, T), bool or float 0/1, is 0."""
        # The additive mask and the token types are computed here, because transformers would compute both with
        # operators that few backends support.
        mask = (valid[:, None, None, :].to(torch.float32) - 1) * _UNATTENDED
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._has_token_types:
            inputs["token_type_ids"] = torch.zeros_like(ids)
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return states * valid[..., None]

    def exportable(self) -> TransformerTextEncoder:
        """Switch to the attention implementation whose operators backends support, and return the encoder."""
        self.encoder.set_attn_implementation("eager")
        return self

    def keep_layers(self, count: int) -> None:
        """Remove all but the first `count` layers."""
        self.encoder.encoder.layer = self.encoder.encoder.layer[:count]
        self.encoder.config.num_hidden_layers = count


TextEncoder = EmbeddingTableEncoder | TransformerTextEncoder


class TextModel(nn.Module):
    """A text encoder and a student on top of it: maps token ids to predictions."""

    def __init__(self, text_encoder: TextEncoder, student: Student) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.student = student

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Return the predictions (B, outputs) of ids (B, T) int64, with `valid` (B, T) bool without gaps."""
        frames = self.text_encoder(ids, valid)
        prediction: Tensor = self.student({"language": frames}, {"language": valid})
        return prediction
