"""Terms of the distillation loss that align the student's representation with the teacher's."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.training.adversary import Adversary
from edge_msa.training.losses import (
    discriminator,
    jensen_shannon_information,
    relation_loss,
)

_HIDDEN = 64
_PENALTY = 1.0
"""Weight of the R1 penalty of the discriminator, as in HRLF's recipe."""


class RepresentationAlignment(nn.Module):
    """The enabled alignment terms and their auxiliary networks, which are not part of the student.

    The discriminator of `hal` is not a submodule. Its steps follow those of the student.

    Args:
        width: Width of the student's representation.
        teacher_width: Width of the teacher's representation.
        terms: Enabled terms, out of `hint`, `hmi`, `hal` and `relations`.
        device: Device of the representations.
    """

    def __init__(self, width: int, teacher_width: int, terms: Collection[str], device: torch.device) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.projection = nn.Linear(width, teacher_width) if {"hint", "hal"} & set(terms) else None
        self.statistics_network = discriminator(width + teacher_width, _HIDDEN) if "hmi" in terms else None
        self.adversary = Adversary((teacher_width,), _HIDDEN, device, penalty=_PENALTY) if "hal" in terms else None
        self.to(device)

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Return each term, without its weight.

        Args:
            student: Representations of the student, (B, width) with B at least 2.
            teacher: Representations of the teacher for the same samples, (B, teacher_width), without a gradient.
        """
        terms: dict[str, Tensor] = {}
        if self.projection is not None:
            projected = self.projection(student)
            if "hint" in self.terms:
                terms["hint"] = F.mse_loss(projected, teacher)
            if self.adversary is not None:
                terms["hal"] = self.adversary.student_loss((teacher,), (projected,))
        if self.statistics_network is not None:
            joint = self.statistics_network(torch.cat([teacher, student], dim=1))
            # As in HRLF, pairs that do not match come from rolling the batch by one sample.
            marginal = self.statistics_network(torch.cat([teacher.roll(1, dims=0), student], dim=1))
            terms["hmi"] = -jensen_shannon_information(joint, marginal)
        if "relations" in self.terms:
            terms["relations"] = relation_loss(student, teacher)
        missing = set(self.terms) - set(terms)
        if missing:
            raise NotImplementedError(f"No loss is implemented for the terms {sorted(missing)}.")
        return terms
