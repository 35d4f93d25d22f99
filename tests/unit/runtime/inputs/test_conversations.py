from __future__ import annotations

import math

from edge_msa_runtime.inputs.conversations import MAX_CONTEXT, earlier_texts


def test_earlier_texts_are_those_of_the_same_video_in_its_order() -> None:
    texts = ["third", "other", "first", "second"]
    assert earlier_texts(texts, ["a", "b", "a", "a"], [3, 0, 1, 2]) == (("first", "second"), (), (), ("first",))


def test_a_video_without_a_known_order_has_no_earlier_texts() -> None:
    assert earlier_texts(["one", "two"], ["a", "a"], [1, math.nan]) == ((), ())


def test_texts_without_a_word_are_no_context() -> None:
    assert earlier_texts(["one", " ...", "", "two"], ["a"] * 4, [1, 2, 3, 4])[3] == ("one",)


def test_only_the_newest_texts_are_kept() -> None:
    count = MAX_CONTEXT + 2
    texts = [f"text {number}" for number in range(count)]
    assert earlier_texts(texts, ["a"] * count, list(range(count)))[-1] == tuple(texts[1:-1])
