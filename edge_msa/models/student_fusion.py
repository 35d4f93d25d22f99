"""The student's fusion, which maps the tokens of the available modalities to the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from edge_msa_runtime.modalities import MODALITIES


class StudentFusion(nn.Module):
    """Maps the tokens of the available modalities to the prediction, (B, outputs).

    Language guides the attention to audio and vision, as in ALMT: the query comes from the language tokens, keys and
    values from those of audio and vision. Without language, a learned default query is used. The contributions of the
    available modalities are added.

    Args:
        widths: Width of the tokens of each modality; they may differ.
        tokens: Number of tokens per modality, M.
        width: Width of query and keys.
        hidden: Width of the representation.
        outputs: Number of values in a prediction.
        dropout: Dropout rate of tokens.
    """

    def __init__(
        self, widths: Mapping[str, int], tokens: int, width: int, hidden: int, outputs: int, dropout: float
    ) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.contributions = nn.ModuleDict({name: nn.Linear(tokens * size, hidden) for name, size in widths.items()})
        guided = {name: size for name, size in widths.items() if name != "language"}
        self.query = nn.Linear(tokens * widths["language"], width) if "language" in widths else None
        self.default_query = nn.Parameter(torch.randn(1, width) * self.scale)
        self.keys = nn.ModuleDict({name: nn.Linear(size, width, bias=False) for name, size in guided.items()})
        self.values = nn.ModuleDict({name: nn.Linear(size, hidden, bias=False) for name, size in guided.items()})
        self.mix = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Mapping[str, Tensor], available: Tensor | None = None) -> Tensor:
        """Return the predictions, (B, outputs).

        Args:
            tokens: (B, M, C) by modality. An omitted modality is absent in the whole batch.
            available: (B, 3) float 0/1, in the order language, audio, vision. None if every sample has all modalities
                in `tokens`.
        """
        prediction: Tensor = self.output(self.represent(tokens, available))
        return prediction

    def represent(self, tokens: Mapping[str, Tensor], available: Tensor | None = None) -> Tensor:
        """Return the fused representation, (B, hidden), from which the last layer makes the prediction."""
        query = self._query(tokens, available)
        total: Tensor | None = None
        for name in self.contributions:
            if name not in tokens:
                continue
            inputs = self.dropout(tokens[name])
            part = self.contributions[name](inputs.flatten(1))
            if name in self.keys:
                weight = cast("nn.Linear", self.values[name]).weight
                part = torch.addmm(part, self._attend(name, inputs, query), weight.t())
            if available is not None:
                part = part * _availability(available, name)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("A prediction needs the tokens of at least one modality.")
        hidden = torch.relu(total)
        return hidden + torch.relu(self.mix(hidden))

    def _query(self, tokens: Mapping[str, Tensor], available: Tensor | None) -> Tensor:
        if self.query is None or "language" not in tokens:
            return self.default_query
        query: Tensor = self.query(tokens["language"].flatten(1))
        if available is None:
            return query
        has_language = _availability(available, "language")
        return query * has_language + self.default_query * (1 - has_language)

    def _attend(self, name: str, tokens: Tensor, query: Tensor) -> Tensor:
        """Return the mean of the tokens, weighted by how well their keys match the query, (B, C).

        Mapping the query to the width of the tokens is equivalent to mapping each token to a key, and cheaper.
        """
        weight = cast("nn.Linear", self.keys[name]).weight
        direction = torch.matmul(query, weight * self.scale)
        weights = torch.softmax(torch.matmul(tokens, direction[:, :, None]), dim=1)
        return torch.matmul(weights.transpose(1, 2), tokens).flatten(1)


def _availability(available: Tensor, name: str) -> Tensor:
    """Return one modality's column of `available`, (B, 1)."""
    column = MODALITIES.index(name)
    return available[:, column : column + 1]
