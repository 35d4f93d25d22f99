from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from edge_msa.training.adversary import Adversary

CPU = torch.device("cpu")
WIDTHS = (6, 4)


def make_adversary(penalty: float = 1.0) -> Adversary:
    torch.manual_seed(0)
    return Adversary(WIDTHS, 8, CPU, penalty=penalty)


def make_features(seed: int, shift: float = 0.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = [torch.randn(32, width, generator=generator) for width in WIDTHS]
    for part in features:
        part[:, 0] += shift
    return features


def weights(adversary: Adversary) -> list[Tensor]:
    return [weight.detach().clone() for weight in adversary.networks.parameters()]


@pytest.mark.case("E2")
def test_student_loss_changes_no_discriminator() -> None:
    adversary = make_adversary()
    student = [part.requires_grad_() for part in make_features(1)]
    before = weights(adversary)
    optimizer = torch.optim.SGD(student, lr=1.0)
    adversary.student_loss(make_features(0), student).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert all(part.grad is not None and part.grad.abs().max() > 0 for part in student)
    assert all(torch.equal(one, other) for one, other in zip(before, weights(adversary), strict=True))


@pytest.mark.case("E2")
def test_step_changes_no_features() -> None:
    adversary = make_adversary()
    teacher, student = ([part.requires_grad_() for part in make_features(seed)] for seed in (0, 1))
    before = weights(adversary)
    adversary.student_loss(teacher, student)
    adversary.step(1e-2)
    assert all(part.grad is None for part in (*teacher, *student))
    assert all(not torch.equal(one, other) for one, other in zip(before, weights(adversary), strict=True))


def test_step_ignores_gradients_of_the_student_loss() -> None:
    one, other = make_adversary(), make_adversary()
    for adversary in (one, other):
        loss = adversary.student_loss(make_features(0), make_features(1))
        if adversary is one:
            loss.backward()  # type: ignore[no-untyped-call]
        adversary.step(1e-2)
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_discriminators_learn_to_tell_the_networks_apart() -> None:
    adversary = make_adversary(penalty=0.0)
    losses = []
    for _ in range(60):
        adversary.student_loss(make_features(0, shift=2.0), make_features(1, shift=-2.0))
        loss = adversary.step(2e-2)
        assert loss is not None
        losses.append(loss.item())
    assert losses[0] == pytest.approx(2 * len(WIDTHS) * math.log(2), rel=0.2)
    assert losses[-1] < 0.3 * losses[0]


def test_penalty_limits_how_certain_the_discriminators_become() -> None:
    def loss_after_training(penalty: float) -> float:
        adversary = make_adversary(penalty)
        loss: Tensor | None = None
        for _ in range(60):
            adversary.student_loss(make_features(0, shift=2.0), make_features(1, shift=-2.0))
            loss = adversary.step(2e-2)
        assert loss is not None
        return loss.item()

    assert loss_after_training(10.0) > 3 * loss_after_training(0.0)


def test_scale_of_the_features_does_not_matter() -> None:
    adversary = make_adversary()
    student = make_features(1)
    loss = adversary.student_loss(make_features(0), student)
    scaled = adversary.student_loss(make_features(0), [7 * part + 3 for part in student])
    assert scaled.item() == pytest.approx(loss.item(), rel=1e-4)


def test_step_without_new_features_does_nothing() -> None:
    adversary = make_adversary()
    assert adversary.step(1e-2) is None
    adversary.student_loss(make_features(0), make_features(1))
    assert adversary.step(1e-2) is not None
    before = weights(adversary)
    assert adversary.step(1e-2) is None
    assert all(torch.equal(one, other) for one, other in zip(before, weights(adversary), strict=True))


def test_restored_state_continues_identically() -> None:
    def train(adversary: Adversary, steps: range) -> None:
        for seed in steps:
            adversary.student_loss(make_features(seed), make_features(100 + seed))
            adversary.step(1e-2)

    whole = make_adversary()
    train(whole, range(6))
    first, second = make_adversary(), Adversary(WIDTHS, 8, CPU, penalty=1.0)
    train(first, range(3))
    second.load_state_dict(first.state_dict())
    train(second, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(weights(whole), weights(second), strict=True))
