"""Adversarial alignment of two networks' features, with discriminators that have an optimizer of their own.

Updates are simultaneous, not alternating: in each training step, the student learns against the discriminators before
the step, and they learn from its features before the step. Three choices keep this stable:

- The student minimizes -log D(student) instead of log(1 - D(student)), the non-saturating loss (Goodfellow et al.
  2014). The gradient of the latter vanishes for features that D recognizes and is largest where D is already wrong.
- The discriminators see every feature vector with mean 0 and variance 1. Otherwise the student can change D's output
  by scaling its features, and its predictions with them.
- The gradient of D at the teacher's features is penalized (R1, Mescheder et al. 2018). Without the penalty, the
  updates need not converge. The gradient is with respect to features of norm 1, so that a weight of the penalty means
  the same for every width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.training.losses import adversarial_loss, discriminator

_BETAS = (0.5, 0.999)
"""Adam's decay rates; the first one is lower than Adam's default, as usual for discriminators (Radford et al. 2016)."""


class Adversary:
    """One discriminator per feature vector, and their optimizer.

    It is not a module: the student's optimizer, its gradient norm and DistributedDataParallel do not contain the
    discriminators. With several processes, each process takes the same steps, because each has the features of the
    whole batch.

    Args:
        widths: Width of each feature vector.
        hidden: Hidden units of each discriminator.
        device: Device of the features.
        penalty: Weight of the R1 penalty, at least 0.
    """

    def __init__(self, widths: Sequence[int], hidden: int, device: torch.device, *, penalty: float) -> None:
        self.networks = nn.ModuleList(discriminator(width, hidden) for width in widths).to(device)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), betas=_BETAS)
        self.penalty = penalty
        self._pairs: tuple[tuple[Tensor, Tensor], ...] = ()

    def student_loss(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return -log D(student), summed over the feature vectors, and keep the features for the next `step`.

        Args:
            teacher: Features of the teacher, (B, width) each.
            student: Features of the student for the same samples.
        """
        self._pairs = tuple(
            (expected.detach().float(), features.detach().float())
            for expected, features in zip(teacher, student, strict=True)
        )
        scores = [network(_standardize(item)) for network, item in zip(self.networks, student, strict=True)]
        return torch.stack([F.softplus(-score).mean() for score in scores]).sum()

    def step(self, learning_rate: float) -> Tensor | None:
        """Train the discriminators on the features of the last `student_loss`.

        Returns:
            The loss of the discriminators before the step, without the penalty; None without new features.
        """
        if not self._pairs:
            return None
        losses, penalties = [], []
        for network, (teacher, student) in zip(self.networks, self._pairs, strict=True):
            expected = _standardize(teacher).requires_grad_()
            scores = network(expected)
            losses.append(adversarial_loss(network(_standardize(student)), scores))
            (slope,) = torch.autograd.grad(scores.sum(), expected, create_graph=True)
            penalties.append(slope.square().sum(dim=1).mean() * expected.shape[1])  # the norm is sqrt(width), not 1
        self._pairs = ()
        loss = torch.stack(losses).sum()
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        (loss + 0.5 * self.penalty * torch.stack(penalties).sum()).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the networks and the optimizer."""
        return {"networks": self.networks.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.networks.load_state_dict(state["networks"])
        self.optimizer.load_state_dict(state["optimizer"])


def _standardize(values: Tensor) -> Tensor:
    """Return each row with mean 0 and variance 1."""
    return F.layer_norm(values, values.shape[-1:])
