from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, UsageError, load
from edge_msa_runtime.modalities import MODALITIES

LENGTHS = {"language": 9, "audio": 13, "vision": 7}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def session(request: pytest.FixtureRequest, shared_bundle: Path) -> Iterator[Session]:
    pytest.importorskip(request.param)
    with load(shared_bundle, request.param) as opened:
        yield opened


def _utterance(frames: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(0)
    given = {name: frames(name, LENGTHS[name]) for name in MODALITIES}
    return given, {name: rng.random(LENGTHS[name]) < 0.6 for name in MODALITIES}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 13])
def test_any_chunking_with_masked_frames_inside_gives_the_window_s_prediction(
    session: Session, frames: Callable[..., Any], size: int
) -> None:
    given, valid = _utterance(frames)
    whole = session.predict(**given, valid=valid)
    stream = session.create_stream()
    for start in range(0, max(LENGTHS.values()), size):
        part = {name: values[start : start + size] for name, values in given.items()}
        masks = {name: mask[start : start + size] for name, mask in valid.items()}
        stream.push(**part, valid=masks)
    prediction = stream.predict()
    assert prediction.outputs == pytest.approx(whole.outputs, abs=1e-5)
    assert prediction.subset == whole.subset == "lav"


def test_a_prediction_holds_what_has_come_so_far(session: Session, frames: Callable[..., Any]) -> None:
    given, _ = _utterance(frames)
    stream = session.create_stream()
    stream.push(vision=given["vision"])
    assert stream.predict().outputs == pytest.approx(session.predict(vision=given["vision"]).outputs, abs=1e-5)
    stream.push(language=given["language"])
    both = {name: given[name] for name in ("language", "vision")}
    assert stream.predict().outputs == pytest.approx(session.predict(**both).outputs, abs=1e-5)
    assert stream.subset == "lv"


def test_streams_of_one_session_do_not_meet(session: Session, frames: Callable[..., Any]) -> None:
    given, _ = _utterance(frames)
    one, other = session.create_stream(), session.create_stream()
    for start in range(0, 9, 3):
        one.push(language=given["language"][start : start + 3])
        other.push(language=given["language"][::-1][start : start + 3] + 1, audio=given["audio"][start : start + 3])
        session.predict(**given)
    wanted = session.predict(language=given["language"])
    assert one.predict().outputs == pytest.approx(wanted.outputs, abs=1e-5)
    assert other.predict().outputs != pytest.approx(wanted.outputs, abs=1e-2)


def test_nothing_yet_is_no_prediction(session: Session) -> None:
    stream = session.create_stream()
    stream.push()
    stream.push(language=np.zeros((0, 4), "f4"), audio=np.zeros((2, 2), "f4"), valid={"audio": np.zeros(2, bool)})
    with pytest.raises(UsageError, match="no valid frame yet"):
        stream.predict()
    assert stream.subset == ""


def test_reset_forgets(session: Session, frames: Callable[..., Any]) -> None:
    stream = session.create_stream()
    stream.push(audio=frames("audio", 6))
    stream.reset()
    stream.push(language=frames("language", 6))
    wanted = session.predict(language=frames("language", 6))
    assert stream.predict().outputs == pytest.approx(wanted.outputs, abs=1e-5)


def test_a_push_that_is_refused_leaves_the_stream_as_it_was(session: Session, frames: Callable[..., Any]) -> None:
    stream = session.create_stream()
    stream.push(language=frames("language", 4))
    before = stream.predict().outputs
    with pytest.raises(UsageError, match="audio"):
        stream.push(language=frames("language", 4), audio=np.full((1, 2), np.nan))
    assert stream.predict().outputs == before


def test_thousands_of_single_frames_do_not_drift(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    given = frames("audio", 3000)
    stream = session.create_stream()
    for row in range(3000):
        stream.push(audio=given[row : row + 1])
    assert stream.predict().score == pytest.approx(expected({"audio": given})[0], abs=1e-4)
