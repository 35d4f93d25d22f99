from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge_msa.architecture_search.space import Params
from edge_msa.architecture_search.trials import TrialResult, format_params, pareto_set


def measured(number: int, error: float, ratio: float, size: int) -> TrialResult:
    params: Params = {"width": 8, "precision": "int8"}
    return TrialResult(number, params, is_default=False, error=error, latency_ratio=ratio, size_bytes=size)


def test_pareto_set_equals_brute_force() -> None:
    generator = np.random.default_rng(0)
    costs = generator.integers(1, 6, (40, 3)).tolist()
    trials = [measured(number, error / 10, ratio / 10, size) for number, (error, ratio, size) in enumerate(costs)]
    expected = {
        trial.number
        for trial in trials
        if not any(np.all(np.less_equal(o.costs, trial.costs)) and o.costs != trial.costs for o in trials)
    }
    best = pareto_set(trials)
    assert {trial.number for trial in best} == expected
    assert all(a.costs[1] <= b.costs[1] for a, b in itertools.pairwise(best))


def test_a_failed_trial_has_no_costs() -> None:
    failed = TrialResult(1, {"width": 8, "precision": "int8"}, is_default=False, failure="the loss diverged")
    assert not failed.is_measured
    assert pareto_set([failed]) == ()
    with pytest.raises(ValueError, match="Trial 1 has no measurements"):
        _ = failed.costs


def test_params_are_formatted_with_the_precision_last() -> None:
    text = format_params({"precision": "int8", "width": 8, "rate": 0.00123456})
    assert text == "width 8, rate 0.001235, int8"
