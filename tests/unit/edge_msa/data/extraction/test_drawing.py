from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.data.extraction.drawing import draw_segment_splits
from edge_msa.data.extraction.table import LabelTable, Segment
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError

PATH = Path("labels.csv")


def table(*names: tuple[str, str, str]) -> LabelTable:
    """Return a table of segments with a video, a speaker and a split each."""
    segments = [
        Segment(f"{line}.mp4", f"{line}.mp4", line, video=video, speaker=speaker, split=split)  # type: ignore[arg-type]
        for line, (video, speaker, split) in enumerate(names, 2)
    ]
    return LabelTable(tuple(segments), MOSI, has_splits=False, unnamed=())


def splits_of(table: LabelTable, name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for segment in table.segments:
        found.setdefault(getattr(segment, name), set()).add(segment.split)
    return found


def test_a_video_is_in_one_split() -> None:
    drawn = draw_segment_splits(table(*((f"v{clip // 3}", "", "train") for clip in range(60))), PATH, 0)
    splits = splits_of(drawn, "video")
    assert all(len(names) == 1 for names in splits.values())
    assert [sum(names == {split} for names in splits.values()) for split in ("train", "valid", "test")] == [14, 3, 3]
    assert drawn.notes == ("valid and test drawn at random, 15 % of the 20 videos each",)


def test_a_speaker_and_a_video_are_in_one_split() -> None:
    names = [(f"v{clip // 2}", f"s{clip // 2 % 7 if clip % 2 else 10 + clip}", "train") for clip in range(60)]
    drawn = draw_segment_splits(table(*names), PATH, 0)
    for name in ("video", "speaker"):
        assert all(len(splits) == 1 for splits in splits_of(drawn, name).values())
    assert {segment.split for segment in drawn.segments} == {"train", "valid", "test"}


def test_the_seed_decides() -> None:
    names = [(f"v{clip}", "", "train") for clip in range(40)]
    one, two, other = (draw_segment_splits(table(*names), PATH, seed).segments for seed in (1, 1, 2))
    assert one == two != other


def test_stated_splits_stay() -> None:
    names = [("v0", "", "test"), *((f"v{clip}", "", "train") for clip in range(1, 6))]
    drawn = draw_segment_splits(table(*names), PATH, 0)
    assert drawn.segments[0].split == "test"
    assert sorted(segment.split for segment in drawn.segments) == ["test", *["train"] * 4, "valid"]
    full = table(("a", "", "train"), ("b", "", "valid"), ("c", "", "test"))
    assert draw_segment_splits(full, PATH, 0) is full


def test_too_few_videos_are_refused() -> None:
    with pytest.raises(DataError, match=r"at least 3 videos that share nothing .* got 2\. Add a column `split`"):
        draw_segment_splits(table(("a", "", "train"), ("b", "", "train")), PATH, 0)
    with pytest.raises(DataError, match=r"got 1\. Omit the column `speaker` to draw by video only, or add"):
        draw_segment_splits(table(*((video, "host", "train") for video in "abcd")), PATH, 0)
