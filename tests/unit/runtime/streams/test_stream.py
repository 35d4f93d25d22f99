from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, Stream, UsageError, load
from edge_msa_runtime.modalities import MODALITIES
from tests.tolerances import assert_close_to_scale, relative_error

LENGTHS = {"language": 9, "audio": 13, "vision": 7}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def session(request: pytest.FixtureRequest, shared_bundle: Path) -> Iterator[Session]:
    """A session for each backend."""
    pytest.importorskip(request.param)
    with load(shared_bundle, request.param) as opened:
        yield opened


def _utterance(frames: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Frames and masks of all modalities."""
    rng = np.random.default_rng(0)
    inputs = {name: frames(name, LENGTHS[name]) for name in MODALITIES}
    return inputs, {name: rng.random(LENGTHS[name]) < 0.6 for name in MODALITIES}


def _push_all(stream: Stream, inputs: dict[str, Any]) -> None:
    for name, values in inputs.items():
        stream.push(name, values)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 13])
def test_any_chunking_gives_the_prediction_of_the_whole(
    session: Session, frames: Callable[..., Any], size: int
) -> None:
    inputs, valid = _utterance(frames)
    whole = session.predict(**inputs, valid=valid)
    stream = session.create_stream()
    for start in range(0, max(LENGTHS.values()), size):
        for name, values in inputs.items():
            stream.push(name, values[start : start + size], valid=valid[name][start : start + size])
    prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, whole.outputs)
    assert prediction.subset == whole.subset == "lav"


def test_a_prediction_uses_everything_pushed_so_far(session: Session, frames: Callable[..., Any]) -> None:
    inputs, _ = _utterance(frames)
    stream = session.create_stream()
    stream.push("vision", inputs["vision"])
    expected = session.predict(vision=inputs["vision"])
    assert_close_to_scale(stream.predict().outputs, expected.outputs)
    stream.push("language", inputs["language"])
    expected = session.predict(language=inputs["language"], vision=inputs["vision"])
    assert_close_to_scale(stream.predict().outputs, expected.outputs)
    assert stream.subset == "lv"


def test_streams_of_one_session_are_independent(session: Session, frames: Callable[..., Any]) -> None:
    inputs, _ = _utterance(frames)
    first, second = session.create_stream(), session.create_stream()
    for start in range(0, 9, 3):
        chunk = slice(start, start + 3)
        first.push("language", inputs["language"][chunk])
        second.push("language", inputs["language"][::-1][chunk] + 1)
        second.push("audio", inputs["audio"][chunk])
        session.predict(**inputs)
    expected = session.predict(language=inputs["language"])
    assert_close_to_scale(first.predict().outputs, expected.outputs)
    assert relative_error(second.predict().outputs, expected.outputs) > 1e-2


def test_predicting_an_empty_stream_is_a_usage_error(session: Session) -> None:
    stream = session.create_stream()
    stream.push("language", np.zeros((0, 4), "f4"))
    stream.push("audio", np.zeros((2, 2), "f4"), valid=np.zeros(2, bool))
    with pytest.raises(UsageError, match="has no valid frame"):
        stream.predict()
    assert stream.subset == ""


def test_reset_removes_all_frames(session: Session, frames: Callable[..., Any]) -> None:
    stream = session.create_stream()
    stream.push("audio", frames("audio", 6))
    stream.reset()
    stream.push("language", frames("language", 6))
    expected = session.predict(language=frames("language", 6))
    assert_close_to_scale(stream.predict().outputs, expected.outputs)


def test_an_invalid_push_does_not_change_the_stream(session: Session, frames: Callable[..., Any]) -> None:
    stream = session.create_stream()
    stream.push("language", frames("language", 4))
    before = stream.predict().outputs
    with pytest.raises(UsageError, match="audio"):
        stream.push("audio", np.full((1, 2), np.nan))
    assert stream.predict().outputs == before


def test_thousands_of_single_frames_do_not_drift(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    audio = frames("audio", 3000)
    stream = session.create_stream()
    for row in range(3000):
        stream.push("audio", audio[row : row + 1])
    assert stream.predict().score == pytest.approx(expected({"audio": audio})[0], abs=1e-4)


@pytest.mark.case("F15")
def test_a_clipped_push_shows_in_later_predictions_until_reset(session: Session, frames: Callable[..., Any]) -> None:
    inputs, _ = _utterance(frames)
    stream, other = session.create_stream(), session.create_stream()
    _push_all(stream, inputs)
    assert stream.predict().warnings == ()
    stream.push("vision", inputs["vision"] * np.float32(1000))
    for _ in range(8):
        stream.push("vision", inputs["vision"])
        other.push("vision", inputs["vision"])
    assert stream.predict().warnings == ("vision: values far out of the range seen in training were clipped",)
    assert other.predict().warnings == ()
    stream.reset()
    _push_all(stream, inputs)
    assert stream.predict().warnings == ()
