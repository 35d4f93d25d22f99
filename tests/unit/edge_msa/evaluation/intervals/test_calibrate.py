from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.evaluation.intervals import calibrate_intervals, collect_outputs, lose_frames
from edge_msa.evaluation.intervals.calibrate import COVERAGES, EDGES
from edge_msa.evaluation.intervals.quality import StatedIntervals, measure_quality, share_interval
from edge_msa.evaluation.subsets import available_subsets
from edge_msa_runtime.intervals import Intervals, ScoreIntervals
from edge_msa_runtime.modalities import Subset


def _split(count: int, seed: int, *, videos: int | None = None) -> Split:
    """Audio and vision whose frames are the label plus noise. Some samples lack vision."""
    rng = np.random.default_rng(seed)
    labels = np.clip(rng.normal(0, 1.5, size=count), -3, 3).astype(np.float32)
    modalities = {}
    for name, noise in (("audio", 4.0), ("vision", 2.0)):
        valid = np.arange(12) < rng.integers(6, 13, size=(count, 1))
        values = (labels[:, None] + rng.normal(0, noise, size=(count, 12))).astype(np.float32)[..., None]
        modalities[name] = Frames(valid, values=values)
    modalities["vision"].valid[: count // 10] = False
    groups = np.arange(count) if videos is None else rng.integers(videos, size=count)
    return Split(tuple(map(str, range(count))), tuple(groups.astype(str)), labels, modalities)


def _mean(split: Split, subset: Subset) -> FloatArray:
    """Predict the mean of all valid frames."""
    frames = [split.modalities[name] for name in subset.modalities if name in split.modalities]
    total = sum(item.take()[..., 0].sum(axis=1) for item in frames)
    return np.asarray(total / np.maximum(1, sum(item.lengths for item in frames)), np.float32)


def _calibrate(split: Split, difference: float = 0.0) -> Intervals:
    scores = collect_outputs(MOSI, split, _mean)
    assert scores is not None
    predictions = {subset.value: _mean(split.select(rows), subset) for subset, rows in available_subsets(split)}
    other = {name: values + np.float32(difference) for name, values in predictions.items()}
    return calibrate_intervals(scores, split, {("openvino", "fp32"): predictions, ("openvino", "int8"): other})


def _stated(intervals: Intervals, precision: str = "fp32") -> StatedIntervals:
    def count(split: Split) -> dict[str, np.ndarray[tuple[int], np.dtype[np.int64]]]:
        return {name: frames.lengths for name, frames in split.modalities.items()}

    return StatedIntervals(intervals, "openvino", precision, count)


@pytest.fixture(scope="module")
def intervals() -> Intervals:
    return _calibrate(_split(1000, 0))


@pytest.mark.parametrize("lossy", [False, True])
def test_intervals_cover_new_samples_of_every_subset(intervals: Intervals, *, lossy: bool) -> None:
    split = _split(4000, 1)
    if lossy:
        split = lose_frames(split, np.random.default_rng(2))
    for subset, rows in available_subsets(split):
        levels = measure_quality(MOSI, split, rows, _mean(split.select(rows), subset), subset, _stated(intervals))
        for level in levels:
            assert level.observed == pytest.approx(level.coverage, abs=0.035)
            assert level.low < level.observed < level.high
        assert levels == tuple(sorted(levels, key=lambda item: item.width or 0.0))
        assert [item.answered for item in levels] == sorted((item.answered for item in levels), reverse=True)  # type: ignore[type-var]


def test_more_evidence_gives_narrower_intervals(intervals: Intervals) -> None:
    index = COVERAGES.index(0.9)
    widths = [float(row[index] or np.inf) for row in intervals.half_widths["openvino"]["fp32"]["av"]]
    assert widths[0] > widths[2] > widths[-1]
    alone = intervals.half_widths["openvino"]["fp32"]["a"][-1][index]
    assert alone is not None
    assert float(alone) > widths[-1]


def test_half_widths_include_the_errors_of_a_precision() -> None:
    widths = _calibrate(_split(1000, 0), difference=2.0).half_widths["openvino"]
    index = COVERAGES.index(0.9)
    for exact, shifted in zip(widths["fp32"]["av"], widths["int8"]["av"], strict=True):
        assert shifted[index] > exact[index] + 0.5  # type: ignore[operator]


def test_half_widths_with_context_use_the_adjusted_scores_of_samples_with_a_memory() -> None:
    split = _split(1000, 0)
    scores = collect_outputs(MOSI, split, _mean)
    assert scores is not None
    predictions = {subset.value: _mean(split.select(rows), subset) for subset, rows in available_subsets(split)}
    perfect = split.labels - predictions["a"]
    perfect[::2] = 0.0  # these have no earlier utterance
    intervals = calibrate_intervals(scores, split, {("openvino", "fp32"): predictions}, {"a": perfect})
    context = intervals.half_widths_with_context["openvino"]["fp32"]
    assert set(context) == {"a"}
    index = COVERAGES.index(0.9)
    alone = intervals.half_widths["openvino"]["fp32"]["a"][-1][index]
    assert float(context["a"][-1][index] or np.inf) < 0.5 * float(alone or 0)
    rows, stated = np.arange(len(split)), _stated(intervals)
    adjusted = predictions["a"] + perfect
    plain, used = (
        measure_quality(MOSI, split, rows, values, Subset.A, stated, with_context=mask)[COVERAGES.index(0.9)]
        for values, mask in ((predictions["a"], None), (adjusted, perfect != 0))
    )
    assert float(used.width or np.inf) < float(plain.width or 0)
    assert used.observed >= 0.88
    none = calibrate_intervals(scores, split, {("openvino", "fp32"): predictions}, {"a": np.zeros(1000, np.float32)})
    assert not none.half_widths_with_context


def test_few_videos_give_the_whole_scale_for_high_coverages() -> None:
    intervals = _calibrate(_split(200, 0, videos=7))
    assert intervals.videos == 7
    for row in intervals.half_widths["openvino"]["fp32"]["a"]:
        assert all((width is None) == (coverage > 7 / 8) for coverage, width in zip(COVERAGES, row, strict=True))


def test_emotions_and_unlabeled_data_have_no_intervals() -> None:
    split = _split(20, 0)
    assert collect_outputs(EMOTIONS, split, _mean) is None
    unlabeled = dataclasses.replace(split, labels=np.full(20, np.nan, np.float32))
    assert collect_outputs(MOSI, unlabeled, _mean) is None


def test_unlabeled_samples_are_left_out() -> None:
    split = _split(400, 0)
    labels = split.labels.copy()
    labels[::2] = np.nan
    intervals = _calibrate(dataclasses.replace(split, labels=labels))
    widths = [width for row in intervals.half_widths["openvino"]["fp32"]["av"] for width in row]
    assert all(width is None or np.isfinite(width) for width in widths)


def test_the_device_finds_the_same_interval_as_the_evaluation(intervals: Intervals) -> None:
    split = lose_frames(_split(300, 3), np.random.default_rng(0))
    subset = Subset.AV
    scores = np.clip(_mean(split, subset), -3, 3)
    levels = measure_quality(MOSI, split, np.arange(300), scores, subset, _stated(intervals))
    for coverage in (0.5, 0.9):
        device = ScoreIntervals(intervals, "openvino", "fp32", (-3.0, 3.0), coverage=coverage)
        covered = 0
        for row in range(300):
            frames = split.sample(row)
            found = device.interval(
                float(scores[row]), Subset.of(frames).value, {name: len(rows) for name, rows in frames.items()}
            )
            assert found is not None
            covered += found[0] <= split.labels[row] <= found[1]
        level = next(item for item in levels if item.coverage == coverage)
        assert covered / 300 == pytest.approx(level.observed)


def test_bins_have_edges_inside_of_0_to_1(intervals: Intervals) -> None:
    assert intervals.edges == EDGES == tuple(sorted(EDGES))
    assert Intervals.from_json(dataclasses.asdict(intervals), "intervals") == intervals


def test_the_interval_of_a_share_is_wider_if_videos_agree() -> None:
    values = np.arange(100) % 10 > 0
    single, few = share_interval(values, np.arange(100)), share_interval(values, np.arange(100) % 10)
    assert single == pytest.approx((0.826, 0.945), abs=2e-3)  # Wilson
    assert few[1] - few[0] > 2 * (single[1] - single[0])
    low, high = share_interval(np.ones(30, np.bool_), np.arange(30) % 3)
    assert low < 0.5
    assert high == 1.0
