from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edge_msa.config.training import ScoreLoss
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.training.losses import (
    adversarial_loss,
    class_weights,
    euclidean_distance,
    jensen_shannon_information,
    prediction_divergence,
    relative_distance,
    reverse_gradient,
    task_loss,
    teacher_losses,
    teacher_outputs,
)

CLASSES = Task("classes", ("negative", "neutral", "positive"))


def test_optimum_of_l1_is_the_median_and_of_mse_the_mean() -> None:
    labels = torch.tensor([[0.0], [0.0], [0.0], [3.0]])
    guesses = torch.linspace(-1, 4, 501)

    def best(name: ScoreLoss) -> float:
        losses = [task_loss(guess.expand(4, 1), labels, MOSI, name) for guess in guesses]
        return float(guesses[torch.stack(losses).argmin()])

    assert best("l1") == pytest.approx(0.0, abs=0.01)
    assert best("mse") == pytest.approx(0.75, abs=0.01)
    assert 0.0 < best("smooth_l1") < 0.75


def test_emotions_use_binary_cross_entropy() -> None:
    labels = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert task_loss(torch.zeros(1, 4), labels, EMOTIONS).item() == pytest.approx(math.log(2))
    assert task_loss((labels - 0.5) * 40, labels, EMOTIONS).item() < 1e-6


def test_classes_use_cross_entropy_of_their_index() -> None:
    labels = torch.tensor([[2.0], [0.0]])
    assert task_loss(torch.zeros(2, 3), labels, CLASSES).item() == pytest.approx(math.log(3))
    assert task_loss(torch.eye(3)[[2, 0]] * 40, labels, CLASSES).item() < 1e-6


def test_divergence_of_classes_is_the_kl_of_their_distributions() -> None:
    teacher, student = torch.log(torch.tensor([[0.5, 0.3, 0.2]])), torch.log(torch.tensor([[0.2, 0.2, 0.6]]))
    expected = 0.5 * math.log(0.5 / 0.2) + 0.3 * math.log(0.3 / 0.2) + 0.2 * math.log(0.2 / 0.6)
    assert prediction_divergence(student + 7, teacher, CLASSES).item() == pytest.approx(expected, rel=1e-5)


def test_balanced_weights_make_classes_equally_important() -> None:
    labels = torch.tensor([[0.0]] * 6 + [[1.0]] * 2 + [[math.nan]])
    weights = class_weights(labels, CLASSES, "balanced")
    assert weights is not None
    assert (weights[0] * 6).item() == pytest.approx((weights[1] * 2).item())
    assert weights[labels[:8, 0].long()].mean().item() == pytest.approx(1.0)
    assert class_weights(labels, CLASSES, "equal") is None
    assert class_weights(labels, MOSI, "balanced") is None


def test_teachers_of_classes_are_imitated_at_a_temperature() -> None:
    logits = torch.tensor([[4.0, 0.0, -2.0]])
    targets = teacher_outputs(logits, CLASSES, 2.0)
    torch.testing.assert_close(targets, torch.softmax(logits / 2, dim=1))
    student = torch.zeros(1, 3, requires_grad=True)
    teacher_losses(student, targets, CLASSES, temperature=2.0).sum().backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    torch.testing.assert_close(student.grad, 2 * (torch.softmax(student.detach() / 2, dim=1) - targets))
    assert teacher_losses(logits, targets, CLASSES, temperature=2.0) < teacher_losses(-logits, targets, CLASSES)


def test_divergence_of_scores_is_half_the_squared_difference() -> None:
    assert prediction_divergence(torch.tensor([[1.0]]), torch.tensor([[3.0]]), MOSI).item() == pytest.approx(2.0)


def test_divergence_of_emotions_is_the_bernoulli_kl() -> None:
    teacher, student = torch.tensor([[0.0]]), torch.tensor([[math.log(3)]])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert prediction_divergence(student, teacher, EMOTIONS).item() == pytest.approx(expected, rel=1e-5)
    assert prediction_divergence(teacher, teacher, EMOTIONS).item() == pytest.approx(0.0, abs=1e-6)


def learned_information(x: Tensor, y: Tensor) -> float:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    information = torch.zeros(())
    for _ in range(80):
        joint, marginal = network(torch.cat([x, y], 1)), network(torch.cat([x.roll(1, 0), y], 1))
        information = jensen_shannon_information(joint, marginal)
        optimizer.zero_grad()
        (-information).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return information.item()


def test_information_is_higher_for_dependent_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 400, 1, generator=generator)
    dependent, independent = learned_information(x, x + 0.1 * noise), learned_information(x, noise)
    assert independent == pytest.approx(-2 * math.log(2), abs=0.1)
    assert dependent > independent + 0.3


def test_information_of_equal_scores_is_minus_two_log_two() -> None:
    assert jensen_shannon_information(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(-2 * math.log(2))


def test_reverse_gradient_only_changes_the_sign_of_the_gradient() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    reversed_values = reverse_gradient(values)
    assert torch.equal(reversed_values, values)
    (reversed_values * torch.tensor([3.0, 5.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [-3.0, -5.0]


def test_adversarial_loss_trains_both_sides() -> None:
    student = torch.zeros(1, requires_grad=True)
    slope = torch.ones(1, requires_grad=True)  # a discriminator with a larger logit for the teacher, whose feature is 2
    adversarial_loss(slope * reverse_gradient(student), slope * torch.full((1,), 2.0)).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert slope.grad is not None
    assert student.grad.item() < 0  # gradient descent raises the student's logit
    assert slope.grad.item() < 0  # gradient descent improves the discriminator


def test_euclidean_distance_has_a_gradient_at_zero() -> None:
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    distances = euclidean_distance(values, torch.zeros(2, 2))
    assert distances.tolist() == pytest.approx([5.0, 1e-4], rel=1e-4)
    distances.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert bool(values.grad.isfinite().all())


@pytest.mark.case("E2")
@pytest.mark.parametrize("width", [4, 400])
@pytest.mark.parametrize("scale", [0.5, 50.0])
def test_relative_distance_has_no_scale(width: int, scale: float) -> None:
    targets = torch.randn(100, width, generator=torch.Generator().manual_seed(0)) * scale
    assert relative_distance(torch.zeros(100, width), targets).tolist() == pytest.approx([1.0] * 100, rel=0.05)
    assert relative_distance(1.25 * targets, targets).tolist() == pytest.approx([0.25] * 100, rel=0.05)
    assert euclidean_distance(torch.zeros(100, width), targets).mean().item() == pytest.approx(
        scale * width**0.5, rel=0.2
    )


def test_relative_distance_is_finite_for_targets_of_zero() -> None:
    values = torch.zeros(2, 3, requires_grad=True)
    distances = relative_distance(values, torch.zeros(2, 3))
    distances.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert bool(distances.isfinite().all())
    assert bool(values.grad.isfinite().all())
