from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError
from edge_msa.evaluation.cascades import Costs, FittedRoute, MemberScores, fit_route
from edge_msa_runtime.cascade.routing import Answer, Extent, take_answer

COSTS = Costs((0.05, 1.0), (0.0, 0.0))


def _scores(count: int = 400, *, seed: int = 0, sizes: Any = None) -> MemberScores:
    """A small member that errs only near 0, a large one that hardly errs."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(-3, 3, count)
    noise = rng.normal(size=(2, count))
    weak = np.abs(labels) < 1
    small = labels + noise[0] * np.where(weak, 1.5, 0.1)
    large = labels + 0.1 * noise[1]
    values = np.clip(np.stack([np.where(weak, 0.3 * small, small), large]), -3, 3)[..., None]
    sizes = np.ones(count) if sizes is None else sizes
    groups = tuple(f"video{index % 20}" for index in range(count))
    return MemberScores(values, labels.astype(np.float32), np.ones(count), sizes, groups)


def _play(fitted: FittedRoute, scores: MemberScores) -> tuple[Any, Any]:
    """Return the answers (N,) and the members that were asked last (N,), computed as on the device."""
    answers, asked = [], []
    for row in range(len(scores.labels)):
        answer: Answer | None = None
        for member, values in enumerate(scores.values[:, row]):
            extent = Extent(float(scores.evidence[row]), float(scores.sizes[row]))
            answer = take_answer(fitted.route, member, tuple(values), answer, extent)
            if not answer.asks_next:
                break
        assert answer is not None
        answers.append(answer.values[0])
        asked.append(answer.member)
    return np.array(answers), np.array(asked)


def test_the_large_member_is_asked_where_it_helps() -> None:
    scores = _scores()
    fitted = fit_route(MOSI, scores, COSTS, 0.5)
    assert fitted.policy.cost <= 0.5
    assert fitted.policy.loss < fitted.alternatives["random"] - 0.05
    assert fitted.alternatives["oracle"] <= fitted.policy.loss
    chosen = fitted.areas[f"{fitted.target} by {fitted.signal}"]
    assert fitted.areas["oracle"] < chosen < fitted.areas["random"]
    assert chosen == min(area for name, area in fitted.areas.items() if " by " in name)


def test_the_device_answers_as_the_fit_expects_also_on_other_data() -> None:
    fitted = fit_route(MOSI, _scores(), COSTS, 0.5)
    other = _scores(seed=1)
    answers, asked = _play(fitted, other)
    cost = 0.05 + (asked == 1).mean()
    assert cost == pytest.approx(fitted.policy.cost, abs=0.06)
    assert np.abs(answers - other.labels).mean() == pytest.approx(fitted.policy.loss, abs=0.05)


def test_intervals_cover_other_data() -> None:
    fitted = fit_route(MOSI, _scores(), COSTS, 0.5)
    other = _scores(seed=2)
    answers, asked = _play(fitted, other)
    spreads = np.array(
        [
            fitted.route.stages[member].spread(
                (
                    abs(answer),
                    1.0,
                    0.0 if member == 0 else float(abs(other.values[1, row, 0] - other.values[0, row, 0])),
                )
            )
            for row, (answer, member) in enumerate(zip(answers, asked, strict=True))
        ]
    )
    factors = [stage.half_widths[3] for stage in fitted.route.stages]  # 80 %
    widths = spreads * np.array(factors, np.float64)[asked]
    assert (np.abs(answers - other.labels) <= widths).mean() == pytest.approx(0.8, abs=0.06)


def test_a_cost_of_one_may_ask_nobody_else_but_the_best() -> None:
    fitted = fit_route(MOSI, _scores(), COSTS, 1.0)
    assert fitted.policy.loss <= min(fitted.losses) + 0.02
    curve = [policy.expected for _, policy in fitted.curve]
    assert curve == sorted(curve, reverse=True)


def test_three_members_keep_the_mean_cost() -> None:
    pair = _scores()
    middle = pair.values[0] + 0.5 * (pair.values[1] - pair.values[0])
    scores = MemberScores(
        np.stack([pair.values[0], middle, pair.values[1]]), pair.labels, pair.evidence, pair.sizes, pair.groups
    )
    fitted = fit_route(MOSI, scores, Costs((0.05, 0.2, 1.0), (0.0, 0.0, 0.0)), 0.4)
    _, asked = _play(fitted, scores)
    assert np.cumsum([0.05, 0.2, 1.0])[asked].mean() <= 0.43
    assert fitted.route.stages[-1].threshold is None


def test_tasks_with_probabilities_have_no_blends_and_no_intervals() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    truth = np.eye(3)[labels]
    values = np.stack([truth + rng.uniform(0, scale, truth.shape) for scale in (2.0, 0.5)])
    values /= values.sum(axis=-1, keepdims=True)
    groups = tuple(map(str, range(200)))
    fitted = fit_route(
        Task("classes", ("bad", "fair", "good")),
        MemberScores(values, labels.astype(np.float32), np.ones(200), np.ones(200), groups),
        COSTS,
        0.5,
    )
    assert [stage.share for stage in fitted.route.stages] == [1.0, 1.0]
    assert all(stage.half_widths == () for stage in fitted.route.stages)
    assert fitted.policy.loss < fitted.alternatives["random"]


def test_emotions_count_wrong_labels() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (100, 4)).astype(np.float32)
    values = np.stack([np.clip(labels + rng.normal(0, scale, labels.shape), 0, 1) for scale in (0.8, 0.1)])
    fitted = fit_route(
        EMOTIONS, MemberScores(values, labels, np.ones(100), np.ones(100), tuple(map(str, range(100)))), COSTS, 0.5
    )
    assert fitted.losses[1] == 0
    assert fitted.losses[1] < fitted.policy.loss < fitted.losses[0]


def test_too_few_samples_and_a_cost_below_that_of_the_first_member_are_refused() -> None:
    scores = _scores(20)
    with pytest.raises(DataError, match="at least 30 labeled validation samples of 2 videos, got 20 of 20"):
        fit_route(MOSI, scores, COSTS, 0.5)
    with pytest.raises(DataError, match=r"mean cost must be at least 0\.05, .* got 0\.04"):
        fit_route(MOSI, _scores(), COSTS, 0.04)


def test_a_first_member_that_is_not_faster_is_refused() -> None:
    with pytest.raises(DataError, match=r"must be faster than the last one, but it takes 1\.20 times as long"):
        fit_route(MOSI, _scores(), Costs((1.2, 1.0), (0.0, 0.0)), 1.0)


def test_members_that_are_better_alone_are_named() -> None:
    scores = _scores()
    worse_first = MemberScores(scores.values[::-1], scores.labels, scores.evidence, scores.sizes, scores.groups)
    assert fit_route(MOSI, scores, COSTS, 0.5).better_members(0.5) == []
    fitted = dataclasses.replace(fit_route(MOSI, worse_first, COSTS, 1.0), losses=(9.0, 0.0))
    assert fitted.better_members(1.0) == [1]
    assert fitted.better_members(0.9) == []  # the last member takes more than that


def test_more_is_asked_for_the_same_time_where_inputs_are_short() -> None:
    sizes = np.random.default_rng(3).uniform(0.2, 3.0, 400)
    same = fit_route(MOSI, _scores(sizes=sizes), COSTS, 0.4)
    grows = fit_route(MOSI, _scores(sizes=sizes), Costs((0.05, 1.0), (0.0, 1.0)), 0.4)
    assert grows.policy.cost <= 0.4
    assert grows.policy.asked[1] > same.policy.asked[1] + 0.05
    scores = _scores(sizes=sizes)
    _, asked = _play(grows, scores)
    cost = 0.05 + (sizes / sizes.mean() * (asked == 1)).mean()
    assert cost == pytest.approx(grows.policy.cost, abs=0.05)
    assert sizes[asked == 1].mean() < sizes[asked == 0].mean()
