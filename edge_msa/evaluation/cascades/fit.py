"""Choose when a cascade asks on: estimates, thresholds, and intervals, from validation predictions of its members.

The *spread* of an answer is an estimate of its distance from the answer of the last member (`change`) or from the label
(`error`): a linear function of three numbers that cost nothing, see `edge_msa_runtime.cascade.routing.answer_features`.
The next member is asked if the spread exceeds a threshold. An interval around an answer is the spread times a number
that split conformal prediction chooses, so the threshold is one of the width of the interval.

Everything is compared with spreads that were fitted without the video of the sample. Whether `change` or `error` is
estimated, and from which of the features, is decided by the area under the curve of the loss over the mean cost.
Thresholds are quantiles of the spread. Of those that keep the mean cost, the ones with the smallest mean spread of the
answers are chosen, not the ones with the smallest loss: with three members, the best of 1,681 pairs of thresholds would
fit the noise of few labels. On CMU-MOSI it had an MAE of .680 on validation and .726 on test. The loss is the absolute
error of scores, and the share of wrong labels otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa.evaluation.cascades.member_scores import Costs, MemberScores, Numbers
from edge_msa.evaluation.intervals.conformal import half_widths
from edge_msa_runtime.cascade.manifest import FEATURES, MAX_MEMBERS, Estimate, Route, Stage
from edge_msa_runtime.cascade.routing import relative_time

COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
TARGETS = ("change", "error")
"""What the spread can estimate: the distance from the last member's answer, or from the label."""
SIGNALS: Mapping[str, tuple[int, ...]] = {"strength": (1, 0, 0), "disagreement": (0, 0, 1), "all": (1, 1, 1)}
"""Which of `FEATURES` the spread may use."""
BUDGETS = tuple(round(0.05 * step, 2) for step in range(1, 21))
"""Mean costs of the curve."""

_SHARES = tuple(round(0.05 * step, 2) for step in range(10, 21))  # of a member in the answer, smallest first
_LEVELS = np.linspace(0.0, 1.0, 41)  # quantiles of the spread that can be thresholds; 0 always asks, 1 never
_FEW_LEVELS = np.linspace(0.0, 1.0, 21)  # of each of three thresholds
_RIDGE = 1.0  # penalty of standardized features, in samples
_MINIMUM = 0.1  # of a spread, as a share of its mean
_MAX_FOLDS = 10
_MIN_SAMPLES = 30
_DECIMALS = 5

Asked = NDArray[np.int64]


@dataclass(frozen=True)
class Policy:
    """Thresholds, and what they give on validation."""

    levels: tuple[float, ...]
    """For each member but the last, the share of its answers that are kept: 0 always asks the next member."""
    cost: float
    """Mean time, as a share of the last member's."""
    loss: float
    """Mean absolute error, or share of wrong labels."""
    expected: float
    """What thresholds are chosen by: the mean spread of the answers, which is 0 if always the last member is asked and
    the spread estimates the distance from it."""
    asked: tuple[float, ...]
    """How often each member is asked last, as shares of the samples."""


@dataclass(frozen=True)
class FittedRoute:
    """A route, with what it and others give on validation."""

    route: Route
    """The route."""
    target: str
    """What its spread estimates, one of `TARGETS`."""
    signal: str
    """What from, one of `SIGNALS`."""
    policy: Policy
    """The thresholds of the route."""
    curve: tuple[tuple[float, Policy], ...]
    """The best thresholds of the same spread for each of `BUDGETS` that can be kept."""
    areas: Mapping[str, float]
    """Mean loss over all mean costs, of each target and signal and of three others: `random` asks the last member at
    random, `strength` where the first member's answer is weak, `oracle` where it knows that this helps most."""
    alternatives: Mapping[str, float]
    """Loss at the mean cost of the route: of `random`, `strength` and `oracle`."""
    losses: tuple[float, ...]
    """Loss of each member alone."""

    def better_members(self, mean_cost: float) -> list[int]:
        """Return the indices of members that alone have a lower loss, within the mean cost."""
        costs = self.route.costs
        return [
            index for index, loss in enumerate(self.losses) if loss < self.policy.loss and costs[index] <= mean_cost
        ]


