"""Texts of more tokens than a bundle takes: what is used, what is reported, and what a stream stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import Session, UsageError, load
from edge_msa_runtime.text.words import MAX_TEXT_CHARACTERS
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime import toy_text

pytestmark = pytest.mark.case("F8")

MakeTextBundle = Callable[[str], Path]
WORDS = [
    "i",
    "love",
    "it",
    "not",
    "hate",
    "the",
    "films",
    "i",
    "love",
    "i",
    "i",
    "hate",
    "it",
    "the",
    "not",
    "love",
    "love",
    "not",
]


@pytest.fixture(params=["table", "encoder"])
def session(request: pytest.FixtureRequest, make_text_bundle: MakeTextBundle) -> Any:
    with load(make_text_bundle(request.param), "onnxruntime") as opened:
        yield opened


def capacity(session: Session) -> int:
    """Return the number of words, of one token each, that the bundle takes."""
    spec = session.manifest.language
    assert spec is not None
    return toy_text.MAX_TOKENS - (2 if spec.text_encoder == "encoder" else 0)


def words(count: int) -> list[str]:
    """Return words of one token each, in an order without a period."""
    generator = np.random.default_rng(count)
    return [str(word) for word in generator.choice(["i", "love", "it", "not", "hate", "the"], count)]


@pytest.mark.parametrize("truncate", ["end", "start"])
def test_a_prediction_says_how_many_tokens_it_dropped(session: Session, truncate: str) -> None:
    room = capacity(session)
    text = words(room + 7)
    used = text[:room] if truncate == "end" else text[-room:]
    prediction = session.predict(text=text, truncate=truncate)
    assert prediction.outputs == pytest.approx(session.predict(text=used).outputs, abs=1e-6)
    dropped = "end" if truncate == "end" else "beginning"
    (warning,) = prediction.warnings
    assert warning.startswith(f"7 of {room + 7} tokens of text were not used: ")
    assert warning.endswith(
        f"the bundle takes {toy_text.MAX_TOKENS} tokens, and the {dropped} of the text was dropped."
    )


def test_windows_use_every_token(session: Session, frames: Callable[..., Any]) -> None:
    room, audio = capacity(session), frames("audio", 6)
    text = words(2 * room + 3)
    parts = [text[:room], text[room : 2 * room], text[2 * room :]]
    outputs = [np.array(session.predict(text=part, audio=audio).outputs) * len(part) for part in parts]
    prediction = session.predict(text=text, audio=audio, truncate="window")
    assert_close_to_scale(prediction.outputs, sum(outputs) / len(text))
    assert (prediction.warnings, prediction.subset) == ((), "la")


@pytest.mark.parametrize("truncate", ["end", "start", "window"])
def test_a_text_that_fits_is_used_completely(session: Session, truncate: str) -> None:
    text = words(capacity(session))
    prediction = session.predict(text=text, truncate=truncate)
    assert prediction.warnings == ()
    assert prediction.outputs == session.predict(text=text).outputs
    with pytest.raises(UsageError, match="text has no tokens"):
        session.predict(text=" ", truncate=truncate)


def test_tokens_are_counted_beyond_the_maximum(session: Session) -> None:
    special = toy_text.MAX_TOKENS - capacity(session)
    assert session.count_tokens(" ".join(words(500))) == 500 + special
    assert session.count_tokens("") == 0


def test_an_unknown_truncation_is_refused(session: Session, shared_bundle: Path) -> None:
    for call in (lambda: session.predict(text="i", truncate="middle"), lambda: session.create_stream(truncate="")):
        with pytest.raises(UsageError, match="truncate must be one of end, start, window, got"):
            call()
    with load(shared_bundle, "onnxruntime") as other:
        with pytest.raises(UsageError, match="This bundle does not accept text"):
            other.predict(audio=np.zeros((3, 2), "f4"), truncate="window")
        with pytest.raises(UsageError, match="This bundle does not accept text"):
            other.create_stream(truncate="start")


def test_a_text_of_megabytes_is_refused_before_it_is_tokenized(session: Session) -> None:
    for text in ("i " * MAX_TEXT_CHARACTERS, ["i" * 1000] * 1001):
        with pytest.raises(UsageError, match="text must have at most 1000000 characters, got"):
            session.predict(text=text)
        with pytest.raises(UsageError, match="text must have at most 1000000 characters, got"):
            session.create_stream().push_text(text)


@pytest.mark.parametrize("truncate", ["end", "start", "window"])
def test_a_stream_equals_a_prediction_at_every_length(session: Session, truncate: str) -> None:
    text = words(60)
    stream = session.create_stream(truncate=truncate)
    for count in range(1, len(text) + 1):
        stream.push_text(text[count - 1])
        if count % 7 == 0:
            whole = session.predict(text=text[:count], truncate="end" if truncate == "end" else "start")
            prediction = stream.predict()
            assert_close_to_scale(prediction.outputs, whole.outputs)
            assert len(stream.words) == min(count, capacity(session))
            unused = max(0, count - capacity(session))
            assert bool(prediction.warnings) == bool(unused)
            if unused:
                expected = f"{unused} of {count} tokens of text ({unused} of {count} words) were not used"
                assert prediction.warnings[0].startswith(expected)
    stream.predict()
    used = [word.text for word in stream.words]
    assert used == (text[: len(used)] if truncate == "end" else text[-len(used) :])


@pytest.mark.parametrize("truncate", ["end", "start"])
@pytest.mark.parametrize("word", ["love", "\x00", "a" * 200])
def test_the_memory_of_a_stream_is_bounded(session: Session, truncate: str, word: str) -> None:
    stream = session.create_stream(truncate=truncate)
    for _ in range(20):
        stream.push_text(["love", *[word] * 500])
    assert stream.predict().subset == "l"
    channel = stream._channels["language"]
    text = channel.encoding.text
    assert text is not None
    assert channel.held == 0
    # Nothing else in a stream grows with the number of words.
    assert len(text._kept) <= 3 * toy_text.MAX_TOKENS
    assert sum(len(ids) for _, ids in text._kept) <= 3 * toy_text.MAX_TOKENS
