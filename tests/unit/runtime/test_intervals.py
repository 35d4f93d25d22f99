from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Callable

import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.errors import BundleError, UsageError
from edge_msa_runtime.interpretation import ScoreInterpreter
from edge_msa_runtime.intervals import Intervals, ScoreIntervals
from edge_msa_runtime.modalities import MODALITIES, subsets_of
from edge_msa_runtime.prediction import make_prediction
from tests.unit.runtime.fake_bundles import random_frames

MakeBundle = Callable[..., Path]
MOSI = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5), -3.0, 3.0)
FEW, MANY = (1.0, 2.0, None), (0.25, 0.5, 1.0)  # half widths with little and with much evidence


def _table(few: Any = FEW, many: Any = MANY) -> Any:
    return {subset.value: (few, many) for subset in subsets_of(MODALITIES)}


def _intervals(**changes: Any) -> Intervals:
    table = {"onnxruntime": {"fp32": _table()}, "openvino": {"fp32": _table()}}
    typical = {"language": 4.0, "audio": 8.0, "vision": 8.0}
    return dataclasses.replace(Intervals((0.5, 0.8, 0.9), (0.6,), typical, 120, table, {}), **changes)


def _width(subset: str, counts: Any, coverage: float = 0.5, *, with_context: bool = False) -> float | None:
    return _intervals().half_width("openvino", "fp32", subset, counts, coverage, with_context=with_context)


@pytest.fixture(scope="module")
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle(task=MOSI, intervals=_intervals())


def test_the_manifest_keeps_intervals(bundle: Path) -> None:
    intervals = open_bundle(bundle).manifest.intervals
    assert intervals == _intervals()


def test_evidence_is_the_mean_share_of_typical_frames() -> None:
    assert _width("l", {"language": 2}) == 1.0  # .5
    assert _width("l", {"language": 3}) == 0.25  # .75
    assert _width("la", {"language": 1, "audio": 8}) == 0.25  # .625
    assert _width("la", {"language": 400, "audio": 1}) == 1.0  # frames beyond the typical number do not count


def test_the_next_larger_coverage_counts() -> None:
    counts = {"language": 4}
    assert [_width("l", counts, coverage) for coverage in (0.1, 0.5, 0.51, 0.9)] == [0.25, 0.25, 0.5, 1.0]
    assert _width("l", counts, 0.91) is None


def test_context_has_its_own_half_widths_where_the_bundle_has_them() -> None:
    context = {"openvino": {"fp32": _table(many=(0.1, 0.2, 0.3))}}
    intervals = _intervals(half_widths_with_context=context)
    arguments: Any = ("fp32", "l", {"language": 4}, 0.9)
    assert intervals.half_width("openvino", *arguments, with_context=True) == 0.3
    assert intervals.half_width("openvino", *arguments) == 1.0
    assert intervals.half_width("onnxruntime", *arguments, with_context=True) == 1.0
    other: Any = ("openvino", "fp32", "la", {"language": 4, "audio": 8}, 0.9)
    only_language = {"openvino": {"fp32": {"l": context["openvino"]["fp32"]["l"]}}}
    assert _intervals(half_widths_with_context=only_language).half_width(*other, with_context=True) == 1.0


@pytest.mark.parametrize("score", [-3.0, -1.0, 0.0, 2.9])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_an_interval_contains_the_score_and_stays_on_the_scale(score: float, coverage: float) -> None:
    intervals = ScoreIntervals(_intervals(), "openvino", "fp32", (-3.0, 3.0), coverage=coverage)
    interval = intervals.interval(score, "l", {"language": 4})
    assert interval is not None
    assert -3.0 <= interval[0] <= score <= interval[1] <= 3.0


def test_without_support_an_interval_is_the_whole_scale() -> None:
    few = {"language": 1}
    assert ScoreIntervals(_intervals(), "openvino", "fp32", (-3.0, 3.0)).interval(1.0, "l", few) == (-3.0, 3.0)
    assert ScoreIntervals(_intervals(), "openvino", "fp32", (None, None)).interval(1.0, "l", few) is None
    empty = _intervals(half_widths={"openvino": {"fp32": {}}})
    assert ScoreIntervals(empty, "openvino", "fp32", (-1.0, 1.0)).interval(0.5, "l", {"language": 9}) == (-1.0, 1.0)


def test_predictions_have_intervals_at_the_coverage_of_the_session(bundle: Path) -> None:
    frames: dict[str, Any] = {name: random_frames(name, 8) for name in MODALITIES}
    for coverage, width in ((0.5, 0.25), (0.8, 0.5), (0.9, 1.0)):
        with emr.load(bundle, coverage=coverage) as session:
            prediction = session.predict(**frames)
            assert (session.coverage, prediction.interval) == (coverage, _clip(prediction.score, width))
            assert session.predict(language=frames["language"][:2]).interval == _clip(
                session.predict(language=frames["language"][:2]).score, {0.5: 1.0, 0.8: 2.0, 0.9: 6.0}[coverage]
            )


def test_masked_frames_are_no_evidence(bundle: Path) -> None:
    frames = random_frames("language", 8)
    mask = [True, True] + [False] * 6
    with emr.load(bundle, coverage=0.5) as session:
        prediction = session.predict(language=frames, valid={"language": mask})
        assert prediction.interval == _clip(prediction.score, 1.0)


