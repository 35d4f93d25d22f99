from __future__ import annotations

import pytest

from edge_msa_runtime.wording import format_count, format_part, merge_split_notes


def test_a_noun_and_a_verb_follow_their_number() -> None:
    assert [format_count(count, "value") for count in (0, 1, 2)] == ["0 values", "1 value", "2 values"]
    assert format_part(1, 84, "sample", "has", "have") == "1 of 84 samples has"
    assert format_part(2, 84, "sample", "has", "have") == "2 of 84 samples have"


@pytest.mark.parametrize(
    ("notes", "merged"),
    [
        (
            [f"audio: {count} of 84 samples in {split} are short" for count, split in ((3, "train"), (2, "valid"))],
            ["audio: 3 of 84 samples in train (valid: 2 of 84) are short"],
        ),
        (
            ["audio: 3 values in train were nan", "a scale", "audio: 1 value in valid was nan"],
            ["audio: 3 values in train (valid: 1) were nan", "a scale"],
        ),
        ([f"{split}: no speaker is known" for split in ("train", "valid", "test")],
         ["train, valid and test: no speaker is known"]),
        (["audio: 3 values in train were nan", "vision: 3 values in train were nan"],
         ["audio: 3 values in train were nan", "vision: 3 values in train were nan"]),
        (["4 videos are in both train and test", "4 videos are in both valid and test"],
         ["4 videos are in both train and test", "4 videos are in both valid and test"]),
    ],
)  # fmt: skip
def test_the_same_note_about_several_splits_is_one(notes: list[str], merged: list[str]) -> None:
    assert merge_split_notes(notes) == merged
