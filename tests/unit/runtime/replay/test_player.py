from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, load
from edge_msa_runtime.replay import player
from edge_msa_runtime.replay.items import Control, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.player import Player, PlayOptions, stamp_arrivals
from edge_msa_runtime.replay.scenarios import PRESETS, arrive, parse_scenario
from edge_msa_runtime.replay.status import MadePrediction, Observer, Status
from tests.unit.runtime.fake_clock import FakeClock

PERIOD = 0.1
CLEAN = PRESETS["clean"]


class Recorder(Observer):
    def __init__(self) -> None:
        self.made: list[MadePrediction] = []
        self.errors: list[tuple[str, str]] = []
        self.kinds: list[str] = []

    def on_prediction(self, made: MadePrediction) -> None:
        self.made.append(made)

    def on_error(self, elapsed: float, origin: str, message: str) -> None:
        del elapsed
        self.errors.append((origin, message))

    def on_event(self, elapsed: float, event: Any) -> None:
        del elapsed
        self.kinds.append(event.kind)


@pytest.fixture(scope="module")
def session(shared_bundle: Path) -> Iterator[Session]:
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


def play(session: Session, items: Iterable[Item], scenario: Any = CLEAN, **options: Any) -> tuple[Status, Recorder]:
    status, recorder = Status(), Recorder()
    stream = {"bad_frames": "drop", **options.pop("stream", {})}
    player = Player(session, PlayOptions(stream=stream, **options), status, [recorder])
    player.play(arrive(stamp_arrivals(items), scenario, 0))
    return status, recorder


def chunks(frames: Callable[..., Any], name: str, start: float = 0.0, count: int = 10, step: int = 2) -> list[Item]:
    rows = frames(name, count)
    return [
        FrameChunk(name, rows[first : first + step], start + first * PERIOD, PERIOD, origin=f"{name} {first}")
        for first in range(0, count, step)
    ]


def test_a_replay_predicts_as_the_session(session: Session, frames: Callable[..., Any]) -> None:
    items = sorted([*chunks(frames, "audio"), *chunks(frames, "vision")], key=lambda item: item.due or 0)
    status, recorder = play(session, [*items, Control("end_utterance", 1.0)])
    assert [(made.at, made.is_final) for made in recorder.made] == [(0.5, False), (1.0, True)]
    expected = session.predict(audio=frames("audio", 10), vision=frames("vision", 10))
    assert recorder.made[-1].prediction.score == pytest.approx(expected.score, abs=1e-5)
    assert status.predictions == 2
    assert status.finals == 1
    assert status.counters["audio"].used == status.counters["audio"].sent == 10
    early = session.predict(audio=frames("audio", 10)[:6], vision=frames("vision", 10)[:6])
    assert recorder.made[0].prediction.score == pytest.approx(early.score, abs=1e-5)


def test_predictions_come_at_regular_moments_and_after_the_last_item(
    session: Session, frames: Callable[..., Any]
) -> None:
    _, recorder = play(session, chunks(frames, "audio", start=10.0, count=24), every=0.4)
    assert [made.at for made in recorder.made] == pytest.approx([10.4, 10.8, 11.2, 11.6, 12.0, 12.3])
    _, recorder = play(session, [*chunks(frames, "audio"), Control("predict", 0.9)], every=0.0)
    assert [made.at for made in recorder.made] == [0.9]


def test_frames_of_a_disabled_modality_reach_it_later(session: Session, frames: Callable[..., Any]) -> None:
    scenario = parse_scenario({"modalities": {"vision": {"start": 0.5}}})
    items = sorted(
        [*chunks(frames, "audio", count=20), *chunks(frames, "vision", count=20)], key=lambda item: item.due or 0
    )
    status, recorder = play(session, items, scenario)
    assert [made.prediction.subset for made in recorder.made] == ["a", "av", "av", "av"]
    assert status.counters["vision"].sent == 14


def test_the_end_of_an_utterance_waits_for_what_is_on_its_way(session: Session, frames: Callable[..., Any]) -> None:
    scenario = parse_scenario({"modalities": {"vision": {"lag": 0.8}}})
    first = sorted([*chunks(frames, "audio"), *chunks(frames, "vision")], key=lambda item: item.due or 0)
    items = [*first, Control("end_utterance", 1.0), *chunks(frames, "audio", start=1.1)]
    hasty, _ = play(session, items, scenario)
    assert hasty.counters["vision"].late == 8
    patient, recorder = play(session, items, scenario, hold=1.0)
    assert patient.counters["vision"].late == 0
    (final,) = [made for made in recorder.made if made.is_final]
    expected = session.predict(audio=frames("audio", 10), vision=frames("vision", 10))
    assert final.prediction.score == pytest.approx(expected.score, abs=1e-5)
    assert final.at == 1.0
    # Until the utterance has ended, predictions are of its end. Then those of the next one follow.
    assert [made.at for made in recorder.made] == pytest.approx([0.5, 1.0, 1.0, 1.0, 2.0])
    assert [made.made_at for made in recorder.made] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])


