from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import InferenceError, UsageError, load
from edge_msa_runtime.text.words import Word, join, join_words
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime import toy_text

MakeTextBundle = Callable[[str], Path]


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_any_chunking_between_words_gives_the_same_prediction(
    make_text_bundle: MakeTextBundle, text_encoder: str
) -> None:
    text = "i love the films ! not it"
    with load(make_text_bundle(text_encoder)) as session:
        whole = session.predict(text=text).score
        for chunks in ([text], text.split(), ["i love", "", "the films !", "not it"]):
            stream = session.create_stream()
            for chunk in chunks:
                stream.push_text(chunk)
                if text_encoder == "encoder" and chunk:
                    stream.predict()  # must not change later predictions
            assert_close_to_scale(stream.predict().score, whole)
            assert [word.text for word in stream.words] == text.split()


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_a_stream_has_the_words_that_it_used_with_times(make_text_bundle: MakeTextBundle, text_encoder: str) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        stream = session.create_stream()
        stream.push_text(["i", "love"], times=[(0.1, 0.3), (0.3, 0.6)])
        stream.push_text("it", timestamp=0.9)
        stream.push_text("! " * 12, times=[(second, second + 1.0) for second in range(1, 13)])
        stream.predict()
        max_words = toy_text.MAX_TOKENS - (2 if text_encoder == "encoder" else 0)
        assert stream.words[:4] == (Word("i", 0.1, 0.3), Word("love", 0.3, 0.6), Word("it"), Word("!", 1.0, 2.0))
        assert len(stream.words) == max_words
        stream.push_text("love", timestamp=13.0)
        stream.predict()
        used = " ".join(word.text for word in stream.words)
        assert_close_to_scale(stream.predict().score, session.predict(text=used).score)
        assert len(stream.words) == max_words
        stream.reset()
        assert stream.words == ()


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_new_words_are_in_the_subset_before_they_are_encoded(
    make_text_bundle: MakeTextBundle, text_encoder: str
) -> None:
    with load(make_text_bundle(text_encoder)) as session:
        stream = session.create_stream()
        stream.push_text("i love")
        assert stream.subset == stream.predict().subset == "l"
        stream.forget("language")
        assert stream.subset == ""


@pytest.mark.parametrize("text", ["", []])
def test_an_empty_push_of_words_changes_nothing(make_text_bundle: MakeTextBundle, text: Any) -> None:
    with load(make_text_bundle("encoder")) as session:
        stream = session.create_stream()
        stream.push_text(text, times=[])
        assert (stream.words, stream.subset) == ((), "")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"text": "i love", "times": [(0, 1)]}, r"must have one \(start, end\) per word, got 1 for 2 words"),
        ({"text": ["i"], "times": [(1.0, 0.5)]}, r"start <= end, got \(1, 0\.5\) for 'i'"),
        ({"text": ["i"], "times": [(float("nan"), 1)]}, "times must be finite"),
        ({"text": ["i"], "times": 3}, r"times must be a list of \(start, end\)"),
        ({"text": ["i"], "times": [("a", "b")]}, r"times must be a list of \(start, end\)"),
        ({"text": ["i"], "times": [(-0.1, 0.5)]}, r"0 <= start <= end, got \(-0\.1, 0\.5\) for 'i'"),
        ({"text": ["i"], "times": [(0, 1)], "timestamp": 1.0}, "Pass times or timestamp, not both"),
        ({"text": "i"}, "Earlier pushes of this stream have timestamps, but this one has none"),
        ({"text": "i", "timestamp": float("inf")}, "timestamp must be a finite number of seconds"),
        ({"text": "i", "timestamp": 1e6}, r"at most 3600 s after the newest time of the stream, 0\.6 s, got 1000000"),
    ],
)
def test_an_invalid_push_of_words_does_not_change_the_stream(
    make_text_bundle: MakeTextBundle, inputs: dict[str, Any], message: str
) -> None:
    with load(make_text_bundle("table")) as session:
        stream = session.create_stream()
        stream.push_text(["love"], times=[(0.5, 0.6)])
        before = stream.predict().outputs
        with pytest.raises(UsageError, match=message):
            stream.push_text(**inputs)
        assert (stream.predict().outputs, len(stream.words)) == (before, 1)


@pytest.mark.parametrize("failing", ["encode_text", "step_one"])
def test_a_failed_encoding_loses_no_words(
    make_text_bundle: MakeTextBundle, frames: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: Any) -> None:
        raise InferenceError("the backend failed")

    with load(make_text_bundle("encoder"), "onnxruntime") as session:
        stream = session.create_stream()
        stream.push_text("i love")
        stream.push("audio", frames("audio", 4))
        stream.predict()
        stream.push_text("it")
        with monkeypatch.context() as patch:
            patch.setattr(session.graphs, failing, fail)
            for _ in range(2):
                with pytest.raises(InferenceError, match="the backend failed"):
                    stream.predict()
        assert stream.subset == "la"
        prediction = stream.predict()
        assert prediction.subset == "la"
        expected = session.predict(text="i love it", audio=frames("audio", 4))
        assert_close_to_scale(prediction.outputs, expected.outputs)
        assert [word.text for word in stream.words] == ["i", "love", "it"]


def test_words_beyond_the_maximum_are_not_encoded_again(
    make_text_bundle: MakeTextBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load(make_text_bundle("encoder"), "onnxruntime") as session:
        stream = session.create_stream()
        stream.push_text("love " * 4 * toy_text.MAX_TOKENS)
        expected = stream.predict()
        monkeypatch.setattr(session.graphs, "encode_text", None)
        stream.push_text("hate")
        prediction = stream.predict()
        assert prediction.outputs == expected.outputs
        assert "of 41 words) were not used" in prediction.warnings[0]


def test_text_after_language_frames_is_refused(make_text_bundle: MakeTextBundle, frames: Callable[..., Any]) -> None:
    with load(make_text_bundle("table")) as session:
        stream = session.create_stream()
        stream.push("language", frames("language", 2))
        with pytest.raises(UsageError, match="This stream has language frames already"):
            stream.push_text("love")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["i", "love", "it"], "i love it"),
        (["我", "不喜欢", "这部", "Netflix", "电影", "。"], "我不喜欢这部 Netflix 电影。"),
        (["ไม่", "ชอบ"], "ไม่ชอบ"),
        (["한국", "영화"], "한국 영화"),
        (["", "a"], " a"),
        ([], ""),
    ],
)
def test_words_are_joined_as_their_script_does(words: list[str], text: str) -> None:
    assert join(words) == join_words(words) == text


def test_chinese_words_predict_like_their_text(make_text_bundle: MakeTextBundle) -> None:
    with load(make_text_bundle("encoder")) as session:
        stream = session.create_stream()
        stream.push_text(["我", "爱", "film"], times=[(0, 1), (1, 2), (2, 3)])
        assert_close_to_scale(stream.predict().score, session.predict(text="我爱 film").score)
        assert [word.text for word in stream.words] == ["我", "爱", "film"]
