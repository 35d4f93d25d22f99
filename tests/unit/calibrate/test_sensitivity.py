from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.sensitivity import Limits, Score, search_mixed_precision

COSTS = {"a": 0.01, "b": 0.30, "c": 0.00, "d": 0.08, "e": 0.02}


class PlanScorer:
    """Each layer in int8 adds its cost; how often it was asked is counted."""

    def __init__(self, costs: dict[str, float], stop_after: int | None = None) -> None:
        self.costs = costs
        self.asked: list[frozenset[str]] = []
        self.stop_after = stop_after

    def __call__(self, floats: Collection[str]) -> Score:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        self.asked.append(frozenset(floats))
        distance = sum(cost for name, cost in self.costs.items() if name not in floats)
        return Score(10 * distance, distance)


def test_the_fewest_layers_that_keep_the_limits_stay_float(tmp_path: Path) -> None:
    plan = search_mixed_precision(list(COSTS), PlanScorer(COSTS), tmp_path / "j.json", limits=Limits(1.0, 0.05))
    assert set(plan.fp32_weights) == {"b", "d"}
    assert plan.passed
    assert plan.complete
    assert plan.score.distance == pytest.approx(0.03)
    assert plan.all_int8.distance == pytest.approx(0.41)
    assert plan.fp32_weights["b"] == "kept float: all int8 is 0.4100 of a deviation from fp32, without it 0.1100"


def test_each_layer_is_told_alone_in_int8_and_alone_in_float(tmp_path: Path) -> None:
    plan = search_mixed_precision(list(COSTS), PlanScorer(COSTS), tmp_path / "j.json")
    assert [layer.weight for layer in plan.layers] == list(COSTS)
    for layer in plan.layers:
        assert layer.alone_int8 is not None
        assert layer.alone_float is not None
        assert layer.alone_int8.distance == pytest.approx(COSTS[layer.weight])
        assert layer.alone_float.distance == pytest.approx(0.41 - COSTS[layer.weight])


def test_nothing_is_kept_float_where_all_int8_passes(tmp_path: Path) -> None:
    plan = search_mixed_precision(["a", "c"], PlanScorer({"a": 0.01, "c": 0.0}), tmp_path / "j.json")
    assert (plan.fp32_weights, plan.passed) == ({}, True)


def test_what_was_made_float_too_early_goes_back_to_int8(tmp_path: Path) -> None:
    # Alone "a" helps most, but "b" and "c" together make it needless.
    def scorer(floats: Collection[str]) -> Score:
        costs = {"a": 0.05, "b": 0.04, "c": 0.04}
        distance = sum(cost for name, cost in costs.items() if name not in floats)
        return Score(0.0, 0.05 if {"b", "c"} <= set(floats) else distance + 0.02)

    plan = search_mixed_precision(["a", "b", "c"], scorer, tmp_path / "j.json", limits=Limits(1.0, 0.052))
    assert set(plan.fp32_weights) == {"b", "c"}


def test_a_budget_of_nothing_gives_the_best_of_all_int8_and_all_float(tmp_path: Path) -> None:
    scorer = PlanScorer(COSTS)
    plan = search_mixed_precision(list(COSTS), scorer, tmp_path / "j.json", budget=0.0)
    assert (set(plan.fp32_weights), plan.passed, plan.complete) == (set(COSTS), True, False)
    assert len(scorer.asked) == 2
    assert plan.layers[0].alone_int8 is None


def test_a_killed_search_goes_on_without_asking_twice_and_ends_the_same(tmp_path: Path) -> None:
    first, second, whole = PlanScorer(COSTS, stop_after=5), PlanScorer(COSTS), PlanScorer(COSTS)
    with pytest.raises(KeyboardInterrupt):
        search_mixed_precision(list(COSTS), first, tmp_path / "j.json")
    kept = json.loads((tmp_path / "j.json").read_text())
    assert len(kept["evaluations"]) == 5
    assert set(kept["best"]) == set(COSTS) - {"a"}
    plan = search_mixed_precision(list(COSTS), second, tmp_path / "j.json")
    assert plan == search_mixed_precision(list(COSTS), whole, tmp_path / "whole.json")
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == len(whole.asked)


def test_what_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nothing to search"):
        search_mixed_precision([], PlanScorer({}), tmp_path / "j.json")
    (tmp_path / "j.json").write_text("{")
    with pytest.raises(CalibrationError, match="delete it to search anew"):
        search_mixed_precision(["a"], PlanScorer({"a": 0}), tmp_path / "j.json")