def test_a_bound_releases_the_end_of_an_utterance(session: Session, frames: Callable[..., Any]) -> None:
    items = [
        *chunks(frames, "audio"),
        Control("end_utterance", 1.0),
        Control("bound", 0.8, "language", arrival=1.2),
        Control("bound", 1.0, "language", arrival=1.6),
        *chunks(frames, "audio", start=1.7),
    ]
    _, recorder = play(session, items, hold=5.0, awaited=("language",))
    (final,) = [made for made in recorder.made if made.is_final]
    assert (final.at, final.made_at) == (1.0, 1.6)
    _, recorder = play(session, items, hold=0.5, awaited=("language",))
    (final,) = [made for made in recorder.made if made.is_final]
    assert (final.at, final.made_at) == (1.0, 1.5)


def test_time_passes_without_input(session: Session, frames: Callable[..., Any]) -> None:
    items = [Control("time", 0.0), *chunks(frames, "audio"), Control("time", 3.1)]
    status, recorder = play(session, items, every=1.0, stream={"max_gap": 10.0})
    assert [made.at for made in recorder.made] == [1.0, 2.0, 3.0]
    assert status.seconds == pytest.approx(3.1)


def test_observers_receive_the_words_that_the_stream_takes(make_text_bundle: Callable[[str], Path]) -> None:
    class Words(Observer):
        words: list[str]

        def on_words(self, elapsed: float, words: WordChunk) -> None:
            del elapsed
            self.words.extend(words.words)

    observer = Words()
    observer.words = []
    with load(make_text_bundle("table"), "onnxruntime") as text_session:
        player = Player(text_session, PlayOptions(stream={"bad_frames": "drop"}), Status(), [observer])
        items = [
            WordChunk(("love",), ((0.1, 0.4),)),
            WordChunk(("it",), ((0.5, 0.2),)),
            WordChunk(("film",), ((1, 2),)),
        ]
        player.play(arrive(items, CLEAN, 0))
    assert observer.words == ["love", "film"]


def test_reset_forgets_everything_and_times_may_start_again(session: Session, frames: Callable[..., Any]) -> None:
    items = [*chunks(frames, "audio", start=50.0), Control("reset"), *chunks(frames, "vision")]
    status, recorder = play(session, items)
    assert [made.prediction.subset for made in recorder.made] == ["a", "v", "v"]
    assert [made.at for made in recorder.made] == pytest.approx([50.5, 0.5, 0.9])
    elapsed = [made.elapsed for made in recorder.made]
    assert elapsed == sorted(elapsed)
    assert not recorder.errors
    assert status.seconds == pytest.approx(1.6)


def test_items_without_times_are_predicted_in_the_order_of_arrival(
    session: Session, frames: Callable[..., Any]
) -> None:
    rows = frames("audio", 10)
    items = [FrameChunk("audio", rows[first : first + 2], arrival=float(first)) for first in range(0, 10, 2)]
    _, recorder = play(session, items, every=2.5)
    assert [made.at for made in recorder.made] == [2.5, 5.0, 7.5, 8.0]
    assert recorder.made[-1].prediction.score == pytest.approx(session.predict(audio=rows).score, abs=1e-5)
    live, recorder = play(session, [FrameChunk("audio", rows[:2]), Control("predict"), FrameChunk("audio", rows[2:])])
    assert recorder.made[-1].prediction.score == pytest.approx(session.predict(audio=rows).score, abs=1e-5)
    assert live.predictions == 2


def test_what_the_stream_refuses_is_reported_and_the_rest_goes_on(session: Session, frames: Callable[..., Any]) -> None:
    bad: list[Item] = [
        FrameChunk("audio", frames("audio", 2), origin="untimed"),
        WordChunk(("hello",), timestamp=0.3, origin="words"),
        Control("bound", -1.0, "audio", origin="bound"),
        FrameChunk("audio", frames("audio", 2), -1.0, PERIOD, origin="past"),
        FrameChunk("audio", frames("audio", 2)[:, :1], 0.4, PERIOD, origin="narrow"),
        Control("predict", 0.01, origin="back"),
    ]
    status, recorder = play(session, [*chunks(frames, "audio", count=4), Control("predict", 0.35), *bad], every=0.0)
    clean, reference = play(session, chunks(frames, "audio", count=4), every=0.0)
    assert recorder.made[-1].prediction.outputs == reference.made[-1].prediction.outputs
    assert [origin for origin, _ in recorder.errors] == ["untimed", "words", "bound", "past", "narrow", "back"]
    assert status.errors == 6
    audio = status.counters["audio"]
    assert (audio.used, audio.refused) == (clean.counters["audio"].used, 6)
    assert dict(recorder.errors)["narrow"].startswith("audio must be an array of shape (frames, 2), got (2, 1).")


