from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import edge_msa as em
from edge_msa.data.conversations import order_conversations, why_no_conversations
from edge_msa.data.dataset import Frames, Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.join import join_train_splits
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import MOSI
from edge_msa.data.utterances import build_dataset
from edge_msa.errors import DataError, UsageError

NAN = math.nan


def _split(groups: str, positions: tuple[float, ...]) -> Split:
    count = len(groups)
    frames = Frames(np.ones((count, 1), np.bool_), np.zeros((count, 1, 2), np.float32))
    ids = tuple(f"s{row}" for row in range(count))
    return Split(ids, tuple(groups), np.zeros(count, np.float32), {"audio": frames}, (), positions)


def _orders(split: Split, rows: list[int] | None = None) -> list[list[int]]:
    chosen = None if rows is None else np.array(rows)
    return [members.tolist() for members in order_conversations(split, chosen)]


def test_utterances_of_a_video_are_ordered_by_position() -> None:
    assert _orders(_split("abab", (3, 2, 1, 5))) == [[2, 0], [1, 3]]


def test_utterances_with_the_same_position_keep_the_order_of_the_file() -> None:
    assert _orders(_split("aaa", (1, 0, 1))) == [[1, 0, 2]]


def test_a_video_with_an_unknown_position_has_no_order() -> None:
    assert _orders(_split("abab", (3, 2, NAN, 5))) == [[0], [2], [1, 3]]


def test_only_the_rows_that_count_are_ordered() -> None:
    assert _orders(_split("aaab", (3, 2, NAN, 5)), [0, 1]) == [[1, 0]]


def test_selected_samples_keep_their_positions() -> None:
    assert _split("aba", (3, 2, 1)).select(np.array([2, 0])).positions == (1, 3)


@pytest.mark.parametrize(
    ("groups", "positions", "reason"),
    [
        ("abc", (1, 2, 1), "each sample of the valid split of toy is a video of its own"),
        ("aab", (), "the valid split of toy does not state the order of utterances in their videos"),
        ("aab", (NAN, 1, 2), "the valid split of toy does not state the order of utterances in their videos"),
    ],
)
def test_data_without_order_says_why_in_one_line(groups: str, positions: tuple[float, ...], reason: str) -> None:
    said = why_no_conversations("toy", "valid", _split(groups, positions))
    assert said == f"{reason}: there is no conversation memory"


def test_data_with_order_have_conversations() -> None:
    assert why_no_conversations("toy", "valid", _split("aab", (1, 2, 1))) is None


def _utterances() -> list[em.Utterance]:
    audio = np.ones((2, 3))
    return [
        em.Utterance("x", 1.0, audio=audio, video="a", position=7.5),
        em.Utterance("b[4]", 0.0, audio=audio),
        em.Utterance("c", 0.0, audio=audio),
    ]


def test_an_utterance_has_its_stated_position_or_that_of_its_id() -> None:
    split = build_dataset("toy", MOSI, {"train": _utterances()}).split("train")
    assert split.positions[:2] == (7.5, 4.0)
    assert math.isnan(split.positions[2])


@pytest.mark.parametrize("position", [NAN, math.inf, "first", True])
def test_a_position_that_is_no_finite_number_is_refused(position: object) -> None:
    utterance = em.Utterance("x", 1.0, audio=np.ones((2, 3)), position=position)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="position of 'x' must be a finite number"):
        build_dataset("toy", MOSI, {"train": [utterance]})


def test_an_archive_keeps_positions(tmp_path: Path) -> None:
    write_archive(build_dataset("toy", MOSI, {"train": _utterances()}), tmp_path / "toy.npz")
    np.testing.assert_array_equal(open_dataset(str(tmp_path / "toy.npz")).split("train").positions, [7.5, 4.0, NAN])


def test_an_archive_with_an_infinite_position_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.npz"
    write_archive(build_dataset("toy", MOSI, {"train": _utterances()}), path)
    with np.load(path) as arrays:
        changed = {**arrays, "train/positions": np.array([1.0, np.inf, 2.0])}
    np.savez(path, **changed)
    with pytest.raises(DataError, match=r"Correct these positions, or set them to NaN where they are unknown\."):
        open_dataset(str(path))


@pytest.mark.parametrize(
    ("header", "cells", "positions"),
    [
        ("video_id,clip_id", [("a", "82_7645"), ("a", "4_84")], (82.7645, 4.84)),
        ("video_id,clip_id", [("a", "2"), ("a", "10")], (2.0, 10.0)),
        ("id,video_id,start", [("x", "a", "1.5"), ("y", "a", "0.25")], (1.5, 0.25)),
        ("id", [("v$_$3",), ("v$_$1",)], (3.0, 1.0)),
    ],
)
def test_a_table_of_transcripts_states_the_order(
    tmp_path: Path, header: str, cells: list[tuple[str, ...]], positions: tuple[float, ...]
) -> None:
    rows = "".join(f"{','.join(row)},hello,1.0\n" for row in cells)
    (tmp_path / "texts.csv").write_text(f"{header},text,label\n{rows}", encoding="utf-8")
    assert open_dataset(str(tmp_path / "texts.csv"), task=MOSI).split("train").positions == positions


def test_joined_training_data_keep_positions() -> None:
    one, other = (build_dataset("toy", MOSI, {"train": _utterances()[:count]}) for count in (1, 2))
    assert join_train_splits(one, [other]).split("train").positions == (7.5, 7.5, 4.0)
