"""Event time: watermarks, bounds, gaps, absence, utterances and windows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import Prediction, Session, Stream, StreamEvent, UsageError, load
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime.fake_bundles import random_frames, seal

AUDIO, VISION = random_frames("audio", 60), random_frames("vision", 30)
PERIOD = 0.1


def push(stream: Stream, first: int, last: int, name: str = "audio", **options: Any) -> None:
    frames = {"audio": AUDIO, "vision": VISION}[name]
    stream.push(name, frames[first:last], first * PERIOD, period=PERIOD, **options)


def kinds(events: list[StreamEvent]) -> list[tuple[str, str, int]]:
    return [(event.kind, event.modality, event.count) for event in events]


def test_the_period_is_that_of_the_features_in_training(make_bundle: Callable[..., Path]) -> None:
    folder = make_bundle()
    with load(folder) as session, pytest.raises(UsageError, match="audio has no frame rate in the bundle"):
        session.create_stream().push("audio", AUDIO[:2], 0.0)
    manifest = session.manifest.to_json()["modalities"]
    manifest["audio"]["features"]["rate_hz"] = 10.0
    seal(folder, {"modalities": manifest})
    with load(folder) as session:
        stream = session.create_stream()
        stream.push("audio", AUDIO[:11], 0.0)
        stream.push("vision", VISION[:1], 0.5)  # one frame needs no period
        assert stream.predict().ages == {"audio": 0.0, "vision": pytest.approx(0.5)}


def test_a_prediction_covers_the_frames_up_to_its_moment(session: Session) -> None:
    stream = session.create_stream()
    push(stream, 0, 20)
    push(stream, 0, 10, "vision")
    for at, audio, vision in ((0.55, 6, 6), (0.55, 6, 6), (1.2, 13, 10), (None, 20, 10), (9.0, 20, 10)):
        prediction = stream.predict(at)
        assert_close_to_scale(prediction.outputs, session.predict(audio=AUDIO[:audio], vision=VISION[:vision]).outputs)
    assert prediction.ages == {"audio": pytest.approx(7.1), "vision": pytest.approx(8.1)}
    with pytest.raises(UsageError, match=r"at must not go back: it must be at least 9 s, got 8\.5"):
        stream.predict(8.5)


def test_late_frames_and_duplicates_count_separately(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(lateness=0.5, on_event=events.append)
    push(stream, 10, 20)
    push(stream, 3, 12)  # the watermark is at 1.4 s: the new frames are late, the others duplicates
    push(stream, 15, 18)
    counters = stream.counters["audio"]
    assert (counters.used, counters.late, counters.duplicate, counters.sent) == (10, 7, 5, 22)
    assert kinds(events) == [("late", "audio", 7), ("duplicate", "audio", 2), ("duplicate", "audio", 3)]
    assert "the watermark is 1.4 s" in events[0].message
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[10:20]).outputs)


def test_late_frames_can_be_an_error_that_changes_nothing(session: Session) -> None:
    stream = session.create_stream(late_frames="error")
    push(stream, 5, 10)
    with pytest.raises(UsageError, match=r"2 frames of audio from 0\.3 s came late"):
        push(stream, 3, 12)
    assert stream.counters["audio"].refused == 9
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[5:10]).outputs)


def test_frames_within_the_lateness_are_used_until_they_are_final(session: Session) -> None:
    stream = session.create_stream(lateness={"audio": 1.0})
    push(stream, 0, 5)
    push(stream, 8, 12)
    expected = session.predict(audio=np.concatenate([AUDIO[:5], AUDIO[8:12]]))
    for _ in range(2):
        assert_close_to_scale(stream.predict().outputs, expected.outputs)
    push(stream, 5, 8)
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[:12]).outputs)
    assert stream.counters["audio"].missing == 0


def test_a_bound_makes_earlier_frames_late_and_shows_life(session: Session) -> None:
    stream = session.create_stream(lateness=5.0, max_gap=1.0)
    push(stream, 0, 5)
    push(stream, 0, 30, "vision")
    assert stream.predict().subset == "v"
    stream.advance("audio", 2.5)
    assert stream.predict().subset == "av"
    push(stream, 20, 26)
    assert (stream.counters["audio"].late, stream.counters["audio"].used) == (5, 6)


def test_a_modality_that_is_absent_comes_back_with_its_state(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(max_gap={"vision": 1.0}, on_event=events.append)
    push(stream, 0, 10)
    push(stream, 0, 10, "vision")
    push(stream, 10, 40)
    prediction = stream.predict()
    assert (prediction.subset, stream.subset) == ("a", "a")
    assert prediction.ages == {"audio": 0.0, "vision": pytest.approx(3.0)}
    assert_close_to_scale(prediction.outputs, session.predict(audio=AUDIO[:40]).outputs)
    stream.push("vision", VISION[10:30], 3.0, period=PERIOD)
    prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, session.predict(audio=AUDIO[:40], vision=VISION).outputs)
    assert prediction.masked == {"audio": 0.0, "vision": pytest.approx(20 / 50)}
    assert kinds(events) == [("absent", "vision", 0), ("gap", "vision", 20), ("returned", "vision", 0)]


def test_gaps_and_masked_frames_leave_the_state_unchanged(session: Session) -> None:
    stream = session.create_stream()
    push(stream, 0, 10, valid=np.arange(10) < 6)
    stream.push("audio", AUDIO[6:10], 1.5, period=PERIOD)
    prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, session.predict(audio=AUDIO[:10]).outputs)
    counters = stream.counters["audio"]
    assert (counters.used, counters.masked, counters.missing) == (10, 4, 5)
    assert prediction.masked == {"audio": pytest.approx(9 / 19)}


def test_a_modality_older_than_max_age_starts_again(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(max_age=1.0, on_event=events.append)
    push(stream, 0, 10)
    push(stream, 25, 30)  # even if no prediction was made in between
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[25:30]).outputs)
    with pytest.raises(UsageError, match=r"last 1 s \(max_age\): its newest one is from 1\.6 s before\. Push"):
        stream.predict(4.5)
    assert kinds(events) == [("gap", "audio", 15), ("expired", "audio", 10), ("absent", "audio", 0)]
    assert stream.counters["audio"].missing == 15


def test_an_utterance_ends_at_a_moment(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(lateness=0.5, on_event=events.append)
    assert stream.end_utterance() is None
    push(stream, 0, 20)
    prediction = stream.end_utterance(1.05)
    assert prediction is not None
    assert_close_to_scale(prediction.outputs, session.predict(audio=AUDIO[:11]).outputs)
    push(stream, 5, 8)  # of the utterance that has ended
    assert stream.counters["audio"].duplicate + stream.counters["audio"].late == 3
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[11:20]).outputs)
    assert kinds(events)[0] == ("utterance", "", 0)
    assert stream.end_utterance() is not None
    assert (stream.subset, stream.end_utterance()) == ("", None)


def test_a_pause_of_the_voice_ends_the_utterance(session: Session) -> None:
    stream = session.create_stream(pause=0.3)
    ended: list[tuple[float, Prediction]] = []
    for tick in range(30):
        push(stream, tick, tick + 1)
        prediction = stream.voice_activity(tick % 10 < 5, tick * PERIOD)
        if prediction is not None:
            ended.append((tick * PERIOD, prediction))
    assert [moment for moment, _ in ended] == pytest.approx([0.7, 1.7, 2.7])
    assert_close_to_scale(ended[1][1].outputs, session.predict(audio=AUDIO[8:18]).outputs)


def test_the_end_after_a_pause_waits_for_late_frames(session: Session) -> None:
    stream = session.create_stream(pause=0.3, lateness={"vision": 1.0})
    ended: list[tuple[float, Prediction]] = []
    for tick in range(30):
        push(stream, tick, tick + 1)
        if tick >= 8:
            push(stream, tick - 8, tick - 7, "vision")  # 0.8 s late
        prediction = stream.voice_activity(tick % 20 < 5, tick * PERIOD)
        if prediction is not None:
            ended.append((tick * PERIOD, prediction))
        elif tick == 12:  # the utterance has ended at 0.7 s, but more of it may come
            assert stream.predict().ages["audio"] == pytest.approx(0.0)
            assert stream.predict(1.1).masked == {"audio": 0.0, "vision": 0.0}
    ((moment, first),) = ended
    assert moment == pytest.approx(1.7)
    assert_close_to_scale(first.outputs, session.predict(audio=AUDIO[:8], vision=VISION[:8]).outputs)
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[8:28], vision=VISION[8:22]).outputs)
    assert stream.counters["audio"].late == stream.counters["vision"].late == 0
    assert stream.counters["audio"].queued == 2  # the second utterance has ended at 2.7 s


def test_frames_that_wait_for_the_next_utterance_are_not_encoded_early(session: Session) -> None:
    stream = session.create_stream(pause=0.3, lateness={"vision": 2.0}, max_queue=8)
    for tick in range(5):
        push(stream, tick, tick + 1)
        stream.voice_activity(active=True, timestamp=tick * PERIOD)
    stream.voice_activity(active=False, timestamp=0.8)
    push(stream, 5, 20)  # more than can wait
    ended = stream.voice_activity(active=False, timestamp=3.0)
    assert ended is not None
    assert_close_to_scale(ended.outputs, session.predict(audio=AUDIO[:9]).outputs)
    counters = stream.counters["audio"]
    assert (counters.sent, counters.overflow, counters.queued) == (20, 3, 8)


def test_moments_far_in_the_future_are_refused(session: Session) -> None:
    stream = session.create_stream(max_jump=60.0)
    push(stream, 0, 5)
    stream.voice_activity(active=True, timestamp=0.4)
    calls: list[Callable[[], object]] = [
        lambda: stream.voice_activity(active=False, timestamp=2400.0),
        lambda: stream.end_utterance(1e9),
        lambda: stream.predict(1e9),
    ]
    for call in calls:
        with pytest.raises(UsageError, match="at most 60 s after the newest time of the stream"):
            call()
    push(stream, 5, 10)
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[:10]).outputs)


def test_frames_that_overlap_without_equal_times_are_late(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(on_event=events.append)
    push(stream, 0, 10)
    stream.push("audio", AUDIO[10:20], 0.85, period=PERIOD)
    assert kinds(events) == [("late", "audio", 1)]
    assert "larger lateness" in events[0].message
    tolerant = session.create_stream(lateness=0.5)
    push(tolerant, 0, 10)
    tolerant.push("audio", AUDIO[10:20], 0.85, period=PERIOD)
    assert tolerant.counters["audio"].used == 20


@pytest.mark.parametrize("masked_first", [True, False])
def test_a_valid_frame_replaces_a_masked_one_of_the_same_time(session: Session, masked_first: bool) -> None:
    stream = session.create_stream(lateness=5.0)
    masks = [np.arange(10) % 2 == 0, np.ones(10, np.bool_)]
    for valid in masks if masked_first else masks[::-1]:
        stream.push("audio", AUDIO[:10], 0.0, period=PERIOD, valid=valid)
    prediction = stream.predict()
    assert_close_to_scale(prediction.outputs, session.predict(audio=AUDIO[:10]).outputs)
    assert prediction.masked == {"audio": 0.0}
    counters = stream.counters["audio"]
    assert (counters.used, counters.masked, counters.duplicate) == (10, 5, 5)


def test_frames_after_the_end_of_their_utterance_say_so(session: Session) -> None:
    events: list[StreamEvent] = []
    stream = session.create_stream(lateness=1.0, on_event=events.append)
    push(stream, 0, 10)
    stream.end_utterance()
    stream.push("audio", AUDIO[:3], 0.55, period=PERIOD)
    assert events[-1].message == (
        "3 frames of audio from 0.55 s came after the end of their utterance at 0.9 s. "
        "End utterances later, when all frames have arrived"
    )


def test_a_moment_before_the_first_frame_names_its_time(session: Session) -> None:
    stream = session.create_stream()
    push(stream, 20, 25)
    with pytest.raises(UsageError, match="no valid frame up to 1 s, because its oldest one is from 2 s"):
        stream.predict(1.0)


def test_a_stream_without_timestamps_measures_pauses_by_its_clock(session: Session) -> None:
    now = [0.0]
    stream = session.create_stream(pause=0.3, max_gap=1.0, clock=lambda: now[0])
    stream.push("audio", AUDIO[:5])
    assert stream.voice_activity(active=True) is None
    now[0] = 0.5
    prediction = stream.voice_activity(active=False)
    assert prediction is not None
    assert (prediction.ages, prediction.delay_ms) == ({"audio": 0.5}, 500.0)
    stream.push("audio", AUDIO[5:9])
    assert_close_to_scale(stream.predict().outputs, session.predict(audio=AUDIO[5:9]).outputs)
    now[0] = 2.0
    with pytest.raises(UsageError, match="no valid frame"):
        stream.predict()


@pytest.mark.parametrize("timed", [True, False])
def test_a_window_covers_only_recent_frames(session: Session, timed: bool) -> None:
    now = [0.0]
    stream = session.create_stream(window=1.0, clock=lambda: now[0])
    for tick in range(60):
        now[0] = tick * PERIOD
        stream.push("audio", AUDIO[tick : tick + 1], *([now[0]] if timed else []))
        if tick % 20 == 19:
            expected = session.predict(audio=AUDIO[tick - 9 : tick + 1])
            assert_close_to_scale(stream.predict().outputs, expected.outputs)
    counters = stream.counters["audio"]
    assert (counters.used, counters.queued) == (60, 10)
    stream.end_utterance()
    assert stream.counters["audio"].queued == 0


def test_words_count_when_they_are_complete(text_session: Session) -> None:
    stream = text_session.create_stream(lateness=1.0)
    stream.push_text("love it", [(0.3, 0.6), (0.6, 0.9)])
    stream.push_text(["i"], [(0.1, 0.2)])
    stream.push_text("love", [(0.3, 0.6)])
    for at, text in ((0.5, "i"), (0.7, "i love"), (2.0, "i love it")):
        assert_close_to_scale(stream.predict(at).outputs, text_session.predict(text=text).outputs)
        assert " ".join(word.text for word in stream.words) == text
    stream.push_text("not", timestamp=5.0)
    stream.push_text("hate", [(0.0, 0.1)])
    assert_close_to_scale(stream.predict().outputs, text_session.predict(text="i love it not").outputs)
    counters = stream.counters["language"]
    assert (counters.used, counters.duplicate, counters.late, counters.sent) == (4, 1, 1, 6)


def test_words_of_a_window_are_encoded_together(text_session: Session) -> None:
    stream = text_session.create_stream(window=1.5)
    for second, word in enumerate(["hate", "i", "love"]):
        stream.push_text(word, timestamp=float(second))
    assert_close_to_scale(stream.predict().outputs, text_session.predict(text="i love").outputs)


def test_predictions_come_regularly_until_the_stream_is_closed(session: Session) -> None:
    async def run() -> list[Prediction]:
        stream = session.create_stream()
        found = []
        asyncio.get_running_loop().call_later(0.05, push, stream, 0, 10)
        async for prediction in stream.predictions(every=0.02):
            found.append(prediction)
            if len(found) == 3:
                stream.close()
        return found

    found = asyncio.run(asyncio.wait_for(run(), 30))
    assert [prediction.subset for prediction in found] == ["a", "a", "a"]


def test_the_time_between_predictions_must_be_positive(session: Session) -> None:
    async def run() -> None:
        async for _ in session.create_stream().predictions(every=0):
            break

    with pytest.raises(UsageError, match="every must be a positive number of seconds, got 0"):
        asyncio.run(run())
