"""The Pareto set, what the default is compared by, and the answer."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edge_msa.search.answer import answer, candidates
from edge_msa.search.page import render
from edge_msa.search.points import Point, pareto_set, words_of
from edge_msa.search.record import SearchRecord
from edge_msa.search.table import format_search


def point(number: int, error: float, ratio: float, size: int = 1000, *, precision: str = "int8") -> Point:
    return Point(
        number,
        {"width": 8, "precision": precision},
        default=False,
        error=error,
        ratio=ratio,
        size_bytes=size,
        p50_ms=ratio / 10,
    )


def default(number: int, error: float, ratio: float, precision: str = "fp32") -> Point:
    return dataclasses.replace(point(number, error, ratio, 2000, precision=precision), default=True)


def record(points: Sequence[Point], **changes: object) -> SearchRecord:
    made = SearchRecord("data", "laptop-x86", "openvino", "MAE", "lav", tuple(points))
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def test_the_pareto_set_is_what_brute_force_finds() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.integers(1, 6, (40, 3)).tolist()
    points = [point(number, error / 10, ratio / 10, size) for number, (error, ratio, size) in enumerate(drawn)]
    expected = {
        one.number
        for one in points
        if not any(np.all(np.less_equal(o.costs, one.costs)) and o.costs != one.costs for o in points)
    }
    found = pareto_set(points)
    assert {item.number for item in found} == expected
    assert all(a.costs[1] <= b.costs[1] for a, b in itertools.pairwise(found))


def test_a_failed_trial_is_on_no_front_and_is_told() -> None:
    failed = Point(1, {"width": 8, "precision": "int8"}, default=False, reason="the loss diverged")
    made = record([default(0, 1.0, 1.0), failed])
    assert [item.number for item in made.pareto] == [0]
    assert "trial 1 (width 8, int8) failed: the loss diverged" in format_search(made)
    with pytest.raises(ValueError, match="trial 1 was not measured"):
        _ = failed.costs


@pytest.mark.parametrize(("int8", "chosen"), [(0.95, 0), (0.89, 1)])
def test_the_default_is_the_precision_that_saves_enough(int8: float, chosen: int) -> None:
    made = record([default(0, 1.0, 1.0), default(1, 1.0, int8, "int8")])
    assert made.baseline is not None
    assert made.baseline.number == chosen


def test_a_faster_point_that_is_as_accurate_is_the_answer() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 0.99, 0.8), point(2, 0.98, 0.81), point(3, 1.2, 0.5)])
    found = answer(made)
    assert (found.found, found.exact, found.share) == (1, True, 0.8)
    assert found.text.startswith("Yes: trial 1 (width 8, int8) takes 80% of the default recipe's latency")


def test_the_last_measurement_decides_where_there_is_one() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 0.99, 0.7)], final_ms={0: 0.1, 1: 0.09})
    assert answer(made).found is None


def test_within_the_spread_counts_and_is_said() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 1.01, 0.7)], errors={0: [1.0, 1.04, 0.96], 1: [1.01, 1.02, 1.03]})
    found = answer(made)
    assert (found.found, found.exact) == (1, False)
    assert "within the seeds' spread of the default's 1.0000" in found.text


def test_a_point_that_was_lucky_at_its_seed_is_not_the_answer() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 0.99, 0.7)], errors={0: [1.0, 1.0, 1.0], 1: [0.99, 1.2, 1.2]})
    found = answer(made)
    assert found.found is None
    assert "Trial 1 did at its own seed, and has 1.1300 over all" in found.text


def test_a_candidate_that_was_not_trained_over_all_seeds_is_not_the_answer() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 0.99, 0.7)], errors={0: [1.0, 1.0, 1.0]})
    assert [item.number for item in candidates(made)] == [1]
    assert answer(made).found is None


def test_no_answer_says_how_near_it_came() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 1.2, 0.5), point(2, 1.1, 0.75)])
    text = answer(made).text
    assert text.startswith("No: of 3 trials none takes at most 80% of the default recipe's latency")
    assert text.endswith("The nearest, trial 2, has 1.1000 at 75%.")


def test_without_a_default_there_is_nothing_to_compare_with() -> None:
    failed = Point(0, {"precision": "fp32"}, default=True, reason="the loss diverged")
    made = record([failed, point(1, 1.0, 1.0)])
    assert "nothing to compare with" in answer(made).text
    assert "the loss diverged" in answer(made).text
    assert "<h2" in render(made)


def test_a_record_goes_through_json() -> None:
    made = record([default(0, 1.0, 1.0), point(1, 0.9, 0.5)], bundles={1: "b"}, final_ms={1: 0.1}, errors={0: [1.0]})
    value = json.loads(json.dumps(made.to_json()))
    assert value["pareto"] == [1]
    again = SearchRecord.from_json(value)
    assert again.to_json() == made.to_json()


def test_the_page_is_whole_offline_and_escaped(tmp_path: Path) -> None:
    points = [default(0, 1.0, 1.0), point(1, 0.99, 0.8), Point(2, {"precision": "int8"}, default=False, reason="<b>")]
    page = render(record(points, bundles={1: str(tmp_path)}, facts={"machine": "a & b"}))
    assert page.count("<svg") == 1
    assert "the test split was not read" in page
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_what_was_tried_is_told_with_the_precision_last() -> None:
    assert words_of({"precision": "int8", "width": 8, "rate": 0.00123456}) == "width 8, rate 0.001235, int8"
