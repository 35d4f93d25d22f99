"""The student's fusion, which maps the tokens of the available modalities to the prediction."""

from __future__ import annotations

from collections.abc import Mapping

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

    def forward(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Return the predictions, (B, outputs).

        Args:
            tokens: (B, M, C) by modality. An omitted modality is absent in the whole batch.
            available: (B, 3) float 0/1, in the order language, audio, vision.
        """
        prediction: Tensor = self.output(self.represent(tokens, available))
        return prediction

    def represent(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Return the fused representation, (B, hidden), from which the last layer makes the prediction."""
        query = self._query(tokens, available)
        total: Tensor | None = None
        for name in self.contributions:
            if name not in tokens:
                continue
            inputs = self.dropout(tokens[name])
            part = self.contributions[name](inputs.flatten(1))
            if name in self.keys:
                part = part + self.values[name](self._attend(name, inputs, query))
            part = part * _availability(available, name)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("A prediction needs the tokens of at least one modality.")
        hidden = torch.relu(total)
        return hidden + torch.relu(self.mix(hidden))

    def _query(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        if self.query is None or "language" not in tokens:
            return self.default_query
        has_language = _availability(available, "language")
        query: Tensor = self.query(tokens["language"].flatten(1))
        return query * has_language + self.default_query * (1 - has_language)

    def _attend(self, name: str, tokens: Tensor, query: Tensor) -> Tensor:
        scores = (self.keys[name](tokens) * query[:, None, :]).sum(dim=2, keepdim=True)
        return (torch.softmax(scores * self.scale, dim=1) * tokens).sum(dim=1)


def _availability(available: Tensor, name: str) -> Tensor:
    """Return one modality's column of `available`, (B, 1)."""
    column = MODALITIES.index(name)
    return available[:, column : column + 1]