def fit_route(task: Task, scores: MemberScores, costs: Costs, mean_cost: float) -> FittedRoute:
    """Fit a route.

    Args:
        task: The task.
        scores: Predictions of a labeled split.
        costs: The times of the members.
        mean_cost: Largest mean time of the cascade, as a share of the last member's.

    Raises:
        DataError: There are too few samples, even the first member costs more, or it is not faster than the last one.
    """
    count = len(scores.labels)
    if count < _MIN_SAMPLES or len(set(scores.groups)) < 2:
        raise DataError(
            f"A cascade needs at least {_MIN_SAMPLES} labeled validation samples of 2 videos, got {count} of "
            f"{len(set(scores.groups))}. Pass more data."
        )
    if costs.means[0] >= 1:
        raise DataError(
            f"The first bundle must be faster than the last one, but it takes {costs.means[0]:.2f} times as long. "
            "Pass the fastest bundle first."
        )
    if costs.means[0] > mean_cost:
        raise DataError(
            f"The mean cost must be at least {costs.means[0]:.2f}, the time of the first bundle as a share of "
            f"the last one's, got {mean_cost:g}. Pass a larger --mean-cost, or a faster first bundle."
        )
    labels = _label_values(task, scores)
    shares = _choose_shares(task, scores, labels)
    answers, features = _all_answers(scores, shares)
    strength = features[0][:, 0]
    losses = np.stack([_losses(task, answer, scores) for answer in answers])
    folds = _folds(scores.groups)
    times = costs.per_sample(scores.sizes)
    relative = times / np.array(costs.means)[:, None]
    fitted = {}
    for target, (signal, mask) in itertools.product(TARGETS, SIGNALS.items()):
        used = [part * np.array(mask) for part in features]
        aims = _aims(target, answers, labels)
        spreads = np.stack([_left_out(part, aim, folds) for part, aim in zip(used, aims, strict=True)])
        remaining = np.concatenate([spreads[:-1], 0 * spreads[-1:]]) if target == "change" else spreads
        policies = _policies(_priorities(spreads, relative), losses, times, remaining)
        fitted[target, signal] = (used, aims, spreads, policies, _area(policies, costs.means))
    target, signal = min(fitted, key=lambda name: fitted[name][-1])
    features, aims, spreads, policies, _ = fitted[target, signal]
    policy = _best(policies, mean_cost)
    final = [_fit(part, aim) for part, aim in zip(features, aims, strict=True)]
    scales = [_mean_relative(growth, scores.sizes) for growth in costs.growth]
    stages = _stages(task, answers, labels, scores.groups, shares, features, spreads, final, policy, relative, scales)
    route = Route(stages, costs.means, costs.growth, round(policy.cost, _DECIMALS))
    others = _alternatives(losses, times, strength)
    return FittedRoute(
        route=route,
        target=target,
        signal=signal,
        policy=policy,
        curve=tuple((budget, _best(policies, budget)) for budget in BUDGETS if budget >= costs.means[0]),
        areas={
            **{f"{name[0]} by {name[1]}": item[-1] for name, item in fitted.items()},
            **{name: _area(items, costs.means) for name, items in others.items()},
        },
        alternatives={name: _best(items, policy.cost).loss for name, items in others.items()},
        losses=tuple(float(_losses(task, value, scores).mean()) for value in scores.values),
    )


def _label_values(task: Task, scores: MemberScores) -> Numbers:
    """Return labels in the form of values, (N, V)."""
    labels = np.asarray(scores.labels, np.float64)
    width = scores.values.shape[-1]
    if task.kind == "classes":
        one_hot: Numbers = np.eye(width)[labels.astype(int)]
        return one_hot
    return labels.reshape(len(labels), width)


def _losses(task: Task, answer: Numbers, scores: MemberScores) -> Numbers:
    """Return the loss of each sample, (N,)."""
    labels = np.asarray(scores.labels, np.float64)
    if task.is_score:
        return np.abs(answer[:, 0] - labels)
    if task.kind == "classes":
        return np.asarray(answer.argmax(axis=1) != labels, np.float64)
    wrong: Numbers = ((answer >= 0.5) != (labels >= 0.5)).mean(axis=1)
    return wrong


