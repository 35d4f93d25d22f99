"""A stream accumulates until somebody makes it forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, UsageError, load
from tests.tolerances import assert_close_to_scale

pytestmark = pytest.mark.case("F32")


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def session(shared_bundle: Path) -> Iterator[Session]:
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


@pytest.fixture(params=["table", "encoder"])
def text_session(request: pytest.FixtureRequest, make_text_bundle: Callable[[str], Path]) -> Iterator[Session]:
    with load(make_text_bundle(request.param), "onnxruntime") as opened:
        yield opened


def test_a_forgotten_modality_is_absent_and_starts_again(session: Session, frames: Callable[..., Any]) -> None:
    stream = session.create_stream()
    stream.push("audio", frames("audio", 40, 1))
    stream.push("vision", frames("vision", 9))
    stream.forget("audio")
    assert stream.subset == stream.predict().subset == "v"
    assert_close_to_scale(stream.predict().outputs, session.predict(vision=frames("vision", 9)).outputs)
    stream.push("audio", frames("audio", 5, 2))
    expected = session.predict(audio=frames("audio", 5, 2), vision=frames("vision", 9))
    assert_close_to_scale(stream.predict().outputs, expected.outputs)
    stream.forget("audio", "vision", "language")
    assert stream.subset == ""
    with pytest.raises(UsageError, match=r"has no valid frame\. Push"):
        stream.predict()


@pytest.mark.parametrize("names", [("sound",), ("audio", "text")])
def test_an_unknown_modality_cannot_be_forgotten(
    session: Session, frames: Callable[..., Any], names: tuple[str, ...]
) -> None:
    stream = session.create_stream()
    stream.push("audio", frames("audio", 3))
    with pytest.raises(UsageError, match=r"forget\(\) needs names of language, audio, vision, got '"):
        stream.forget(*names)
    assert stream.subset == "a"


def test_forgetting_language_forgets_the_words(text_session: Session, frames: Callable[..., Any]) -> None:
    stream = text_session.create_stream(truncate="start")
    stream.push_text(["hate"] * 60, times=[(float(second), second + 0.5) for second in range(60)])
    stream.push("audio", frames("audio", 4), 0.0, period=0.04)
    stream.predict()
    stream.forget("language")
    assert (stream.words, stream.subset) == ((), "a")
    assert stream.predict().warnings == ()
    stream.push_text("love", times=[(1.0, 2.0)])  # times start again
    expected = text_session.predict(text="love", audio=frames("audio", 4))
    assert_close_to_scale(stream.predict().outputs, expected.outputs)
    stream.reset()
    stream.push("language", frames("language", 4))
    assert stream.predict().subset == "l"


def test_a_modality_without_new_frames_is_forgotten(session: Session, frames: Callable[..., Any], clock: Clock) -> None:
    stream = session.create_stream(max_age=2.0, clock=clock)
    stream.push("audio", frames("audio", 4))
    stream.push("vision", frames("vision", 4))
    clock.now += 2.0
    assert stream.subset == "av"  # exactly as old as allowed
    stream.push("audio", frames("audio", 4, 8))
    stream.push("vision", np.zeros((2, 3), "f4"), valid=np.zeros(2, bool))
    clock.now += 0.1
    assert stream.subset == stream.predict().subset == "a"
    whole = np.concatenate([frames("audio", 4), frames("audio", 4, 8)])
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=whole).outputs)
    clock.now += 2.0
    assert stream.subset == ""
    with pytest.raises(UsageError, match=r"has no valid frame from the last 2 s \(max_age\): .* Push"):
        stream.predict()
    stream.push("audio", frames("audio", 4, 9))  # starts again: the frames before the pause do not count
    expected = session.predict(audio=frames("audio", 4, 9))
    assert_close_to_scale(stream.predict().outputs, expected.outputs)


def test_old_words_are_forgotten(text_session: Session, frames: Callable[..., Any], clock: Clock) -> None:
    stream = text_session.create_stream(max_age=5, clock=clock)
    stream.push_text("hate hate")
    clock.now += 3
    stream.push_text("it")  # every word keeps the text alive
    stream.push("audio", frames("audio", 3))
    clock.now += 4
    assert stream.predict().subset == "la"
    stream.push("audio", frames("audio", 3))
    clock.now += 2
    assert (stream.words, stream.predict().subset) == ((), "a")
    stream.push_text("love")
    assert stream.predict().subset == "la"
    assert [word.text for word in stream.words] == ["love"]


def test_a_prediction_names_the_modalities_that_it_used(session: Session, frames: Callable[..., Any]) -> None:
    times = iter([100.0, 100.0, 101.5, 103.5, 103.5])  # the frames become too old while the prediction is computed
    stream = session.create_stream(max_age=2.0, clock=lambda: next(times))
    stream.push("audio", frames("audio", 4))
    assert stream.predict().subset == "a"
    assert stream.subset == ""


def test_a_stream_without_a_maximum_age_never_forgets(
    session: Session, frames: Callable[..., Any], clock: Clock
) -> None:
    stream = session.create_stream(clock=clock)
    stream.push("audio", frames("audio", 4))
    clock.now += 1e9
    assert stream.predict().subset == "a"


@pytest.mark.parametrize("max_age", [0, -1.0, float("nan"), float("inf"), "5"])
def test_the_maximum_age_must_be_positive(session: Session, max_age: Any) -> None:
    with pytest.raises(UsageError, match="max_age must be a positive number of seconds or None, got"):
        session.create_stream(max_age=max_age)
