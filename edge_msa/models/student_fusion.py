"""The student's fusion: tokens of whichever modalities there are -> the prediction."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edge_msa_runtime.modalities import MODALITIES


class Fusion(nn.Module):
    """Tokens of the available modalities -> the prediction, (B, outputs).

    Language guides what is taken from audio and vision, as in ALMT: its tokens ask, theirs answer. Without language a
    learned question takes its place. Each modality's contribution is added only where it is available.

    Args:
        widths: of the tokens of each modality; they may differ.
        tokens: of each modality, M.
        width: of question and keys.
        hidden: of the representation.
        outputs: numbers in a prediction.
        dropout: on tokens, in training alone.
    """

    def __init__(
        self, widths: Mapping[str, int], tokens: int, width: int, hidden: int, outputs: int, dropout: float
    ) -> None:
        super().__init__()
        self.scale = width**-0.5
        self.contribute = nn.ModuleDict({name: nn.Linear(tokens * own, hidden) for name, own in widths.items()})
        guided = {name: own for name, own in widths.items() if name != "language"}
        self.ask = nn.Linear(tokens * widths["language"], width) if "language" in widths else None
        self.default_question = nn.Parameter(torch.randn(1, width) * self.scale)
        self.keys = nn.ModuleDict({name: nn.Linear(own, width, bias=False) for name, own in guided.items()})
        self.answers = nn.ModuleDict({name: nn.Linear(own, hidden, bias=False) for name, own in guided.items()})
        self.mix = nn.Linear(hidden, hidden)
        self.read = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Read.

        Args:
            tokens: (B, M, C) by modality; a modality that is left out is absent for the whole batch.
            available: (B, 3) float 0/1, in the order language, audio, vision.
        """
        prediction: Tensor = self.read(self.represent(tokens, available))
        return prediction

    def represent(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """The fused representation the prediction is made from, (B, hidden)."""
        question = self._question(tokens, available)
        total: Tensor | None = None
        for name in self.contribute:
            if name not in tokens:
                continue
            own = self.dropout(tokens[name])
            part = self.contribute[name](own.flatten(1))
            if name in self.keys:
                part = part + self.answers[name](self._attend(name, own, question))
            part = part * _column(available, name)
            total = part if total is None else total + part
        if total is None:
            raise ValueError("a prediction needs the tokens of at least one modality")
        hidden = torch.relu(total)
        return hidden + torch.relu(self.mix(hidden))

    def _question(self, tokens: Mapping[str, Tensor], available: Tensor) -> Tensor:
        if self.ask is None or "language" not in tokens:
            return self.default_question
        there = _column(available, "language")
        asked: Tensor = self.ask(tokens["language"].flatten(1))
        return asked * there + self.default_question * (1 - there)

    def _attend(self, name: str, tokens: Tensor, question: Tensor) -> Tensor:
        match = (self.keys[name](tokens) * question[:, None, :]).sum(dim=2, keepdim=True)
        return (torch.softmax(match * self.scale, dim=1) * tokens).sum(dim=1)


def _column(available: Tensor, name: str) -> Tensor:
    position = MODALITIES.index(name)
    return available[:, position : position + 1]
