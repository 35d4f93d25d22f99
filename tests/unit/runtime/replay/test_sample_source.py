from __future__ import annotations

import itertools
import math
from typing import Any, Iterator

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.samples import Sample
from edge_msa_runtime.replay.items import Control, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.sample_source import Pace, find_place, play_samples, split_sample


def sample(name: str = "one", audio: int = 20, vision: int = 10, text: str | None = None, **more: Any) -> Sample:
    frames = {"audio": np.arange(audio * 2.0).reshape(-1, 2), "vision": np.arange(vision * 3.0).reshape(-1, 3)}
    return Sample(name, "", {key: rows for key, rows in frames.items() if len(rows)}, text=text, **more)


NAMES = ("audio", "vision")


def joined(items: list[Item], name: str) -> Any:
    return np.concatenate([item.frames for item in items if isinstance(item, FrameChunk) and item.modality == name])


def play(samples: list[Sample], pace: Pace, names: Any = NAMES) -> tuple[Iterator[Item], list[tuple[str, str]]]:
    errors: list[tuple[str, str]] = []
    return play_samples(lambda: iter(samples), names, pace, lambda *error: errors.append(error)), errors


def test_chunks_have_all_frames_in_the_order_in_which_they_are_due() -> None:
    one = sample()
    items, length = split_sample(one, NAMES, Pace({"audio": 10.0}, chunk=0.5), 100.0)
    assert length == 2.0
    dues = [item.due or 0 for item in items]
    assert dues == sorted(dues)
    assert max(dues) < 102.0
    for name in NAMES:
        np.testing.assert_array_equal(joined(items, name), one.frames[name])
    vision = [item for item in items if isinstance(item, FrameChunk) and item.modality == "vision"]
    assert [item.timestamp for item in vision] == pytest.approx([100, 100.4, 100.8, 101.2, 101.6])
    assert {item.period for item in vision} == {0.2}


def test_a_mask_is_split_as_its_frames() -> None:
    mask = np.arange(20) % 3 > 0
    one = sample(valid={"audio": mask})
    items, _ = split_sample(one, NAMES, Pace({"audio": 10.0}), 0)
    masks = [item.valid for item in items if isinstance(item, FrameChunk) and item.modality == "audio"]
    np.testing.assert_array_equal(np.concatenate(masks), mask)


def test_words_are_spread_over_the_utterance() -> None:
    items, length = split_sample(sample(text="i really love it"), (*NAMES, "text"), Pace({"audio": 10.0}), 0)
    words = [item for item in items if isinstance(item, WordChunk)]
    assert [word for item in words for word in item.words] == ["i", "really", "love", "it"]
    assert [time for item in words for time in item.times or ()] == [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0)]
    assert length == 2.0


def test_without_a_known_rate_the_length_follows_from_words_or_an_assumed_rate() -> None:
    assert split_sample(sample(text="a b c d e"), (*NAMES, "text"), Pace({}), 0)[1] == 2.0
    items, length = split_sample(sample(audio=30), NAMES, Pace({}), 0)
    assert length == 3.0
    periods = {item.modality: item.period for item in items if isinstance(item, FrameChunk)}
    assert periods == pytest.approx({"audio": 0.1, "vision": 0.3})


def test_utterances_end_and_conversations_are_reset() -> None:
    samples = [sample("a$_$0"), sample("a$_$1"), sample("b$_$0"), sample("other")]
    items, _ = play(samples, Pace({"audio": 10.0}, pause=0.5))
    controls = [(item.kind, item.timestamp) for item in items if isinstance(item, Control)]
    assert controls == [
        ("end_utterance", 2.0),
        ("end_utterance", 4.5),
        ("reset", 5.0),
        ("end_utterance", 7.0),
        ("reset", 7.5),
        ("end_utterance", 9.5),
    ]


def test_an_earlier_part_of_a_video_starts_another_conversation() -> None:
    items, _ = play([sample("a$_$2"), sample("a$_$10"), sample("a$_$1")], Pace({"audio": 10.0}))
    kinds = [item.kind for item in items if isinstance(item, Control)]
    assert kinds == ["end_utterance", "end_utterance", "reset", "end_utterance"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("v1$_$3", ("v1", 3.0)),
        ("v1[3]", ("v1", 3.0)),
        ("a[b][12]", ("a", 12.0)),
        ("v1[1.5:4.25]", ("v1", 1.5)),
        ("v1[82_76:90]", ("v1", 82.76)),
        ("v1", None),
        ("v1[b]", None),
        ("[3]", None),
    ],
)
def test_the_place_of_an_id(name: str, place: tuple[str, float] | None) -> None:
    assert find_place(Sample(name, "", {})) == place


def test_the_file_states_the_place_of_a_sample() -> None:
    assert find_place(Sample("v1[3]", "", {}, video="other", position=7.0)) == ("other", 7.0)
    assert find_place(Sample("v1[3]", "", {}, video="other", position=math.nan)) is None
    assert find_place(Sample("other_3", "", {}, video="other")) == ("other", 3.0)


def test_utterances_repeat_until_the_duration() -> None:
    items, _ = play([sample("a$_$0"), sample("a$_$1")], Pace({"audio": 10.0}, pause=0.5, duration=9.0))
    ends = [item.timestamp for item in items if isinstance(item, Control) and item.kind == "end_utterance"]
    assert ends == [2.0, 4.5, 7.0, 9.5]


def test_a_sample_that_cannot_be_played_is_reported_once() -> None:
    bad = Sample("bad", "", {}, error=UsageError("audio.npy is damaged."))
    empty = Sample("empty", "", {})
    items, errors = play([bad, sample(), empty], Pace({"audio": 10.0}, duration=100.0))
    assert len(list(itertools.islice(items, 40))) == 40
    assert errors == [
        ("sample bad", "audio.npy is damaged."),
        ("sample empty", "The sample has no frame and no word that the bundle takes."),
    ]
    with pytest.raises(UsageError, match="No utterance can be played"):
        list(play([bad], Pace({}, duration=100.0))[0])
