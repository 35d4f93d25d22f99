from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.training.losses import (
    adversarial_loss,
    answer_divergence,
    distance,
    jensen_shannon_information,
    reverse_gradient,
    task_loss,
)


def test_score_losses_have_the_median_and_the_mean_as_optimum() -> None:
    labels = torch.tensor([[0.0], [0.0], [0.0], [3.0]])
    guesses = torch.linspace(-1, 4, 501)

    def best(name: str) -> float:
        losses = [task_loss(guess.expand(4, 1), labels, MOSI, name) for guess in guesses]
        return float(guesses[torch.stack(losses).argmin()])

    assert best("l1") == pytest.approx(0.0, abs=0.01)
    assert best("mse") == pytest.approx(0.75, abs=0.01)
    assert 0.0 < best("smooth_l1") < 0.75


def test_emotions_take_binary_cross_entropy() -> None:
    labels = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    assert task_loss(torch.zeros(1, 4), labels, EMOTIONS).item() == pytest.approx(math.log(2))
    assert task_loss((labels - 0.5) * 40, labels, EMOTIONS).item() < 1e-6


def test_divergence_of_scores_is_half_the_squared_difference() -> None:
    assert answer_divergence(torch.tensor([[1.0]]), torch.tensor([[3.0]]), MOSI).item() == pytest.approx(2.0)


def test_divergence_of_emotions_is_the_bernoulli_kl() -> None:
    teacher, student = torch.tensor([[0.0]]), torch.tensor([[math.log(3)]])
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert answer_divergence(student, teacher, EMOTIONS).item() == pytest.approx(expected, abs=1e-6)
    assert answer_divergence(teacher, teacher, EMOTIONS).item() == pytest.approx(0.0, abs=1e-7)


def learned_information(x: Tensor, y: Tensor) -> float:
    torch.manual_seed(0)
    scorer = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(scorer.parameters(), lr=2e-2)
    information = torch.zeros(())
    for _ in range(80):
        joint, marginal = scorer(torch.cat([x, y], 1)), scorer(torch.cat([x.roll(1, 0), y], 1))
        information = jensen_shannon_information(joint, marginal)
        optimizer.zero_grad()
        (-information).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return information.item()


def test_information_is_higher_for_pairs_that_depend_on_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 400, 1, generator=generator)
    dependent, independent = learned_information(x, x + 0.1 * noise), learned_information(x, noise)
    assert independent == pytest.approx(-2 * math.log(2), abs=0.1)
    assert dependent > independent + 0.3


def test_information_without_a_tell_is_minus_two_log_two() -> None:
    assert jensen_shannon_information(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(-2 * math.log(2))


def test_reversed_gradient_keeps_values_and_turns_the_sign() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    turned = reverse_gradient(values)
    assert torch.equal(turned, values)
    (turned * torch.tensor([3.0, 5.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [-3.0, -5.0]


def test_adversary_separates_and_the_student_moves_to_look_like_the_teacher() -> None:
    student = torch.zeros(1, requires_grad=True)
    slope = torch.ones(1, requires_grad=True)  # a discriminator whose logit is larger for the teacher, at 2
    adversarial_loss(slope * reverse_gradient(student), slope * torch.full((1,), 2.0)).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert slope.grad is not None
    assert student.grad.item() < 0  # descending raises the student's logit
    assert slope.grad.item() < 0  # descending sharpens the discriminator


def test_distance_is_euclidean_and_has_a_gradient_at_zero() -> None:
    values = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    lengths = distance(values, torch.zeros(2, 2))
    assert lengths.tolist() == pytest.approx([5.0, 1e-4], abs=1e-6)
    lengths.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert bool(values.grad.isfinite().all())