def _choose_shares(task: Task, scores: MemberScores, labels: Numbers) -> tuple[float, ...]:
    """Return the share of each member in the answer after it: that with the smallest loss, if all were asked."""
    shares, answer = [1.0], scores.values[0]
    for values in scores.values[1:]:
        options = _SHARES if task.is_score else (1.0,)
        errors = [np.abs(share * values + (1 - share) * answer - labels).mean() for share in options]
        # The last of equally good ones: the largest share.
        best = options[len(errors) - 1 - int(np.argmin(errors[::-1]))]
        shares.append(best)
        answer = best * values + (1 - best) * answer
    return tuple(shares)


def _all_answers(scores: MemberScores, shares: Sequence[float]) -> tuple[list[Numbers], list[Numbers]]:
    """Return the answer after each member and the features of its spread, (N, F), if all members were asked."""
    answers: list[Numbers] = []
    features: list[Numbers] = []
    for values, share in zip(scores.values, shares, strict=True):
        before = answers[-1] if answers else None
        answer = values if before is None else share * values + (1 - share) * before
        strength = np.abs(answer[:, 0]) if answer.shape[1] == 1 else answer.max(axis=1)
        disagreement = np.zeros(len(answer)) if before is None else np.abs(values - before).mean(axis=1)
        answers.append(answer)
        features.append(np.stack([strength, scores.evidence, disagreement], axis=1))
    return answers, features


def _aims(target: str, answers: Sequence[Numbers], labels: Numbers) -> list[Numbers]:
    """Return what the spread of each stage estimates, (N,). After the last member, it is always the error."""
    aims = [np.abs((answers[-1] if target == "change" else labels) - answer).mean(axis=1) for answer in answers[:-1]]
    return [*aims, np.abs(labels - answers[-1]).mean(axis=1)]


