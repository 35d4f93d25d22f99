from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, Task
from edge_msa.errors import UsageError
from edge_msa.reporting.explain.removal import nothing_left, predictions_of, removals, without
from edge_msa.reporting.explain.removal_section import picture_lines, removal_table, samples_table, sentences
from edge_msa.reporting.explain.samples import chosen_rows, drawn_rows, words_of
from edge_msa_runtime.modalities import Subset

COUNT = 24


def toy(task: Task = MOSI) -> Split:
    """Sample 0 lacks audio, sample 1 has audio alone; vision is in none."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (COUNT, 4)) if not task.is_score else np.linspace(-3, 3, COUNT)
    valid = {name: np.ones((COUNT, 3), np.bool_) for name in ("language", "audio")}
    valid["audio"][0] = False
    valid["language"][1] = False
    frames = {name: Frames(mask, rng.normal(size=(COUNT, 3, 2)).astype(np.float32)) for name, mask in valid.items()}
    ids = tuple(f"v{row // 3}[{row}]" for row in range(COUNT))
    groups = tuple(f"v{row // 3}" for row in range(COUNT))
    return Split(ids, groups, labels.astype(np.float32), frames, ("one two three",) * COUNT)


def by_letters(split: Split, subset: Subset) -> FloatArray:
    """Language says the label, audio adds 0.5 for those that have it."""
    there = {name: split.modalities[name].valid.any(axis=1) for name in split.modalities}
    score = np.zeros(len(split), np.float32)
    if "language" in subset.modalities:
        score += np.where(there["language"], split.labels, 0)
    if "audio" in subset.modalities:
        score += np.where(there["audio"], np.float32(0.5), 0)
    return score


def test_removal_is_the_difference_of_two_predictions_over_those_that_have_the_modality() -> None:
    split = toy()
    predictions = predictions_of(by_letters, split, MOSI)
    found = {item.modality: item for item in removals(predictions, split)}
    assert list(found) == ["language", "audio"]
    assert found["language"].samples == found["audio"].samples == COUNT - 1
    assert found["audio"].change.value == pytest.approx(0.5)
    assert found["audio"].error == pytest.approx((0.5 * (COUNT - 2) + abs(0.5 - split.labels[1])) / (COUNT - 1))
    seen = split.labels[np.arange(COUNT) != 1]
    assert found["language"].change.value == pytest.approx(np.abs(seen).mean(), rel=1e-5)
    assert found["language"].worse is not None
    before, after = found["language"].error, found["language"].error_without
    assert before is not None
    assert after is not None
    assert found["language"].worse.value == pytest.approx(after - before, abs=1e-5)
    assert found["language"].worse.unit == "groups"


def test_emotions_are_probabilities() -> None:
    split = toy(EMOTIONS)
    logits = np.tile(np.array([-1000.0, 0.0, 2.0, 1000.0], np.float32), (COUNT, 1))
    predictions = predictions_of(lambda _split, _subset: logits, split, EMOTIONS)
    np.testing.assert_allclose(predictions[Subset.L][0], [0, 0.5, 1 / (1 + np.exp(-2)), 1], atol=1e-6)
    table = samples_table(split, np.array([2]), predictions, EMOTIONS)
    assert [row[1] for row in table.rows] == list(EMOTIONS.labels)
    assert table.rows[1][3] == "0.50"


def test_a_sample_that_lacks_a_modality_says_so_and_one_left_with_nothing_is_marked() -> None:
    split = toy()
    table = samples_table(split, np.array([0, 1, 5]), predictions_of(by_letters, split, MOSI), MOSI)
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert "without vision" not in table.header
    assert rows["v0[0]"]["without audio"] == rows["v0[0]"]["audio alone"] == "lacks it"
    assert rows["v0[0]"]["without language"] == "+0.00°"
    assert rows["v1[5]"]["without language"] == rows["v1[5]"]["audio alone"] == "+0.50"
    assert "having seen nothing" in table.notes[0]
    assert not nothing_left(split, without("audio"))[0]
    lines = picture_lines(split, np.array([0]), predictions_of(by_letters, split, MOSI), MOSI)
    assert list(lines[0].predictions) == ["all", "without language"]


def test_sentences_begin_with_the_largest_change_and_tell_noise_from_change() -> None:
    split = toy()
    predictions = predictions_of(by_letters, split, MOSI)
    told = list(sentences(removals(predictions, split), split, MOSI))
    assert told[0].startswith("Without language a prediction moves by")
    assert told[-1] == "The split has no vision."
    still = predictions_of(lambda one, _subset: np.zeros(len(one), np.float32), split, MOSI)
    assert all(
        "cannot tell from no change" in line for line in list(sentences(removals(still, split), split, MOSI))[:2]
    )


def test_without_labels_there_is_no_error_but_a_change() -> None:
    split = toy()
    unlabeled = Split(split.ids, split.groups, np.full(COUNT, np.nan, np.float32), split.modalities)
    constant = {subset: np.full((COUNT, 1), float(len(subset.value)), np.float32) for subset in Subset}
    found = removals(constant, unlabeled)
    assert found[0].worse is None
    assert found[0].change.value == 1
    assert removal_table(found, MOSI).rows[0][3:] == ["-"] * 4


def test_samples_are_those_of_the_ids_or_along_the_labels_without_looking_at_predictions() -> None:
    split = toy()
    rows, how = chosen_rows(split, MOSI, ["v1[5]", "v0[0]", "v1[5]"])
    assert rows.tolist() == [5, 0]
    assert how == "chosen by id"
    rows, how = chosen_rows(split, MOSI, [])
    assert rows.tolist() == [3, 9, 16, 22]  # of rows 2 to 23, which have most modalities
    assert "5, 35, 65, 95 %" in how
    emotions = toy(EMOTIONS)
    rows, _ = chosen_rows(emotions, EMOTIONS, [])
    assert emotions.labels[rows].any(axis=0).all()


def test_an_unknown_sample_is_told_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"no sample 'v1\[55\]' among these 24; the closest id is 'v1\[5\]'"):
        chosen_rows(toy(), MOSI, ["v1[55]"])


def test_few_samples_and_none_labelled_are_shown_too() -> None:
    one = toy().select(np.array([3]))
    assert chosen_rows(one, REGRESSION, [])[0].tolist() == [0]
    bare = Split(one.ids, one.groups, np.full(1, np.nan, np.float32), one.modalities)
    assert chosen_rows(bare, MOSI, [])[0].tolist() == [0]


def test_words_are_placed_only_where_there_is_one_for_each_frame() -> None:
    split = toy()
    assert words_of(split, 2) == ("one", "two", "three")
    assert words_of(split, 1) == ()  # language is missing there


def test_samples_are_drawn_alike_every_time_and_all_where_they_are_few() -> None:
    assert drawn_rows(5, 9).tolist() == [0, 1, 2, 3, 4]
    drawn = drawn_rows(1000, 9)
    assert len(set(drawn.tolist())) == 9
    assert drawn.tolist() == drawn_rows(1000, 9).tolist() == sorted(drawn.tolist())