@pytest.mark.parametrize(
    "first",
    [
        Control("bound", -1.0, "audio", origin="bad"),
        FrameChunk("audio", np.zeros((1, 2)), -1.0, PERIOD, origin="bad"),
        FrameChunk("audio", np.zeros((1, 2)), 0.0, PERIOD, arrival=-3.0, origin="bad"),
        FrameChunk("audio", np.zeros((1, 1)), origin="bad"),  # without a time, and too narrow
    ],
)
@pytest.mark.parametrize("mode", ["drop", "error"])
def test_no_step_ends_the_replay(session: Session, frames: Callable[..., Any], first: Item, mode: str) -> None:
    items = [first, *chunks(frames, "audio"), Control("end_utterance", 1.0)]
    status, recorder = play(session, items, stream={"bad_frames": mode})
    assert recorder.made[-1].is_final
    assert recorder.made[-1].at == 1.0
    assert recorder.made[-1].prediction.score is not None
    assert status.errors == len(recorder.errors) > 0
    assert all(origin == "bad" or origin.startswith("prediction at -") for origin, _ in recorder.errors)


def test_a_refused_first_chunk_does_not_decide_whether_the_stream_has_times(
    session: Session, frames: Callable[..., Any]
) -> None:
    narrow = FrameChunk("audio", np.zeros((1, 1)), arrival=0.0)
    _, recorder = play(session, [narrow, *chunks(frames, "audio", count=8), Control("predict", 0.45)], every=0.0)
    early = session.predict(audio=frames("audio", 8)[:5])
    assert recorder.made[-1].at == 0.45
    _, recorder = play(session, [narrow, *chunks(frames, "audio", count=8, step=8), Control("predict", 0.45)], every=0)
    assert recorder.made[0].prediction.score == pytest.approx(early.score, abs=1e-5)


def test_frames_that_arrive_before_their_times_count_from_then_on(session: Session, frames: Callable[..., Any]) -> None:
    items = [FrameChunk("audio", frames("audio", 10), 1.0, PERIOD, arrival=0.25)]
    _, recorder = play(session, items)
    (made,) = recorder.made
    assert made.at == pytest.approx(1.9)
    assert made.prediction.score == pytest.approx(session.predict(audio=frames("audio", 10)).score, abs=1e-5)


def test_in_real_time_late_predictions_are_left_out(session: Session, frames: Callable[..., Any]) -> None:
    items = [*chunks(frames, "audio"), Control("time", 4.0)]
    every, _ = play(session, items, every=0.5)
    status, recorder = play(session, items, every=0.5, real_time=True)
    assert every.overdue == 0
    assert status.overdue > 0
    assert status.overdue + status.predictions + status.skipped == every.predictions + every.skipped
    assert [made.at for made in recorder.made] == sorted(made.at for made in recorder.made)


def test_messages_before_the_first_frame_do_nothing(session: Session) -> None:
    status, recorder = play(session, [Control("predict"), Control("end_utterance"), Control("reset")])
    assert (recorder.made, recorder.errors, status.skipped) == ([], [], 2)


# At four times real time, there are 50 ms between chunks.
@pytest.mark.parametrize(("delay", "seconds", "behind_ms"), [(0.0, 0.2, 0.0), (0.3, 0.45, 250.0)])
def test_a_speed_takes_real_time(
    session: Session,
    frames: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    delay: float,
    seconds: float,
    behind_ms: float,
) -> None:
    clock = FakeClock()
    monkeypatch.setattr(player, "time", clock)

    def delayed() -> Iterator[Item]:
        items = chunks(frames, "audio")
        yield from items[:-1]
        clock.sleep(delay)
        yield items[-1]

    started = clock.now
    status, _ = play(session, delayed(), speed=4.0)
    assert clock.now - started == pytest.approx(seconds)
    assert status.behind_ms == pytest.approx(behind_ms, abs=1e-6)


def test_counters_add_up_under_every_fault(session: Session, frames: Callable[..., Any]) -> None:
    items: list[Item] = []
    for utterance in range(8):
        start = utterance * 3.0
        both = [*chunks(frames, "audio", start, 20), *chunks(frames, "vision", start, 20)]
        items += sorted(both, key=lambda item: item.due or 0)
        items.append(Control("end_utterance", start + 2.0))
    for stream in ({}, {"lateness": 0.1, "max_gap": 0.5, "max_age": 1.5, "bad_frames": "mask"}, {"window": 1.0}):
        status, recorder = play(session, items, PRESETS["faulty"], stream=stream, hold=0.1)
        assert not recorder.errors
        for counters in status.counters.values():
            assert counters.sent == counters.used + counters.dropped + counters.refused
            assert counters.queued == 0
        assert status.predictions > 20
        assert np.isfinite([made.prediction.outputs for made in recorder.made]).all()
