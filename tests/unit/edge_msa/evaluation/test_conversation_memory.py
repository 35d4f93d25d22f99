from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.evaluation.conversation_memory import (
    DECAY,
    PRIOR,
    ContextFit,
    adjust_scores,
    find_context,
    fit_context_head,
    format_context,
    measure_context,
)
from edge_msa.evaluation.evaluate import Evaluation, Source, evaluate
from edge_msa_runtime.conversation import ContextHead, SubsetContext
from edge_msa_runtime.modalities import Subset

HEAD = ContextHead(0.5, 1.0, {"l": SubsetContext(0.0, 1.0, 1.0, 1.0, 2.0, 0.0)}, 10, 2)


def _split(seed: int = 0, *, videos: int = 30, length: int = 8, mood: float = 1.0, ordered: bool = True) -> Split:
    """A split whose labels have a part that belongs to the video. Frames hold noisy labels: audio is noisier."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(videos), length)
    labels = mood * rng.normal(size=videos)[groups] + rng.normal(size=len(groups))
    modalities = {}
    for name, noise in (("language", 1.0), ("audio", 3.0)):
        seen = (labels + noise * rng.normal(size=len(labels))) / (1 + noise**2)
        modalities[name] = Frames(np.ones((len(labels), 1), np.bool_), seen.astype(np.float32)[:, None, None])
    positions = tuple(float(row % length) for row in range(len(groups))) if ordered else ()
    names = tuple(f"v{group}" for group in groups)
    return Split(
        tuple(f"s{row}" for row in range(len(groups))), names, labels.astype(np.float32), modalities, (), positions
    )


def _predict(split: Split, subset: Subset) -> FloatArray:
    """Predict what the modalities have seen."""
    frames = [split.modalities[name].take()[:, 0, 0] for name in subset.modalities]
    return np.asarray(np.mean(frames, axis=0), np.float32)


def _scores(split: Split) -> dict[Subset, tuple[NDArray[np.int64], FloatArray]]:
    rows = np.arange(len(split))
    return {subset: (rows, _predict(split, subset)) for subset in (Subset.L, Subset.A, Subset.LA)}


def _dataset(**splits: Split) -> Dataset:
    return Dataset("toy", MOSI, splits, "digest")  # type: ignore[arg-type]


def _mae(split: Split, scores: FloatArray) -> float:
    return float(np.abs(split.labels - scores).mean())


def test_scores_are_adjusted_in_the_order_of_positions() -> None:
    split = replace(_split(videos=1, length=3), positions=(2.0, 0.0, 1.0))
    adjusted = adjust_scores(HEAD, split, Subset.L, np.arange(3), np.array([0.5, 1.0, -1.0], np.float32))
    # Memory: first utterance (row 1) W = 1, E = 1; second (row 2): W = 1.5, E = 0.5 - 1.
    np.testing.assert_allclose(adjusted, [0.5 + 2 * -0.5 / 2.5, 1.0, -1.0 + 2 * 1.0 / 2.0], rtol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_a_later_utterance_never_changes_an_earlier_score(seed: int) -> None:
    rng, split = np.random.default_rng(seed), _split(seed, videos=3)
    scores = rng.normal(size=len(split)).astype(np.float32)
    moment = rng.integers(1, 8)
    later = np.array([position >= moment for position in split.positions])
    changed = np.where(later, rng.normal(size=len(split)), scores).astype(np.float32)
    rows = np.arange(len(split))
    before, after = (adjust_scores(HEAD, split, Subset.L, rows, values) for values in (scores, changed))
    np.testing.assert_array_equal(before[~later], after[~later])


def test_a_head_is_fitted_if_videos_have_moods_and_helps_on_other_videos() -> None:
    valid, test = _split(0), _split(1)
    fit = fit_context_head(valid, _scores(valid))
    assert fit.note is None
    assert fit.head is not None
    assert (fit.head.decay, fit.head.prior, fit.head.videos, fit.head.utterances) == (DECAY, PRIOR, 30, 240)
    for subset, (rows, values) in _scores(test).items():
        assert _mae(test, adjust_scores(fit.head, test, subset, rows, values)) < _mae(test, values) - 0.01


def test_weaker_modalities_have_less_weight_and_move_more() -> None:
    valid = _split(0, videos=100)
    head = fit_context_head(valid, _scores(valid)).head
    assert head is not None
    assert head.subsets["a"].weight < 0.5 < head.subsets["l"].weight
    assert head.subsets["a"].shift > head.subsets["l"].shift


def test_without_moods_there_is_no_head() -> None:
    valid = _split(5, videos=60, mood=0.0)
    fit = fit_context_head(valid, {Subset.L: _scores(valid)[Subset.L]})
    assert (fit.head, fit.note) == (
        None,
        "no conversation memory: it did not lower MAE on left-out validation videos",
    )


def test_scores_of_left_out_videos_come_from_heads_without_these_videos() -> None:
    valid = _split(0, videos=12)
    fit = fit_context_head(valid, _scores(valid))
    video = np.array([group == "v3" for group in valid.groups])
    changed = replace(valid, labels=np.where(video, -valid.labels, valid.labels))
    other = fit_context_head(changed, _scores(valid))
    np.testing.assert_array_equal(fit.left_out[Subset.L][video], other.left_out[Subset.L][video])
    assert (fit.left_out[Subset.L][~video] != other.left_out[Subset.L][~video]).any()


@pytest.mark.parametrize(
    ("dataset", "note"),
    [
        (_dataset(valid=_split(videos=4)), "it needs 5 validation videos with several utterances"),
        (_dataset(valid=_split(ordered=False)), "does not state the order of utterances"),
        (_dataset(valid=_split(length=1)), "is a video of its own"),
        (_dataset(train=_split()), "toy has no labeled validation split"),
        (replace(_dataset(valid=_split()), task=EMOTIONS), "it needs scores, and the task is emotions"),
    ],
)
def test_data_that_do_not_support_a_head_say_so_in_one_line(dataset: Dataset, note: str) -> None:
    fit = find_context(_predict, dataset)
    assert fit.head is None
    assert fit.note is not None
    assert note in fit.note
    assert "\n" not in fit.note


def test_unlabeled_samples_do_not_prevent_a_head() -> None:
    valid = _split(0)
    labels = np.where(np.arange(len(valid)) % 9 == 0, np.nan, valid.labels).astype(np.float32)
    assert find_context(_predict, _dataset(valid=replace(valid, labels=labels))).head is not None


def test_changes_are_paired_by_video_and_are_the_differences_of_metrics() -> None:
    valid, test = _split(0), _split(1, mood=2.0)
    fit, scores = replace(fit_context_head(valid, _scores(valid)), left_out={}), _scores(test)
    result = measure_context(MOSI, test, scores, fit, ("mae", "acc2_non0"))
    assert result is not None
    assert (result.videos, result.utterances) == (30, 210)
    change = result.changes["l"]["mae"]
    before = _mae(test, scores[Subset.L][1])
    assert change.value == pytest.approx(result.by_subset["l"]["mae"] - before, abs=1e-6)
    assert change.low < change.value < change.high < 0
    assert "change of MAE (95 % interval)" in format_context(result)


def test_an_evaluation_keeps_its_context_in_json() -> None:
    dataset = _dataset(train=_split(2), valid=_split(0), test=_split(1))
    dataset = replace(
        dataset, splits={k: replace(v, labels=np.clip(v.labels, -3, 3)) for k, v in dataset.splits.items()}
    )
    fit = replace(find_context(_predict, dataset), left_out={})
    result, _ = evaluate(_predict, dataset, "test", Source("toy", "run"), context=fit, resamples=0)
    assert result.context is not None
    assert Evaluation.from_json(json.loads(json.dumps(result.to_json()))).context == result.context
    assert [row["available"] for row in result.rows if row["kind"] == "model with context"] == ["l", "a", "la"]
    assert "With the conversation memory: 210 utterances of 30 videos have an earlier one." in str(result)


def test_without_a_head_an_evaluation_has_no_context() -> None:
    split = _split(1)
    assert measure_context(MOSI, split, _scores(split), ContextFit(None), ("mae",)) is None
