"""Bad input, overload, and threads."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import InferenceError, Session, StreamEvent, UsageError, load
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.fake_bundles import random_frames
from tests.unit.runtime.test_threads import run_in_threads

AUDIO = random_frames("audio", 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timestamp": float("nan")}, "timestamp must be a finite number of seconds, at least 0, got nan"),
        ({"timestamp": -0.5}, r"timestamp must be a finite number of seconds, at least 0, got -0\.5"),
        ({"timestamp": float("inf")}, "timestamp must be a finite number of seconds, at least 0, got inf"),
        ({"timestamp": "now"}, "timestamp must be a finite number of seconds, at least 0, got 'now'"),
        ({"timestamp": True}, "timestamp must be a finite number of seconds, at least 0, got True"),
        ({"timestamp": 1e6}, r"at most 3600 s after the newest time of the stream, 0\.3 s, got 1000000"),
        ({"period": 0}, "period must be a positive number of seconds, at most max_jump, 3600, got 0"),
        ({"period": 0.0}, "period must be a positive number of seconds, at most max_jump, 3600, got 0.0"),
        ({"period": float("nan")}, "period must be a positive number of seconds"),
        ({"period": 1e9}, "period must be a positive number of seconds"),
        ({"period": None}, "audio has no frame rate in the bundle"),
        ({"timestamp": None}, "period needs a timestamp"),
        ({"timestamp": None, "period": None}, "Earlier pushes of this stream have timestamps, but this one has none"),
        ({"frames": np.full((3, 2), np.inf)}, "audio must have finite values"),
        ({"frames": np.zeros((3, 5))}, r"audio must be an array of shape \(frames, 2\), got \(3, 5\)"),
        ({"frames": None}, "audio must have real numbers"),
        ({"valid": [True]}, r"The mask of audio must be bool of shape \(3,\)"),
    ],
)
@pytest.mark.parametrize("policy", ["error", "drop"])
def test_a_bad_push_is_counted_and_changes_nothing(
    session: Session, arguments: dict[str, Any], message: str, policy: str
) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(bad_frames=policy, on_event=events.append)
    stream.push("audio", AUDIO[:4], 0.0, period=0.1)
    before = stream.predict()
    bad = {"frames": AUDIO[4:7], "timestamp": 0.4, "period": 0.1, **arguments}
    is_misuse = "Earlier pushes" in message or "needs a timestamp" in message
    if policy == "error" or is_misuse:
        with pytest.raises(UsageError, match=message):
            stream.push("audio", **bad)
    else:
        stream.push("audio", **bad)
    after = stream.predict()
    assert (after.outputs, after.ages) == (before.outputs, before.ages)
    assert [event.kind for event in events] == ["refused"]
    assert stream.counters["audio"].refused == events[0].count == (1 if bad["frames"] is None else 3)


def test_frames_with_bad_values_can_be_masked(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(bad_frames="mask", on_event=events.append)
    frames = AUDIO[:5].copy()
    frames[[1, 3], 0] = np.nan, np.inf
    stream.push("audio", frames, 0.0, period=0.1)
    stream.push("audio", np.zeros((2, 9)), 0.5, period=0.1)
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[[0, 2, 4]]).outputs)
    counters = stream.counters["audio"]
    assert (counters.used, counters.masked, counters.refused) == (3, 2, 2)
    assert [(event.kind, event.count) for event in events] == [("masked", 2), ("refused", 2)]


def test_the_caller_may_reuse_an_array(session: Session) -> None:
    for dtype in ("f4", "f8"):
        stream, buffer = session.create_stream(), np.zeros((5, 2), dtype)
        for start in (0, 5):
            buffer[...] = AUDIO[start : start + 5]
            stream.push("audio", buffer)
        buffer[...] = 0
        assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[:10]).outputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lateness": -1}, "lateness must be a positive number of seconds, 0 for none, got -1"),
        ({"lateness": {"sound": 1}}, "lateness must be for language, audio, vision, got 'sound'"),
        ({"max_gap": 0}, "max_gap must be a positive number of seconds or None, got 0"),
        ({"max_queue": 0}, "max_queue must be a positive number of frames, got 0"),
        ({"max_jump": float("nan")}, "max_jump must be a positive number of seconds, got nan"),
        ({"window": -1.0}, "window must be a positive number of seconds or None"),
        ({"bad_frames": "ignore"}, "bad_frames must be one of error, drop, mask, got 'ignore'"),
        ({"late_frames": None}, "late_frames must be one of drop, error, got None"),
        ({"on_event": 3}, "on_event must be a function, got 3"),
        ({"clock": None}, "clock must be a function, got None"),
    ],
)
def test_an_invalid_option_is_named(session: Session, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        session.create_stream(**options)


def test_lateness_needs_timestamps(session: Session) -> None:
    stream = session.create_stream(lateness=1.0)
    with pytest.raises(UsageError, match="lateness needs timestamps"):
        stream.push("audio", AUDIO[:2])
    stream.push("audio", AUDIO[:2], 0.0, period=0.1)
    assert stream.counters["audio"].sent == 4


def test_a_full_queue_is_encoded_by_the_thread_that_pushes(session: Session) -> None:
    stream = session.create_stream(max_queue=20)
    for start in range(0, 200, 7):
        stream.push("audio", AUDIO[start : start + 7], start * 0.1, period=0.1)
        assert stream.counters["audio"].queued <= 20
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO).outputs)
    assert (stream.counters["audio"].used, stream.counters["audio"].dropped) == (200, 0)
    with pytest.raises(UsageError, match="at must not go back"):
        stream.predict(1.0)


def test_frames_that_cannot_be_encoded_yet_overflow(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(max_queue=20, lateness=100.0, on_event=events.append)
    for start in range(0, 200, 10):
        stream.push("audio", AUDIO[start : start + 10], start * 0.1, period=0.1)
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[180:]).outputs)
    counters = stream.counters["audio"]
    assert (counters.used, counters.overflow, counters.sent) == (20, 180, 200)
    assert {event.kind for event in events} == {"overflow"}


@pytest.mark.parametrize("window", [None, 2.0])
def test_the_memory_of_a_stream_does_not_grow(session: Session, window: float | None) -> None:
    stream = session.create_stream(max_queue=50, window=window, lateness=0.3)
    for step in range(3000):
        stream.push("audio", AUDIO[:2], step * 0.2 + 1 - 0.15 * (step % 2), period=0.1)
    channel: Any = stream._channels["audio"]
    assert channel.held <= 50
    assert len(channel._known.chunks) <= 256
    assert stream.counters["audio"].sent == 6000


def test_an_exception_of_the_callback_is_logged(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: StreamEvent) -> None:
        raise ValueError("no disk space")

    stream = session.create_stream(on_event=fail)
    stream.push("audio", AUDIO[:3], 0.0, period=0.1)
    stream.push("audio", AUDIO[:3], 0.0, period=0.1)
    assert stream.predict().subset == "a"
    assert "on_event failed for: 3 frames of audio" in caplog.text


def test_the_callback_may_use_the_stream(session: Session) -> None:
    found: list[Any] = []
    stream = session.create_stream(on_event=lambda event: found.append((event.kind, stream.counters["audio"].sent)))
    stream.push("audio", AUDIO[:3], 0.0, period=0.1)
    stream.push("audio", AUDIO[:3], 0.0, period=0.1)
    assert found == [("duplicate", 6)]


def test_a_failed_backend_loses_no_frames(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise InferenceError("the backend failed")

    stream = session.create_stream(lateness=0.35)
    stream.push("audio", AUDIO[:5], 0.0, period=0.1)
    stream.push("vision", random_frames("vision", 4), 0.0, period=0.1)
    for method in (stream.predict, stream.end_utterance):
        with monkeypatch.context() as patch:
            patch.setattr(session.graphs, "step_one", fail)
            with pytest.raises(InferenceError, match="the backend failed"):
                method()
        assert stream.counters["audio"].used == 5
    expected = session.predict(audio=AUDIO[:5], vision=random_frames("vision", 4))
    assert_close_to_scale(stream.predict().outputs, expected.outputs)


def test_a_closed_stream_refuses_every_use(session: Session) -> None:
    stream = session.create_stream()
    with stream:
        stream.push("audio", AUDIO[:4], 0.0, period=0.1)
    stream.close()
    for use in (
        lambda: stream.push("audio", AUDIO[:4], 1.0, period=0.1),
        lambda: stream.push("audio", AUDIO[:4]),
        lambda: stream.advance("audio", 2.0),
        lambda: stream.forget("audio"),
        lambda: stream.voice_activity(True, 3.0),
        stream.predict,
        stream.end_utterance,
        stream.reset,
        stream.__enter__,
    ):
        with pytest.raises(UsageError, match=r"This stream is closed\. Create another one"):
            use()
    counters = stream.counters["audio"]
    assert (counters.forgotten, counters.refused, counters.used, counters.sent) == (4, 8, 0, 12)
    assert (stream.subset, stream.words, repr(stream)) == ("", (), "<Stream with no frames, closed>")


def test_closing_while_others_push_is_safe(session: Session) -> None:
    stream = session.create_stream(max_queue=50)
    pushed = [0] * 4

    def work(number: int) -> None:
        if number == 4:
            stream.predict() if stream.subset else None
            stream.close()
            return
        with contextlib.suppress(UsageError):
            while True:
                pushed[number] += 3
                stream.push("audio", AUDIO[:3])

    run_in_threads(work, 5)
    counters = stream.counters["audio"]
    assert counters.sent == sum(pushed)
    assert counters.queued == 0


def test_pushes_do_not_wait_for_a_prediction(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    fuse = session.graphs.fuse

    def wait(states: Any) -> Any:
        entered.set()
        assert go_on.wait(30)
        return fuse(states)

    stream = session.create_stream(max_queue=20)
    stream.push("audio", AUDIO[:5], 0.0, period=0.1)
    monkeypatch.setattr(session.graphs, "fuse", wait)
    outputs: list[Any] = []
    thread = threading.Thread(target=lambda: outputs.append(stream.predict().outputs))
    thread.start()
    assert entered.wait(30)
    for start in range(5, 60, 5):  # more than fits: nobody else can encode them now
        stream.push("audio", AUDIO[start : start + 5], start * 0.1, period=0.1)
    assert stream.counters["audio"].overflow == 35
    stream.close()
    go_on.set()
    thread.join(30)
    assert_close_to_scale(outputs[0], session.predict(audio=AUDIO[:5]).outputs)


def test_threads_that_push_and_predict_lose_nothing(make_text_bundle: Callable[[str], Path]) -> None:
    with load(make_text_bundle("table"), "onnxruntime") as session:
        stream = session.create_stream(lateness=0.5)

        def work(number: int) -> None:
            for step in range(40):
                if number == 0:
                    stream.push("audio", AUDIO[step * 2 : step * 2 + 2], step * 0.2, period=0.1)
                elif number == 1:
                    stream.push_text("love", [(step * 0.2, step * 0.2 + 0.1)])
                elif stream.subset:
                    stream.predict()

        run_in_threads(work, 4)
        expected = session.predict(audio=AUDIO[:80], text="love " * 40)
        assert_close_to_scale(stream.predict().outputs, expected.outputs)
        assert (stream.counters["audio"].used, stream.counters["language"].used) == (80, 40)


def test_reset_starts_the_time_of_a_stream_again(session: Session) -> None:
    stream = session.create_stream()
    stream.push("audio", AUDIO[:4], 100.0, period=0.1)
    stream.predict(200.0)
    stream.push("audio", AUDIO[:4], 201.0, period=0.1)
    stream.reset()
    stream.push("audio", AUDIO[:6])  # now without timestamps
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[:6]).outputs)
    counters = stream.counters["audio"]
    assert (counters.used, counters.forgotten, counters.sent) == (10, 4, 14)


def test_a_callback_runs_without_locks(session: Session) -> None:
    found: list[bool] = []

    def push_elsewhere(_: StreamEvent) -> None:
        thread = threading.Thread(target=lambda: stream.forget("vision"))
        thread.start()
        thread.join(30)
        found.append(not thread.is_alive())

    stream = session.create_stream(pause=0.5, on_event=push_elsewhere)
    stream.push("audio", AUDIO[:3], 0.0, period=0.1)
    stream.push("audio", AUDIO[:3], 0.0, period=0.1)
    stream.voice_activity(active=True, timestamp=0.0)
    assert stream.voice_activity(active=False, timestamp=1.0) is not None
    assert found == [True, True]
