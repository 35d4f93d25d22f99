"""Text encoders: from token ids to frames of the language modality, which the student's encoder then reads as any frames.

A `table` is one row a token, looked up: causal, next to no cost. An `encoder` is a BERT-like model whose last hidden
states are the frames: every token sees the others.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from edge_msa.models.student import Student

# Added to the scores of padding: far below any score, and still a finite float16.
_UNATTENDED = 1e4

TextEncoderKind = Literal["table", "encoder"]


class EmbeddingTableEncoder(nn.Module):
    """Rows of an embedding table, (V, dim)."""

    kind: TextEncoderKind = "table"

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(size, dim)

    @property
    def dim(self) -> int:
        """Features a token."""
        return self.table.embedding_dim

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Frames (B, T, dim) of ids (B, T) int64, zero where `valid` (B, T) bool is False."""
        rows: Tensor = self.table(ids)
        return rows * valid[..., None]


class TransformerTextEncoder(nn.Module):
    """The last hidden states of a BERT-like model of transformers."""

    kind: TextEncoderKind = "encoder"

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self._typed = hasattr(getattr(encoder, "embeddings", None), "token_type_embeddings")

    @property
    def dim(self) -> int:
        """Features a token."""
        return int(self.encoder.config.hidden_size)

    @property
    def layers(self) -> int:
        """Transformer layers."""
        return len(self.encoder.encoder.layer)

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Frames (B, T, dim) of ids (B, T) int64, zero where `valid` (B, T), bool or float 0/1, is not set."""
        # The mask as it is added to scores, and one kind of text: left to itself, transformers makes both by operators
        # that few backends have.
        unattended = (valid[:, None, None, :].to(torch.float32) - 1) * _UNATTENDED
        given = {"input_ids": ids, "attention_mask": unattended}
        if self._typed:
            given["token_type_ids"] = torch.zeros_like(ids)
        states: Tensor = self.encoder(**given).last_hidden_state
        return states * valid[..., None]

    def exportable(self) -> TransformerTextEncoder:
        """The same with attention written out, in operators that backends have."""
        self.encoder.set_attn_implementation("eager")
        return self

    def keep_layers(self, count: int) -> None:
        """Drop all but the first `count` layers."""
        self.encoder.encoder.layer = self.encoder.encoder.layer[:count]
        self.encoder.config.num_hidden_layers = count


TextEncoder = EmbeddingTableEncoder | TransformerTextEncoder


class TextModel(nn.Module):
    """A text encoder and a student that reads its frames: from words to a prediction."""

    def __init__(self, text_encoder: TextEncoder, student: Student) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.student = student

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Predictions (B, outputs) of ids (B, T) int64; `valid` (B, T) bool, without holes."""
        frames = self.text_encoder(ids, valid)
        prediction: Tensor = self.student({"language": frames}, {"language": valid})
        return prediction
