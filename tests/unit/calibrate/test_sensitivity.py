from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.sensitivity import PlanLimits, PlanScore, search_mixed_precision

COSTS = {"a": 0.01, "b": 0.30, "c": 0.00, "d": 0.08, "e": 0.02}


class AdditiveScorer:
    """Each INT8 layer adds its cost to the distance. `scored` records the plans."""

    def __init__(self, costs: dict[str, float], stop_after: int | None = None) -> None:
        self.costs = costs
        self.scored: list[frozenset[str]] = []
        self.stop_after = stop_after

    def __call__(self, fp32_weights: Collection[str]) -> PlanScore:
        if self.stop_after is not None and len(self.scored) >= self.stop_after:
            raise KeyboardInterrupt
        self.scored.append(frozenset(fp32_weights))
        distance = sum(cost for name, cost in self.costs.items() if name not in fp32_weights)
        return PlanScore(10 * distance, distance)


def test_fewest_layers_within_the_limits_stay_fp32(tmp_path: Path) -> None:
    plan = search_mixed_precision(
        list(COSTS), AdditiveScorer(COSTS), tmp_path / "scores.json", limits=PlanLimits(1.0, 0.05)
    )
    assert set(plan.fp32_weights) == {"b", "d"}
    assert plan.passed
    assert plan.complete
    assert plan.score.distance == pytest.approx(0.03)
    assert plan.all_int8.distance == pytest.approx(0.41)
    assert plan.fp32_weights["b"] == (
        "kept in fp32: this layer alone changes the distance to fp32 from 0.4100 to 0.1100 standard deviations"
    )


def test_each_layer_is_scored_alone_in_int8_and_in_fp32(tmp_path: Path) -> None:
    plan = search_mixed_precision(list(COSTS), AdditiveScorer(COSTS), tmp_path / "scores.json")
    assert [layer.weight for layer in plan.layers] == list(COSTS)
    for layer in plan.layers:
        assert layer.only_int8 is not None
        assert layer.only_fp32 is not None
        assert layer.only_int8.distance == pytest.approx(COSTS[layer.weight])
        assert layer.only_fp32.distance == pytest.approx(0.41 - COSTS[layer.weight])


def test_no_layer_stays_fp32_if_all_int8_passes(tmp_path: Path) -> None:
    plan = search_mixed_precision(["a", "c"], AdditiveScorer({"a": 0.01, "c": 0.0}), tmp_path / "scores.json")
    assert (plan.fp32_weights, plan.passed) == ({}, True)


def test_layer_that_became_unneeded_returns_to_int8(tmp_path: Path) -> None:
    # "a" alone helps most, but with "b" and "c" in FP32 it is not needed.
    def scorer(fp32_weights: Collection[str]) -> PlanScore:
        costs = {"a": 0.05, "b": 0.04, "c": 0.04}
        distance = sum(cost for name, cost in costs.items() if name not in fp32_weights)
        return PlanScore(0.0, 0.05 if {"b", "c"} <= set(fp32_weights) else distance + 0.02)

    plan = search_mixed_precision(["a", "b", "c"], scorer, tmp_path / "scores.json", limits=PlanLimits(1.0, 0.052))
    assert set(plan.fp32_weights) == {"b", "c"}


def test_zero_budget_scores_only_all_int8_and_all_fp32(tmp_path: Path) -> None:
    scorer = AdditiveScorer(COSTS)
    plan = search_mixed_precision(list(COSTS), scorer, tmp_path / "scores.json", budget=0.0)
    assert (set(plan.fp32_weights), plan.passed, plan.complete) == (set(COSTS), True, False)
    assert len(scorer.scored) == 2
    assert plan.layers[0].only_int8 is None


def test_interrupted_search_resumes_and_ends_the_same(tmp_path: Path) -> None:
    first, second, uninterrupted = AdditiveScorer(COSTS, stop_after=5), AdditiveScorer(COSTS), AdditiveScorer(COSTS)
    with pytest.raises(KeyboardInterrupt):
        search_mixed_precision(list(COSTS), first, tmp_path / "scores.json")
    saved = json.loads((tmp_path / "scores.json").read_text())
    assert len(saved["scores"]) == 5
    assert set(saved["best"]) == set(COSTS) - {"a"}
    plan = search_mixed_precision(list(COSTS), second, tmp_path / "scores.json")
    assert plan == search_mixed_precision(list(COSTS), uninterrupted, tmp_path / "uninterrupted.json")
    assert not set(first.scored) & set(second.scored)
    assert len(first.scored) + len(second.scored) == len(uninterrupted.scored)


def test_empty_search_and_damaged_file_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nothing to search"):
        search_mixed_precision([], AdditiveScorer({}), tmp_path / "scores.json")
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(CalibrationError, match="Delete it to start the search again"):
        search_mixed_precision(["a"], AdditiveScorer({"a": 0}), tmp_path / "scores.json")
