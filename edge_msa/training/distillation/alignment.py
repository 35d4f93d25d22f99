"""Terms of distillation that draw the student's representation to the teacher's."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.training.losses import (
    adversarial_loss,
    jensen_shannon_information,
    relation_loss,
    reverse_gradient,
    scorer,
)

_HIDDEN = 64


class Alignment(nn.Module):
    """The terms that are switched on, and the networks that only they need; none of it is part of the student.

    Args:
        own: width of the student's representation.
        theirs: width of the teacher's.
        terms: of `hint`, `hmi`, `hal`, `relations`.
    """

    def __init__(self, own: int, theirs: int, terms: Collection[str]) -> None:
        super().__init__()
        self.terms = tuple(terms)
        self.map = nn.Linear(own, theirs) if {"hint", "hal"} & set(terms) else None
        self.statistics = scorer(own + theirs, _HIDDEN) if "hmi" in terms else None
        self.discriminator = scorer(theirs, _HIDDEN) if "hal" in terms else None

    def forward(self, own: Tensor, theirs: Tensor) -> dict[str, Tensor]:
        """Each term, not weighted yet.

        Args:
            own: (B, width) of the student, B at least 2.
            theirs: (B, width) of the teacher for the same samples, no gradient.
        """
        found: dict[str, Tensor] = {}
        if self.map is not None:
            mapped = self.map(own)
            if "hint" in self.terms:
                found["hint"] = F.mse_loss(mapped, theirs)
            if self.discriminator is not None:
                judged = self.discriminator(reverse_gradient(mapped))
                found["hal"] = adversarial_loss(judged, self.discriminator(theirs))
        if self.statistics is not None:
            joint = self.statistics(torch.cat([theirs, own], dim=1))
            # As in HRLF: pairs that do not belong together come from rolling the batch by one sample.
            marginal = self.statistics(torch.cat([theirs.roll(1, dims=0), own], dim=1))
            found["hmi"] = -jensen_shannon_information(joint, marginal)
        if "relations" in self.terms:
            found["relations"] = relation_loss(own, theirs)
        return found