@pytest.mark.parametrize(
    ("score", "label"), [(0.9, "uncertain"), (-0.9, "uncertain"), (1.0, "positive"), (-2.0, "negative")]
)
def test_a_session_that_abstains_is_uncertain_about_the_sign(score: float, label: str) -> None:
    intervals = ScoreIntervals(_intervals(), "openvino", "fp32", (-3.0, 3.0), abstain=True)
    prediction = make_prediction(
        [score],
        ScoreInterpreter(MOSI, intervals),
        subset="l",
        backend="openvino",
        device="CPU",
        precision="fp32",
        latency_ms=1.0,
        counts={"language": 4},
    )
    assert prediction.label == label


@pytest.mark.parametrize("coverage", [0, 1, -0.5, 1.5, math.nan, "0.9", True, None])
def test_a_coverage_outside_of_0_to_1_is_refused(bundle: Path, coverage: Any) -> None:
    with pytest.raises(UsageError, match="coverage must be a number between 0 and 1"):
        emr.load(bundle, coverage=coverage)


def test_abstaining_needs_intervals_and_a_sign(make_bundle: MakeBundle, shared_bundle: Path) -> None:
    with pytest.raises(UsageError, match="abstain needs intervals, which this bundle does not have"):
        emr.load(shared_bundle, abstain=True)
    regression = make_bundle(task=TaskSpec("regression", 1), names=("language",))
    with pytest.raises(
        UsageError, match="abstain needs classes, or scores with a sign, but the task of this bundle is"
    ):
        emr.load(regression, abstain=True)
    with emr.load(shared_bundle) as session:
        assert session.predict(language=random_frames("language", 4)).interval is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverages": []}, "intervals.coverages must not be empty"),
        ({"coverages": [0.5, 0.5, 0.9]}, "intervals.coverages[1] must be greater than 0.5 and less than 1, got 0.5"),
        ({"coverages": [0.5, 0.8, 1.0]}, "intervals.coverages[2] must be greater than 0.8 and less than 1, got 1.0"),
        ({"coverages": [0.5, 0.8, math.nan]}, "intervals.coverages[2] must be a finite number, got nan"),
        ({"edges": [True]}, "intervals.edges[0] must be a finite number, got true"),
        ({"edges": [-0.1]}, "intervals.edges[0] must be greater than 0 and less than 1, got -0.1"),
        ({"typical_frames": {"smell": 1.0}}, "intervals.typical_frames.smell must be one of language, audio, vision"),
        ({"typical_frames": {"audio": 0}}, "intervals.typical_frames.audio must be a positive number, got 0"),
        ({"typical_frames": {"audio": math.inf}}, "intervals.typical_frames.audio must be a positive number, got inf"),
        ({"typical_frames": {"audio": 8}}, "intervals.half_widths.onnxruntime.fp32.l needs typical_frames of language"),
        ({"videos": 2.5}, "intervals.videos must be an integer, got 2.5"),
        ({"videos": -1}, "intervals.videos must be at least 0, got -1"),
        ({"half_widths": []}, "intervals.half_widths must be an object, got []"),
        ({"half_widths": {"openvino": 3}}, "intervals.half_widths.openvino must be an object, got 3"),
        ({"half_widths": {"openvino": {"fp32": {"x": []}}}}, "intervals.half_widths.openvino.fp32.x must be the name"),
        ({"l": [FEW]}, "intervals.half_widths.openvino.fp32.l must be an array of 2 bins, got [[1.0, 2.0, None]]"),
        ({"l": [FEW, MANY[:2]]}, "intervals.half_widths.openvino.fp32.l[1] must be an array of 3 half widths"),
        ({"l": [FEW, (2.0, 1.0, 1.0)]}, "fp32.l[1] must have ascending half widths, or null, got 1.0"),
        ({"l": [FEW, (2.0, None, 3.0)]}, "fp32.l[1] must have ascending half widths, or null, got 3.0"),
        ({"l": [FEW, (-1.0, 1.0, 1.0)]}, "fp32.l[1] must have ascending half widths, or null, got -1.0"),
        ({"l": [FEW, (1.0, math.nan, 3.0)]}, "fp32.l[1] must have ascending half widths, or null, got nan"),
        ({"l": [FEW, (1.0, math.inf, math.inf)]}, "fp32.l[1] must have finite half widths, or null, got inf"),
        ({"l": [FEW, ("1", 2.0, 3.0)]}, "fp32.l[1] must have ascending half widths, or null, got '1'"),
        ({"l": [FEW, (True, 2.0, 3.0)]}, "fp32.l[1] must have ascending half widths, or null, got True"),
        ({"surprise": 1}, "intervals.surprise is not a known field"),
    ],
)
def test_invalid_intervals_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    value = json.loads(json.dumps(dataclasses.asdict(_intervals())))
    if "l" in changes:
        changes = {"half_widths": {"openvino": {"fp32": {"l": json.loads(json.dumps(changes["l"]))}}}}
    with pytest.raises(ValueError, match="intervals") as caught:
        Intervals.from_json({**value, **changes}, "intervals")
    assert message in str(caught.value)


def test_a_bundle_whose_intervals_do_not_fit_is_refused(make_bundle: MakeBundle, seal: Callable[..., None]) -> None:
    language = make_bundle(names=("language",))
    seal(language, {"intervals": dataclasses.asdict(_intervals())})
    with pytest.raises(BundleError, match=r"intervals\.typical_frames must not have audio, vision, which modalities"):
        open_bundle(language)
    emotions = make_bundle(task=TaskSpec("emotions", 2, ("happy", "sad")))
    seal(emotions, {"intervals": dataclasses.asdict(_intervals())})
    with pytest.raises(BundleError, match="intervals must be null for emotions"):
        open_bundle(emotions)


def _clip(score: float | None, width: float) -> tuple[float, float]:
    assert score is not None
    return max(-3.0, score - width), min(3.0, score + width)
