"""ALMT's Transformer layers (arXiv 2310.05804), under the names that the authors' tensors have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 128
"""Of everything after the embedding; also of the MLPs."""
HEADS = 8
HEAD_WIDTH = 64
"""Of these layers, so that their attention is 512 wide inside."""


class Stack(nn.Module):
    """Transformer layers, each an attention and an MLP, under the authors' names."""

    def __init__(self, depth: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([Attending(dropout), Thinking(dropout)]) for _ in range(depth))

    def pairs(self) -> list[tuple[Attending, Thinking]]:
        """(attention, MLP) of every layer; both add what goes into them."""
        return [
            cast("tuple[Attending, Thinking]", tuple(layer)) for layer in cast("Iterable[nn.ModuleList]", self.layers)
        ]


class Attending(nn.Module):
    """Pre-norm attention with a residual; the norms of queries, keys and values are separate."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.fn = Attention(dropout)

    def forward(self, asking: Tensor, attended: Tensor) -> Tensor:
        """`asking` (B, Q, 128) hears `attended` (B, T, 128)."""
        answer: Tensor = self.fn(self.norm_q(asking), self.norm_k(attended), self.norm_v(attended))
        return asking + answer

    def ask_alike(self, asking: Tensor, attended: Tensor) -> Tensor:
        """The same where every sample asks the same, `asking` (1, Q, 128), and few ask many."""
        answer: Tensor = self.fn.ask_alike(self.norm_q(asking), self.norm_k(attended), self.norm_v(attended))
        return asking + answer


class Attention(nn.Module):
    """8 heads of 64; no bias on the way in, one on the way out."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        inner = HEADS * HEAD_WIDTH
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, inner, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(inner, WIDTH), nn.Dropout(dropout))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B, Q, 128) and twice (B, T, 128) -> (B, Q, 128)."""
        parts = (split_heads(self.to_q(query)), split_heads(self.to_k(key)), split_heads(self.to_v(value)))
        joined: Tensor = self.to_out(join_heads(F.scaled_dot_product_attention(*parts)))
        return joined

    def ask_alike(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(1, Q, 128) and twice (B, T, 128) -> (B, Q, 128): W_k and W_v act on the Q queries, not on the T frames."""
        into_heads = (HEADS, HEAD_WIDTH, WIDTH)
        asked = torch.matmul(split_heads(self.to_q(query))[0], self.to_k.weight.view(into_heads)).flatten(0, 1)
        scale = HEAD_WIDTH**-0.5
        attended = F.scaled_dot_product_attention(
            asked.expand(len(key), 1, -1, -1), key[:, None], value[:, None], scale=scale
        )
        by_head = attended.reshape(len(key), HEADS, -1, WIDTH)
        told = torch.matmul(by_head, self.to_v.weight.view(into_heads).transpose(1, 2))
        joined: Tensor = self.to_out(join_heads(told))
        return joined


class Thinking(nn.Module):
    """Pre-norm MLP with a residual."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.fn = Mlp(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, Q, 128) -> the same shape."""
        added: Tensor = self.fn(self.norm(hidden))
        return hidden + added


class Mlp(nn.Module):
    """GELU between two linear layers."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(dropout), nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, Q, 128) -> the same shape."""
        result: Tensor = self.net(hidden)
        return result


def split_heads(values: Tensor) -> Tensor:
    """(B, T, inner) -> (B, heads, T, inner / heads)."""
    return values.view(*values.shape[:2], HEADS, -1).transpose(1, 2)


def join_heads(heads: Tensor) -> Tensor:
    """What `split_heads` split."""
    return heads.transpose(1, 2).flatten(2)
