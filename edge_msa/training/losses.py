"""Losses of HRLF and of distillation, as functions of tensors.

Sources: HRLF (arXiv 2411.02793). The estimator of mutual information is the Jensen-Shannon one of Deep InfoMax (Hjelm
et al. 2019, eq. 4). Gradient reversal is from Ganin and Lempitsky 2015.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.config.training import ClassWeights, ScoreLoss
from edge_msa.data.tasks import Task


def class_weights(labels: Tensor, task: Task, kind: ClassWeights) -> Tensor | None:
    """Return the weight of each class, (K,), whose mean over the training samples is 1; None if all are equal.

    Args:
        labels: Labels of the training samples, (N, 1); NaN without one.
        task: The task.
        kind: The recipe's choice. Tasks without classes have no weights.
    """
    known = labels[torch.isfinite(labels).all(dim=1)]
    if task.kind != "classes" or kind == "equal" or not len(known):
        return None
    counts = torch.bincount(known[:, 0].long(), minlength=task.outputs)
    present = int((counts > 0).sum())
    return len(known) / (present * counts.clamp(min=1))


def task_loss(
    predictions: Tensor,
    labels: Tensor,
    task: Task,
    score_loss: ScoreLoss = "l1",
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean of `sample_losses`, which has the same arguments."""
    return sample_losses(predictions, labels, task, score_loss, weights).mean()


def sample_losses(
    predictions: Tensor,
    labels: Tensor,
    task: Task,
    score_loss: ScoreLoss = "l1",
    weights: Tensor | None = None,
) -> Tensor:
    """Return the loss of each sample, (B,).

    Args:
        predictions: Scores, or logits of emotions or classes, (B, outputs).
        labels: Scores (B, 1), emotions as 0/1 (B, E), or indices of classes (B, 1).
        task: What they are.
        score_loss: Loss for scores: `l1`, whose optimum is the posterior median, which minimizes the MAE; `smooth_l1`;
            or `mse`, whose optimum is the posterior mean. Emotions use binary cross-entropy, classes cross-entropy.
        weights: Weight of each class, (K,), as returned by `class_weights`.
    """
    if task.kind == "classes":
        return F.cross_entropy(predictions, labels[:, 0].long(), weights, reduction="none")
    if not task.is_score:
        each = F.binary_cross_entropy_with_logits(predictions, labels, reduction="none")
    elif score_loss == "mse":
        each = F.mse_loss(predictions, labels, reduction="none")
    else:
        each = (F.l1_loss if score_loss == "l1" else F.smooth_l1_loss)(predictions, labels, reduction="none")
    return each.mean(dim=1)


def teacher_outputs(outputs: Tensor, task: Task, temperature: float) -> Tensor:
    """Return the outputs of a teacher as targets, (B, outputs): scores, or probabilities of emotions or classes.

    Args:
        outputs: Scores or logits, (B, outputs).
        task: What they are.
        temperature: Temperature of the probabilities of classes.
    """
    if task.kind == "classes":
        return torch.softmax(outputs / temperature, dim=1)
    return outputs if task.is_score else torch.sigmoid(outputs)


def teacher_losses(
    predictions: Tensor, targets: Tensor, task: Task, score_loss: ScoreLoss = "l1", temperature: float = 1.0
) -> Tensor:
    """Return the loss of each sample on targets of `teacher_outputs`, (B,).

    For classes, it is the cross-entropy of the two distributions at the temperature, multiplied by its square, so that
    the gradient does not shrink with the temperature. For other tasks, it is `sample_losses`.
    """
    if task.kind == "classes":
        return F.cross_entropy(predictions / temperature, targets, reduction="none") * temperature**2
    return sample_losses(predictions, targets, task, score_loss)


def prediction_divergence(student: Tensor, teacher: Tensor, task: Task) -> Tensor:
    """Return KL(teacher || student) of their predictions, L_KL.

    The paper defines KL over logits, which does not apply to a scalar. Here a score is the mean of a Gaussian with
    variance 1, for which KL is half the squared difference; another variance would only change the weight. An
    emotion is a Bernoulli distribution with that logit, at temperature 1. Classes have the distribution of the paper,
    at temperature 1.

    Args:
        student: Scores, or logits of emotions or classes, (B, outputs).
        teacher: Likewise, without a gradient.
        task: What they are.
    """
    if task.is_score:
        return 0.5 * F.mse_loss(student, teacher)
    if task.kind == "classes":
        logs = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
        return F.kl_div(*logs, reduction="batchmean", log_target=True)
    p = torch.sigmoid(teacher)
    on = p * (F.logsigmoid(teacher) - F.logsigmoid(student))
    off = (1 - p) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (on + off).mean()


def jensen_shannon_information(joint: Tensor, marginal: Tensor) -> Tensor:
    """Return a lower bound of mutual information, E_joint[-sp(-T)] - E_marginals[sp(T)], with sp = softplus.

    Args:
        joint: Scores T(x, y) of a statistics network for matching pairs, any shape.
        marginal: Scores T(x, y') for pairs that do not match.

    Returns:
        A scalar of at most 0. It is -2 log 2 if T cannot distinguish the pairs.
    """
    return -F.softplus(-joint).mean() - F.softplus(marginal).mean()


def adversarial_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return -(log(1 - D(student)) + log D(teacher)) from a discriminator's logits: the loss of the discriminator.

    With `reverse_gradient` on the student's features it is the paper's minimax L_HAL in one backward pass. On detached
    features it is the loss of `edge_msa.training.adversary`.
    """
    return F.softplus(student).mean() + F.softplus(-teacher).mean()


def relation_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Return the difference between the pairwise distances of two networks within a batch (RKD, Park et al. 2019).

    The distances of each network are divided by their mean.

    Args:
        values: (B, width) with B at least 2.
        targets: (B, another width), without a gradient.
    """
    distances, expected = (torch.pdist(part) for part in (values, targets))
    return F.smooth_l1_loss(distances / distances.mean().clamp(min=1e-6), expected / expected.mean().clamp(min=1e-6))


def discriminator(width: int, hidden: int) -> nn.Sequential:
    """Return a discriminator or statistics network: features (B, width) to a score (B, 1)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def euclidean_distance(values: Tensor, targets: Tensor) -> Tensor:
    """Return ||values - targets||_2 over the last axis, smoothed near 0."""
    return ((values - targets).square().sum(dim=-1) + 1e-8).sqrt()


def relative_distance(values: Tensor, targets: Tensor) -> Tensor:
    """Return the root mean square (RMS) of `values - targets` over the last axis, relative to the RMS of `targets`.

    For values of 0, it is about 1 for every width and scale of the targets, so the weight of a loss in this distance
    has the same meaning for all of them. Targets with an RMS below about 0.03 are an exception: a constant in the
    denominator (1e-3 under the root) reduces their distance.
    """
    return ((values - targets).square().mean(dim=-1) + 1e-8).sqrt() / (targets.square().mean(dim=-1) + 1e-3).sqrt()


def reverse_gradient(values: Tensor) -> Tensor:
    """Return the same values, with the sign of their gradient reversed in the backward pass."""
    result: Tensor = _ReverseGradient.apply(values)  # type: ignore[no-untyped-call]
    return result


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        return -gradients[0]
