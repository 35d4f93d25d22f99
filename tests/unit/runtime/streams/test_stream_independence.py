"""What must not matter: when predictions are made, how frames are cut into chunks, and how sums of times round."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import NothingToPredictError, Prediction, Session, Stream, StreamEvent, UsageError
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.fake_bundles import random_frames

FRAMES = {name: random_frames(name, 60) for name in ("language", "audio", "vision")}
PERIOD = 0.1


def push(stream: Stream, first: int, last: int, name: str = "audio", **options: Any) -> None:
    stream.push(name, FRAMES[name][first:last], first * PERIOD, period=PERIOD, **options)


def predict(stream: Stream) -> Prediction | None:
    try:
        return stream.predict()
    except NothingToPredictError:
        return None


@pytest.mark.parametrize("predicts", [False, True])
@pytest.mark.parametrize("options", [{"max_age": 0.55}, {"max_gap": 0.55}, {"max_age": 0.55, "max_gap": 0.3}])
def test_predictions_do_not_decide_what_is_forgotten(session: Session, options: dict[str, Any], predicts: bool) -> None:
    stream = session.create_stream(lateness=2.0, **options)
    for first in range(0, 60, 10):
        push(stream, first, first + 10)
        if predicts:
            predict(stream)  # vision is older than its limit now, but what comes next is within the lateness
        push(stream, first, first + 10, "vision")
    prediction = stream.end_utterance(5.95)
    assert prediction is not None
    expected = session.predict(audio=FRAMES["audio"], vision=FRAMES["vision"])
    assert_close_to_scale(prediction.outputs, expected.outputs)


def test_a_modality_too_old_is_absent_until_what_is_late_arrives(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(lateness={"vision": 2.5}, max_age=2.0, on_event=events.append)
    for tick in range(30):
        push(stream, tick, tick + 1)
        if tick >= 21:  # 2.1 s late
            push(stream, tick - 21, tick - 20, "vision")
        assert stream.predict().subset == "a"
    prediction = stream.predict()
    assert prediction.subset == "a"
    assert prediction.ages["vision"] == pytest.approx(2.1)
    push(stream, 9, 30, "vision")
    assert_close_to_scale(
        stream.predict().outputs, session.predict(audio=FRAMES["audio"][:30], vision=FRAMES["vision"][:30]).outputs
    )
    assert [event.kind for event in events if event.kind != "gap"] == ["absent", "returned"]


@pytest.mark.parametrize("predicts", [False, True])
def test_an_expiry_says_how_much_was_forgotten(session: Session, predicts: bool) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(max_age=0.5, on_event=events.append)
    push(stream, 0, 7, valid=np.arange(7) != 3)
    if predicts:
        stream.predict()
    push(stream, 20, 25)
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=FRAMES["audio"][20:25]).outputs)
    (event,) = (event for event in events if event.kind == "expired")
    assert (event.count, event.timestamp) == (6, 2.0)
    assert event.message == "6 frames of audio were forgotten: the next one came more than max_age, 0.5 s, after them"


@pytest.mark.parametrize("limit", [{"max_age": 0.3}, {"max_gap": 0.3}, {"window": 0.35}])
def test_a_limit_is_compared_to_a_microsecond(session: Session, limit: dict[str, Any]) -> None:
    stream = session.create_stream(**limit)
    push(stream, 7, 8)
    stream.advance("vision", 1.0)  # 1.0 - 0.7 is more than 0.3 in floats
    assert stream.predict().subset == stream.subset == "a"
    stream.advance("vision", 1.1)
    with pytest.raises(NothingToPredictError, match=r"no valid frame from the last 0\.3"):
        stream.predict()


@pytest.mark.parametrize("base", [0.0, 1764441000.0])
def test_a_moment_may_differ_by_the_last_bit(session: Session, base: float) -> None:
    for count in range(2, 60):
        moment = base + round((count - 1) * 0.04, 2)
        stream = session.create_stream()
        stream.push("audio", np.resize(FRAMES["audio"], (count, 2)), base, period=0.04)
        stream.predict()
        assert stream.predict(moment).ages["audio"] <= 1e-6
        assert session.predict_many([stream] * 1, at=moment)[0] is not None
        assert stream.end_utterance(moment) is not None


def test_a_bound_may_differ_by_the_last_bit(session: Session) -> None:
    stream = session.create_stream()
    stream.advance("audio", 0.1 + 0.2)
    stream.push("audio", FRAMES["audio"][:1], 0.3)
    assert stream.counters["audio"].late == 0


def arrive(session: Session, chunks: list[tuple[int, int]], valid: Any, predicts: bool, **options: Any) -> Any:
    """Return what a stream says of frames, some of which are masked or never come."""
    stream = session.create_stream(**options)
    for first, last in chunks:
        push(stream, first, last, valid=valid[first:last])
        if predicts:
            predict(stream)
    prediction = predict(stream)
    stream.end_utterance()
    counters = stream.counters["audio"]
    if prediction is None:
        return None, counters.missing, counters.used
    outputs = tuple(np.round(np.array(prediction.outputs) * 1e3))
    return (outputs, prediction.masked["audio"]), counters.missing, counters.used


@pytest.mark.parametrize("options", [{}, {"max_age": 0.25}, {"max_age": 0.45}, {"window": 1.0}])
@pytest.mark.parametrize("lateness", [0.0, 2.0])
def test_shares_and_counts_depend_on_the_frames_only(
    session: Session, lateness: float, options: dict[str, Any]
) -> None:
    for seed in range(25):
        rng = np.random.default_rng(seed)
        present, valid = rng.random(20) > 0.25, rng.random(20) > 0.3
        single = [(int(tick), int(tick) + 1) for tick in np.flatnonzero(present)]
        runs: list[tuple[int, int]] = []
        for first, last in single:
            if runs and runs[-1][1] == first and rng.random() < 0.7:
                runs[-1] = runs[-1][0], last
            else:
                runs.append((first, last))
        ways = [(single, False), (single, True), (runs, False), (runs, True)]
        if lateness:
            ways += [(list(rng.permutation(runs)), True), ([*runs, *runs], True), ([*single, *single[::-1]], False)]
        results = [arrive(session, way[0], valid, way[1], lateness=lateness, **options) for way in ways]
        assert all(result == results[0] for result in results), (seed, results)


def test_frames_of_a_window_count_although_no_prediction_was_made(session: Session) -> None:
    for order in ([0, 10, 20], [10, 0, 20]):
        stream = session.create_stream(lateness=2.0, window=0.5)
        for first in order:
            push(stream, first, first + 9)
            stream.predict()
        stream.end_utterance(3.0)
        assert stream.counters["audio"].missing == 2


def test_a_window_keeps_its_frames_besides_those_that_wait(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(window=60.0, max_queue=500, on_event=events.append)
    frames = random_frames("audio", 10_000)
    for second in range(100):
        stream.push("audio", frames[second * 100 : second * 100 + 100], float(second), period=0.01)
        prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, session.predict(audio=frames[-6000:]).outputs)
    assert (events, prediction.warnings, stream.counters["audio"].queued) == ([], (), 6000)


def test_a_window_without_some_of_its_frames_warns(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(window=60.0, max_queue=500, on_event=events.append)
    stream.push("audio", random_frames("audio", 800), 0.0, period=0.01)
    reason = "more than max_queue, 500, waited for a prediction. Predict more often, or create the stream with a larger"
    assert [event.message for event in events] == [f"300 frames of audio were dropped: {reason} max_queue"]
    (warning,) = stream.predict().warnings
    assert warning == f"frames of audio up to 2.99 s were dropped: {reason} max_queue"
    stream.advance("audio", 63.0)
    assert stream.predict().warnings == ()  # they are older than the window now


@pytest.mark.parametrize("starts", [False, True])
def test_a_period_in_milliseconds_is_refused(session: Session, starts: bool) -> None:
    stream = session.create_stream(max_jump=60.0)
    if starts:
        push(stream, 0, 5)
    with pytest.raises(UsageError, match=r"at most 60 s .*, got .*780.* larger max_jump"):
        stream.push("audio", FRAMES["audio"][:40], 0.5 if starts else 0.0, period=20)
    push(stream, 5, 10)
    assert stream.counters["audio"].refused == 40
    assert stream.predict().ages["audio"] == 0.0


@pytest.mark.parametrize("window", [None, 5.0])
def test_a_failed_prediction_far_ahead_changes_nothing(session: Session, window: float | None) -> None:
    stream = session.create_stream(max_gap=None if window else 1.0, window=window)
    with pytest.raises(NothingToPredictError):
        stream.predict(1000.0)
    push(stream, 0, 10)
    with pytest.raises(NothingToPredictError, match=r"last 1 s \(max_gap\): its newest one is from|from the last 5 s"):
        stream.predict(1000.0)
    push(stream, 10, 20)
    moment, first = (5.9, 10) if window else (1.9, 0)
    assert_close_to_scale(stream.predict(moment).outputs, session.predict(audio=FRAMES["audio"][first:20]).outputs)


def test_the_final_prediction_has_what_was_there_when_the_voice_ended(session: Session) -> None:
    options: list[dict[str, Any]] = [{"max_gap": 0.5}, {"max_age": 0.5}]
    for option in options:
        stream = session.create_stream(pause=0.6, **option)
        push(stream, 0, 20)
        push(stream, 0, 5, "vision")
        results = [stream.voice_activity(tick < 20, tick * PERIOD) for tick in range(27)]
        (prediction,) = (result for result in results if result is not None)
        assert_close_to_scale(prediction.outputs, session.predict(audio=FRAMES["audio"][:20]).outputs)


def test_the_end_of_an_utterance_of_absent_modalities_is_an_event(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(max_gap=0.5, on_event=events.append)
    push(stream, 0, 5)
    assert stream.end_utterance(3.0) is None
    assert events[-1].message == "the utterance ended at 3 s without a prediction: all were absent"
    assert stream.end_utterance(4.0) is None
    assert [event.kind for event in events].count("utterance") == 1


def test_times_of_a_clock_from_1970_are_readable(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(on_event=events.append)
    stream.push("audio", FRAMES["audio"][:8], 1764441000.0, period=PERIOD)
    stream.push("audio", FRAMES["audio"][:8], 1764440900.0, period=PERIOD)
    assert "from 1764440900 s came late: the watermark is 1764441000.7 s. Create" in events[-1].message
    with pytest.raises(UsageError, match=r"time of the stream, 1764441000\.7 s, got 1764441000000\. Pass seconds"):
        stream.advance("audio", 1764441000e3)
    stream.predict()
    with pytest.raises(UsageError, match=r"at least 1764441000\.7 s, got 1764441000\.5\."):
        stream.predict(1764441000.5)


@pytest.mark.parametrize("how", ["push", "advance", "end_utterance"])
def test_frames_far_too_late_name_the_wrong_clock(session: Session, how: str) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(on_event=events.append)
    wrong: dict[str, Callable[[], object]] = {
        "push": lambda: stream.push("audio", FRAMES["audio"][:1], 1764441000123.0),
        "advance": lambda: stream.advance("audio", 1764441000123.0),
        "end_utterance": lambda: stream.end_utterance(1764441000123.0),
    }
    wrong[how]()
    stream.push("audio", FRAMES["audio"][:5], 1764441000.123, period=PERIOD)
    assert "1764441000123 s. If the clock of an earlier push or call was wrong, call reset()" in events[-1].message


def test_what_is_no_argument_is_named(session: Session) -> None:
    stream = session.create_stream()
    push(stream, 0, 3)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: stream.forget(["audio"]), r"forget\(\) needs names of .*, got \['audio'\]\. Pass each"),  # type: ignore[arg-type]
        (lambda: session.predict_many(None), r"streams must be a list of streams, got None"),  # type: ignore[arg-type]
        (lambda: session.predict_many(stream), r"streams must be a list of streams, got <Stream"),  # type: ignore[arg-type]
        (lambda: session.create_stream(clock=lambda: "a"), "clock must return a finite number of seconds, got 'a'"),  # type: ignore[arg-type,return-value]
        (lambda: session.create_stream(clock=lambda: float("nan")), "clock must return a finite .*, got nan"),
        (lambda: session.create_stream(context="yes"), "context must be true or false, got 'yes'"),  # type: ignore[arg-type]
    ]
    calls += [
        (lambda active=active: stream.voice_activity(active, 1.0), f"active must be true or false, got {active!r}")  # type: ignore[misc]
        for active in ("no", None, 0.3)
    ]
    for call, message in calls:
        with pytest.raises(UsageError, match=message):
            call()
    assert stream.voice_activity(np.bool_(1), 1.0) is None  # type: ignore[arg-type]


def test_a_clock_that_fails_later_is_named(session: Session) -> None:
    now = [0.0]
    stream = session.create_stream(clock=lambda: now[0])
    stream.push("audio", FRAMES["audio"][:3])
    now[0] = float("nan")
    calls: list[Callable[[], object]] = [
        lambda: stream.push("audio", FRAMES["audio"][:3]),
        lambda: stream.voice_activity(active=True),
        stream.predict,
    ]
    for call in calls:
        with pytest.raises(UsageError, match="clock must return a finite number of seconds, got nan"):
            call()
    now[0] = 1.0
    assert stream.predict().subset == "a"


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 2)), np.zeros(0)])
def test_a_push_of_no_frames_does_nothing(session: Session, empty: Any) -> None:
    stream = session.create_stream()
    stream.push("audio", empty, 1.0, period=PERIOD)
    assert stream.counters["audio"].sent == 0


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ([3], {"timestamp": 3}, r"text must be a string or a list of words, got \[3\]"),
        ("a b", {"times": [3, 4]}, r"times must be a list of \(start, end\) in seconds, got \[3, 4\]"),
        ("a", {"times": "x"}, r"times must be a list of \(start, end\) in seconds, got 'x'"),
        ("a", {"times": [("x", 2)]}, r"times must be a list of \(start, end\) in seconds, got \[\('x', 2\)\]"),
    ],
)
def test_bad_words_and_times_are_shown(text_session: Session, text: Any, options: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        text_session.create_stream().push_text(text, **options)


@pytest.mark.parametrize("from_thread", [False, True])
def test_predictions_end_at_once_when_the_stream_is_closed(session: Session, from_thread: bool) -> None:
    async def count() -> int:
        stream = session.create_stream()
        found = 0
        if from_thread:
            timer = threading.Timer(0.02, stream.close)
            timer.start()
        else:
            asyncio.get_running_loop().call_later(0.02, stream.close)
        async for _ in stream.predictions(every=60.0):
            found += 1
        return found

    assert asyncio.run(asyncio.wait_for(count(), 10)) == 0
