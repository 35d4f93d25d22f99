"""ALMT's Transformer layers (arXiv 2310.05804). Parameters have the names of the authors' tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 128
"""Width of all hidden vectors after the input projection, and of the MLPs."""
HEADS = 8
HEAD_WIDTH = 64
"""Width of one attention head. All heads together are 512 wide."""


class TransformerStack(nn.Module):
    """A sequence of Transformer layers, each an attention block and an MLP block."""

    def __init__(self, depth: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList([AttentionBlock(dropout), MlpBlock(dropout)]) for _ in range(depth))

    def blocks(self) -> list[tuple[AttentionBlock, MlpBlock]]:
        """Return (attention, MLP) of every layer. Both include their residual connection."""
        return [
            cast("tuple[AttentionBlock, MlpBlock]", tuple(layer))
            for layer in cast("Iterable[nn.ModuleList]", self.layers)
        ]


class AttentionBlock(nn.Module):
    """Pre-norm attention with a residual connection; queries, keys and values have separate norms."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.fn = MultiHeadAttention(dropout)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Attend from `queries` (B, Q, 128) to `context` (B, T, 128); return (B, Q, 128)."""
        attended: Tensor = self.fn(self.norm_q(queries), self.norm_k(context), self.norm_v(context))
        return queries + attended

    def forward_shared_queries(self, queries: Tensor, context: Tensor) -> Tensor:
        """Return the same as `forward` for `queries` (1, Q, 128) that all samples share, faster if Q is below T."""
        attended = self.fn.forward_shared_queries(self.norm_q(queries), self.norm_k(context), self.norm_v(context))
        return queries + attended


class MultiHeadAttention(nn.Module):
    """Attention with 8 heads of width 64. Only the output projection has a bias."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        inner = HEADS * HEAD_WIDTH
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, inner, bias=False) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(inner, WIDTH), nn.Dropout(dropout))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Map (B, Q, 128) and twice (B, T, 128) to (B, Q, 128)."""
        heads = (split_heads(self.to_q(query)), split_heads(self.to_k(key)), split_heads(self.to_v(value)))
        output: Tensor = self.to_out(join_heads(F.scaled_dot_product_attention(*heads)))
        return output

    def forward_shared_queries(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Map (1, Q, 128) and twice (B, T, 128) to (B, Q, 128).

        W_k and W_v are applied to the Q queries instead of the T frames: q . (W_k x) = (W_k^T q) . x, and the output of
        a head is W_v times the weighted mean of x.
        """
        per_head = (HEADS, HEAD_WIDTH, WIDTH)
        mapped = torch.matmul(split_heads(self.to_q(query))[0], self.to_k.weight.view(per_head)).flatten(0, 1)
        means = F.scaled_dot_product_attention(
            mapped.expand(len(key), 1, -1, -1), key[:, None], value[:, None], scale=HEAD_WIDTH**-0.5
        )
        by_head = means.reshape(len(key), HEADS, -1, WIDTH)
        heads = torch.matmul(by_head, self.to_v.weight.view(per_head).transpose(1, 2))
        output: Tensor = self.to_out(join_heads(heads))
        return output


class MlpBlock(nn.Module):
    """Pre-norm MLP with a residual connection."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.fn = Mlp(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, Q, 128) to the same shape."""
        change: Tensor = self.fn(self.norm(hidden))
        return hidden + change


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(dropout), nn.Linear(WIDTH, WIDTH), nn.Dropout(dropout)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, Q, 128) to the same shape."""
        output: Tensor = self.net(hidden)
        return output


def split_heads(values: Tensor) -> Tensor:
    """Reshape (B, T, inner) to (B, heads, T, inner / heads)."""
    return values.view(*values.shape[:2], HEADS, -1).transpose(1, 2)


def join_heads(heads: Tensor) -> Tensor:
    """Undo `split_heads`."""
    return heads.transpose(1, 2).flatten(2)
