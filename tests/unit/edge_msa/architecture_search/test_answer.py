from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_msa.architecture_search.answer import candidates, find_answer
from edge_msa.architecture_search.trials import TrialResult

if TYPE_CHECKING:
    from tests.unit.edge_msa.architecture_search.conftest import MakeRecord, Trial


def test_a_faster_trial_with_an_equal_error_is_the_answer(trial: Trial, default: Trial, record: MakeRecord) -> None:
    trials = [default(0, 1.0, 1.0), trial(1, 0.99, 0.8), trial(2, 0.98, 0.81), trial(3, 1.2, 0.5)]
    answer = find_answer(record(trials))
    assert (answer.trial, answer.no_worse) == (1, True)
    assert answer.relative_latency == pytest.approx(0.8)
    assert answer.text.startswith("Yes: trial 1 (width 8, int8) takes 80% of the default recipe's latency")


def test_the_final_measurement_decides(trial: Trial, default: Trial, record: MakeRecord) -> None:
    search = record([default(0, 1.0, 1.0), trial(1, 0.99, 0.7)], final_ms={0: 0.1, 1: 0.09})
    assert find_answer(search).trial is None


def test_within_one_standard_deviation_is_equal(trial: Trial, default: Trial, record: MakeRecord) -> None:
    errors = {0: [1.0, 1.04, 0.96], 1: [1.01, 1.02, 1.03]}
    answer = find_answer(record([default(0, 1.0, 1.0), trial(1, 1.01, 0.7)], errors=errors))
    assert (answer.trial, answer.no_worse) == (1, False)
    assert "is within one standard deviation of the default's 1.0000" in answer.text
    assert "which includes 0, so it may be chance. It covers the choice of seeds" in answer.text


@pytest.mark.case("E1")
def test_one_seed_tells_no_recipes_apart(trial: Trial, default: Trial, record: MakeRecord) -> None:
    answer = find_answer(record([default(0, 1.0, 1.0), trial(1, 0.9, 0.7)]))
    assert answer.text.endswith("Both were trained with one seed, so the difference may be chance.")


def test_a_lucky_first_seed_is_not_enough(trial: Trial, default: Trial, record: MakeRecord) -> None:
    errors = {0: [1.0, 1.0, 1.0], 1: [0.99, 1.2, 1.2]}
    answer = find_answer(record([default(0, 1.0, 1.0), trial(1, 0.99, 0.7)], errors=errors))
    assert answer.trial is None
    assert "Trial 1 reached it with its first seed, but its mean over seeds is 1.1300." in answer.text


def test_a_candidate_needs_all_seeds(trial: Trial, default: Trial, record: MakeRecord) -> None:
    search = record([default(0, 1.0, 1.0), trial(1, 0.99, 0.7)], errors={0: [1.0, 1.0, 1.0]})
    assert [item.number for item in candidates(search)] == [1]
    assert find_answer(search).trial is None


def test_a_negative_answer_names_the_closest_trial(trial: Trial, default: Trial, record: MakeRecord) -> None:
    text = find_answer(record([default(0, 1.0, 1.0), trial(1, 1.2, 0.5), trial(2, 1.1, 0.75)])).text
    assert text.startswith("No: none of the 3 trials takes at most 80% of the default recipe's latency")
    assert text.endswith("The closest is trial 2 with 1.1000 at 75% of the latency.")


def test_a_failed_default_allows_no_comparison(trial: Trial, record: MakeRecord) -> None:
    failed = TrialResult(0, {"precision": "fp32"}, is_default=True, failure="the loss diverged")
    text = find_answer(record([failed, trial(1, 1.0, 1.0)])).text
    assert text == "No comparison is possible, because the default recipe failed: the loss diverged"
