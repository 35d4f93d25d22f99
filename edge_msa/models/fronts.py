"""Fronts: from token ids to frames of the language modality, which the student's encoder then reads as any frames.

A `table` is one row a token, looked up: causal, next to no cost. An `encoder` is a BERT-like model whose last hidden
states are the frames: every token sees the others.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from edge_msa.models.student import Student

# Added to the scores of padding: far below any score, and still a finite float16.
_UNHEARD = 1e4

FrontKind = Literal["table", "encoder"]


class TableFront(nn.Module):
    """Rows of an embedding table, (V, dim)."""

    kind: FrontKind = "table"

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


class EncoderFront(nn.Module):
    """The last hidden states of a BERT-like model of transformers."""

    kind: FrontKind = "encoder"

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
        # that few engines have.
        unheard = (valid[:, None, None, :].to(torch.float32) - 1) * _UNHEARD
        given = {"input_ids": ids, "attention_mask": unheard}
        if self._typed:
            given["token_type_ids"] = torch.zeros_like(ids)
        states: Tensor = self.encoder(**given).last_hidden_state
        return states * valid[..., None]

    def exportable(self) -> EncoderFront:
        """The same with attention written out, in operators that engines have."""
        self.encoder.set_attn_implementation("eager")
        return self

    def keep_layers(self, count: int) -> None:
        """Drop all but the first `count` layers."""
        self.encoder.encoder.layer = self.encoder.encoder.layer[:count]
        self.encoder.config.num_hidden_layers = count


Front = TableFront | EncoderFront


class LanguageReader(nn.Module):
    """A front and a student that reads its frames: from words to a reading."""

    def __init__(self, front: Front, student: Student) -> None:
        super().__init__()
        self.front = front
        self.student = student

    def forward(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Readings (B, outputs) of ids (B, T) int64; `valid` (B, T) bool, without holes."""
        frames = self.front(ids, valid)
        reading: Tensor = self.student({"language": frames}, {"language": valid})
        return reading
