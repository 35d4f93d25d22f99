"""Losses of HRLF and of distillation, each a function of tensors.

Sources: HRLF (arXiv 2411.02793); the mutual information estimator is Deep InfoMax's Jensen-Shannon one (Hjelm et al.
2019, eq. 4); gradient reversal is Ganin and Lempitsky 2015.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.data.tasks import Task

SCORE_LOSSES = ("l1", "smooth_l1", "mse")
"""What a recipe may choose for scores."""


def task_loss(predictions: Tensor, labels: Tensor, task: Task, score_loss: str = "l1") -> Tensor:
    """Distance of predictions from labels: the mean of `sample_losses`, whose arguments it has."""
    return sample_losses(predictions, labels, task, score_loss).mean()


def sample_losses(predictions: Tensor, labels: Tensor, task: Task, score_loss: str = "l1") -> Tensor:
    """Distance of each sample's prediction from its label, (B,).

    Args:
        predictions: (B, outputs), scores or logits of emotions.
        labels: (B, outputs), scores or 0/1.
        task: whether they are scores or emotions.
        score_loss: `l1`, whose optimum is the posterior's median and so the least MAE; `smooth_l1`; or `mse`, whose
            optimum is the posterior's mean. Emotions always take binary cross-entropy.
    """
    if not task.is_score:
        each = F.binary_cross_entropy_with_logits(predictions, labels, reduction="none")
    elif score_loss == "mse":
        each = F.mse_loss(predictions, labels, reduction="none")
    else:
        each = (F.l1_loss if score_loss == "l1" else F.smooth_l1_loss)(predictions, labels, reduction="none")
    return each.mean(dim=1)


def answer_divergence(student: Tensor, teacher: Tensor, task: Task) -> Tensor:
    """KL(teacher || student) of their answers, L_KL.

    The paper's KL over logits says nothing for a scalar. A score is read as the mean of a Gaussian of variance 1, for
    which KL is half the squared difference (another variance is another weight). An emotion's logit is a Bernoulli's,
    at temperature 1.

    Args:
        student: (B, outputs).
        teacher: (B, outputs), no gradient.
        task: scores or emotions.
    """
    if task.is_score:
        return 0.5 * F.mse_loss(student, teacher)
    p = torch.sigmoid(teacher)
    on = p * (F.logsigmoid(teacher) - F.logsigmoid(student))
    off = (1 - p) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (on + off).mean()


def jensen_shannon_information(joint: Tensor, marginal: Tensor) -> Tensor:
    """A lower bound of mutual information, E_joint[-sp(-T)] - E_marginals[sp(T)], from a statistics network's scores.

    Args:
        joint: T(x, y) of pairs that belong together, any shape.
        marginal: T(x, y') of pairs that do not.

    Returns:
        A scalar of at most 0; -2 log 2 where T tells nothing apart.
    """
    return -F.softplus(-joint).mean() - F.softplus(marginal).mean()


def adversarial_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """-(log(1 - D(student)) + log D(teacher)) from a discriminator's logits: what the discriminator minimizes.

    Together with `reverse_gradient` on the student's features this is the paper's minimax L_HAL in one backward pass.
    """
    return F.softplus(student).mean() + F.softplus(-teacher).mean()


def relation_loss(values: Tensor, targets: Tensor) -> Tensor:
    """How much the distances among a batch's samples differ, each network's in units of their mean (Park et al. 2019).

    Args:
        values: (B, width), B at least 2.
        targets: (B, another width), no gradient.
    """
    own, theirs = (torch.pdist(part) for part in (values, targets))
    return F.smooth_l1_loss(own / own.mean().clamp(min=1e-6), theirs / theirs.mean().clamp(min=1e-6))


def scorer(width: int, hidden: int) -> nn.Sequential:
    """A statistics network or a discriminator: features (B, width) -> a score (B, 1)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def distance(values: Tensor, targets: Tensor) -> Tensor:
    """Euclidean distances ||values - targets||_2 over the last axis; smooth where they meet."""
    return ((values - targets).square().sum(dim=-1) + 1e-8).sqrt()


def reverse_gradient(values: Tensor) -> Tensor:
    """The same values; going back, the gradient's sign is turned round."""
    turned: Tensor = _ReverseGradient.apply(values)  # type: ignore[no-untyped-call]
    return turned


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return -gradients[0]
