"""Gap frames in streams: one for each run of masked or missing frames between two valid ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, Stream, load
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.fake_bundles import GAP_FRAMES, random_frames, reference_prediction

AUDIO = random_frames("audio", 40)
PERIOD = 0.1
LATENESS = 0.6
_GAP = GAP_FRAMES["audio"][None]


@pytest.fixture(scope="module")
def session(make_bundle: Callable[..., Path]) -> Iterator[Session]:
    """A session of a bundle with gap frames, except for vision."""
    with load(make_bundle(gap_frames=("language", "audio"), batch=4), "onnxruntime") as opened:
        yield opened


def push(stream: Stream, first: int, last: int, **options: Any) -> None:
    stream.push("audio", AUDIO[first:last], first * PERIOD, period=PERIOD, **options)


def expected(*parts: tuple[int, int]) -> Any:
    """The prediction of ranges of frames with a gap frame between two of them."""
    rows: list[Any] = []
    for first, last in parts:
        rows += [_GAP] if rows else []
        rows.append(AUDIO[first:last])
    return reference_prediction({"audio": np.concatenate(rows)})


def test_frames_that_never_came_leave_one_gap_frame(session: Session) -> None:
    stream = session.create_stream()
    push(stream, 3, 7)
    assert_close_to_scale(stream.predict().outputs, expected((3, 7)))
    push(stream, 8, 9)
    assert_close_to_scale(stream.predict().outputs, expected((3, 7), (8, 9)))
    push(stream, 9, 12)
    push(stream, 30, 32)
    prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, expected((3, 7), (8, 12), (30, 32)))
    assert prediction.masked == {"audio": pytest.approx(19 / 29)}
    assert stream.counters["audio"].used == 10


@pytest.mark.parametrize("timed", [True, False])
def test_masked_frames_leave_one_gap_frame(session: Session, timed: bool) -> None:
    stream = session.create_stream()
    valid = np.zeros(40, np.bool_)
    valid[[4, 5, 9, 10, 11, 20]] = True
    for first, last in ((0, 3), (3, 5), (5, 6), (6, 7), (7, 9), (9, 11), (11, 14), (14, 19), (19, 30)):
        times: dict[str, Any] = {"timestamp": first * PERIOD, "period": PERIOD} if timed else {}
        stream.push("audio", AUDIO[first:last], valid=valid[first:last], **times)
        seen = np.flatnonzero(valid[:last])
        if len(seen):
            parts = [(part[0], part[-1] + 1) for part in np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1)]
            assert_close_to_scale(stream.predict().outputs, expected(*parts))
    assert_close_to_scale(stream.predict().outputs, expected((4, 6), (9, 12), (20, 21)))
    assert_close_to_scale(session.predict(audio=AUDIO, valid={"audio": valid}).outputs, stream.predict().outputs)


def test_masked_and_missing_frames_together_are_one_gap(session: Session) -> None:
    stream = session.create_stream()
    push(stream, 0, 6, valid=np.arange(6) < 4)
    push(stream, 8, 12, valid=np.arange(4) > 1)
    assert_close_to_scale(stream.predict().outputs, expected((0, 4), (10, 12)))


@pytest.mark.parametrize("how", ["forget", "reset", "end_utterance", "max_age"])
def test_nothing_is_missing_before_the_first_frame_that_counts(session: Session, how: str) -> None:
    stream = session.create_stream(max_age=1.5)
    push(stream, 0, 6, valid=np.arange(6) < 4)
    stream.predict()
    if how != "max_age":
        getattr(stream, how)(*(["audio"] if how == "forget" else []))
    push(stream, 28, 32, valid=np.arange(4) > 0)
    assert_close_to_scale(stream.predict().outputs, expected((29, 32)))


def test_frames_between_others_that_are_too_old_leave_nothing(session: Session) -> None:
    stream = session.create_stream(max_age=1.0, lateness=LATENESS)
    push(stream, 0, 3)
    push(stream, 4, 6)
    push(stream, 20, 22)
    push(stream, 24, 26)
    assert_close_to_scale(stream.predict().outputs, expected((20, 22), (24, 26)))


def test_a_window_has_gap_frames_too(session: Session) -> None:
    stream = session.create_stream(window=1.0)
    push(stream, 0, 10)
    push(stream, 13, 15)
    push(stream, 17, 20)
    assert_close_to_scale(stream.predict().outputs, expected((13, 15), (17, 20)))


def test_a_late_frame_closes_a_gap(session: Session) -> None:
    stream = session.create_stream(lateness=LATENESS)
    push(stream, 0, 4)
    push(stream, 5, 8)
    assert_close_to_scale(stream.predict().outputs, expected((0, 4), (5, 8)))
    push(stream, 4, 5)
    assert_close_to_scale(stream.predict().outputs, expected((0, 8)))


def test_several_streams_at_once_have_gap_frames(session: Session) -> None:
    streams = [session.create_stream() for _ in range(6)]
    for stream in streams:
        push(stream, 0, 4)
    session.predict_many(streams)
    for number, stream in enumerate(streams):
        push(stream, 4 + number, 12)
    for number, prediction in enumerate(session.predict_many(streams)):
        assert prediction is not None
        assert not isinstance(prediction, Exception)
        parts = ((0, 4), (4 + number, 12)) if number else ((0, 12),)
        assert_close_to_scale(prediction.outputs, expected(*parts))


def test_a_modality_without_a_gap_frame_only_drops_masked_frames(session: Session) -> None:
    frames = random_frames("vision", 9)
    valid = np.arange(9) % 3 > 0
    rows = reference_prediction({"vision": frames[valid]})
    assert_close_to_scale(session.predict(vision=frames, valid={"vision": valid}).outputs, rows)
    stream = session.create_stream()
    stream.push("vision", frames, valid=valid)
    assert_close_to_scale(stream.predict().outputs, rows)