def _folds(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return the fold of each sample, (N,). The samples of a video are in one fold."""
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)
    return numbers % _MAX_FOLDS


def _fit(features: Numbers, aim: Numbers) -> Estimate:
    """Return the linear function of the features that is closest to an aim."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    standardized = (features - mean) / np.where(scale > 0, scale, 1.0)
    penalty = _RIDGE * np.eye(len(FEATURES))
    weights = np.linalg.solve(standardized.T @ standardized + penalty, standardized.T @ (aim - aim.mean()))
    weights = np.where(scale > 0, weights / np.where(scale > 0, scale, 1.0), 0.0)
    bias = aim.mean() - weights @ mean
    minimum = max(_MINIMUM * float(aim.mean()), 10.0**-_DECIMALS)
    rounded = tuple(round(float(weight), _DECIMALS) for weight in weights)
    return Estimate(round(float(bias), _DECIMALS), rounded, round(minimum, _DECIMALS))


def _apply(estimate: Estimate, features: Numbers) -> Numbers:
    return np.array([estimate(tuple(map(float, row))) for row in features])


def _left_out(features: Numbers, aim: Numbers, folds: NDArray[np.int64]) -> Numbers:
    """Return spreads that were fitted without the fold of the sample, (N,)."""
    spread = np.empty(len(aim))
    for fold in np.unique(folds):
        held = folds == fold
        spread[held] = _apply(_fit(features[~held], aim[~held]), features[held])
    return spread


def _priorities(spreads: Numbers, relative: Numbers) -> Numbers:
    """Return the spread of each answer in units of the relative time of the next member, (K, N); the last as it is."""
    return np.concatenate([spreads[:-1] / relative[1:], spreads[-1:]])


def _mean_relative(growth: float, sizes: Numbers) -> float:
    """Return the mean over samples of the time as a multiple of that for the typical size."""
    return float(np.mean([relative_time(growth, size) for size in sizes]))


def _policies(priorities: Numbers, losses: Numbers, times: Numbers, expected: Numbers) -> list[Policy]:
    """Return all combinations of thresholds.

    Args:
        priorities: What is compared with a threshold, (K, N).
        losses: (K, N).
        times: Time of each member, (K, N).
        expected: What the policies are chosen by, (K, N).
    """
    members = len(losses)
    levels = _LEVELS if members < MAX_MEMBERS else _FEW_LEVELS
    kept = [[part <= _threshold(part, level) for level in levels] for part in priorities[:-1]]
    total = np.cumsum(times, axis=0)
    policies = []
    for choice in itertools.product(range(len(levels)), repeat=members - 1):
        asked = np.full(losses.shape[1], members - 1)
        for member in reversed(range(members - 1)):
            asked = np.where(kept[member][choice[member]], member, asked)
        policies.append(
            Policy(
                levels=tuple(float(levels[index]) for index in choice),
                cost=float(np.take_along_axis(total, asked[None], axis=0).mean()),
                loss=float(np.take_along_axis(losses, asked[None], axis=0).mean()),
                expected=float(np.take_along_axis(expected, asked[None], axis=0).mean()),
                asked=tuple(float((asked == member).mean()) for member in range(members)),
            )
        )
    return policies


def _threshold(spread: Numbers, level: float) -> float:
    """Return the threshold that keeps a share of the answers: 0 keeps none, because spreads are positive."""
    if level <= 0:
        return 0.0
    return float(np.quantile(spread, level))


def _best(policies: Sequence[Policy], budget: float) -> Policy:
    """Return the policy from which most is expected that keeps a mean cost; the cheapest of equally good ones."""
    able = [policy for policy in policies if policy.cost <= budget + 1e-9]
    return min(able, key=lambda policy: (policy.expected, policy.cost))


def _area(policies: Sequence[Policy], costs: Sequence[float]) -> float:
    """Return the mean over all mean costs, from that of the first member to that of the last, of the smallest loss."""
    budgets = np.linspace(costs[0], 1.0, 50)
    return float(np.mean([_best(policies, budget).loss for budget in budgets]))


def _alternatives(losses: Numbers, times: Numbers, strength: Numbers) -> dict[str, list[Policy]]:
    """Return the policies of other ways to ask the last member after the first one."""
    ends, pair = losses[[0, -1]], times[[0, -1]]
    orders = {
        "strength": strength.max() - strength + 1.0,
        "oracle": ends[0] - ends[1] - (ends[0] - ends[1]).min() + 1.0,
    }
    named = {name: _policies(np.stack([order, order]), ends, pair, ends) for name, order in orders.items()}
    first, last = ends.mean(axis=1)
    cheap, dear = pair.mean(axis=1)
    named["random"] = [
        Policy(
            levels=(float(level),),
            cost=float(cheap + (1 - level) * dear),
            loss=float(level * first + (1 - level) * last),
            expected=float(level * first + (1 - level) * last),
            asked=(float(level), float(1 - level)),
        )
        for level in _LEVELS
    ]
    return named


def _stages(
    task: Task,
    answers: Sequence[Numbers],
    labels: Numbers,
    groups: Sequence[str],
    shares: Sequence[float],
    features: Sequence[Numbers],
    spreads: Numbers,
    final: Sequence[Estimate],
    policy: Policy,
    relative: Numbers,
    scales: Sequence[float],
) -> tuple[Stage, ...]:
    """Return the stages of a route.

    Half widths have the coverage over all samples: errors are in units of the spread and of their mean in the stage,
    and the conformal quantile is that of all stages.
    """
    members = len(answers)
    asked = np.full(len(labels), members - 1)
    priorities = _priorities(spreads, relative)
    for member in reversed(range(members - 1)):
        is_kept = priorities[member] <= _threshold(priorities[member], policy.levels[member])
        asked = np.where(is_kept, member, asked)
    widths: list[tuple[float | None, ...]] = [() for _ in answers]
    if task.is_score:
        ratios = np.stack(
            [np.abs(answer - labels)[:, 0] / spread for answer, spread in zip(answers, spreads, strict=True)]
        )
        typical = np.array(
            [
                ratios[member][asked == member].mean() if (asked == member).any() else ratios[member].mean()
                for member in range(members)
            ]
        )
        typical = np.maximum(typical, 10.0**-_DECIMALS)  # 0 if a member is always right
        chosen = np.take_along_axis(ratios / typical[:, None], asked[None], axis=0)[0]
        factors = half_widths(chosen, np.asarray(groups), COVERAGES)
        widths = [
            tuple(float(np.ceil(factor * scale * 1e4) / 1e4) if np.isfinite(factor) else None for factor in factors)
            for scale in typical
        ]
    stages = []
    for member in range(members):
        threshold: float | None = None
        if member < members - 1 and policy.levels[member] < 1:
            # Quantiles of the final estimate, so that the mean cost is the same.
            priority = _apply(final[member], features[member]) / relative[member + 1]
            # Priorities are relative to the mean time, thresholds to that of the typical size.
            scale = scales[member + 1]
            threshold = round(_threshold(priority, policy.levels[member]) / scale, _DECIMALS)
        stages.append(Stage(shares[member], final[member], threshold, widths[member]))
    return tuple(stages)
