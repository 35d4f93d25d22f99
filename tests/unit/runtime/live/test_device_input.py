from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest

from edge_msa_runtime import Session, load
from edge_msa_runtime.errors import CaptureError, InferenceError
from edge_msa_runtime.live.converter import Converter
from edge_msa_runtime.live.device_input import DeviceInput
from edge_msa_runtime.live.history import History
from edge_msa_runtime.live.utterances import UtteranceEnds
from edge_msa_runtime.live.word_sources import RecognizedWords
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound
from edge_msa_runtime.replay.items import WordChunk
from edge_msa_runtime.replay.player import Player, PlayOptions
from edge_msa_runtime.replay.status import Observer, Status
from edge_msa_runtime.text.words import Word
from tests.unit.runtime.fake_clock import FakeClock
from tests.unit.runtime.live.stand_ins import (
    AudioStandIn,
    DeviceStandIn,
    ListenerStandIn,
    VisionStandIn,
    VoiceStandIn,
    make_pictures,
    make_sounds,
)

WORDS = [Word("love", 0.1, 0.3), Word("it", 0.4, 0.5)]


@pytest.fixture(scope="module")
def session(shared_bundle: Path) -> Iterator[Session]:
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


def make_input(words: Any = None, vision: Any = None, **options: Any) -> DeviceInput:
    ends = UtteranceEnds(0.3, 30.0)
    converter = Converter(AudioStandIn(), vision or VisionStandIn(), VoiceStandIn(), ends)
    return DeviceInput(converter, words, **options)


def play(session: Session, source: DeviceInput) -> tuple[Status, History]:
    status, history = Status(), History()
    stream = {"bad_frames": "drop", "max_gap": {"audio": 0.3, "vision": 0.3}}
    play_options = PlayOptions(every=0.1, stream=stream, hold=0.2)
    with source:
        Player(session, play_options, status, [history]).play(source.arrivals())
    return status, history


def test_devices_are_played_until_they_end(session: Session) -> None:
    source = make_input()
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(0.6, [(0.0, 0.2)]), origin))
    source.add_camera(lambda origin: DeviceStandIn("cam", make_pictures(0.6), origin))
    source.open()
    started = time.monotonic()
    status, history = play(session, source)
    assert time.monotonic() - started >= 0.55
    assert status.counters["audio"].used == 60
    assert status.counters["vision"].used == 6
    assert [item.final.time for item in history.utterances] == pytest.approx([0.5], abs=0.11)
    assert source.device_names == ["mic", "cam"]
    assert source.reports["camera"].to_json() == {"received": 6, "dropped": 0, "losses": 0}


@pytest.mark.parametrize(("patience", "expected"), [(0.2, ["cam has ended. Predictions go on without it."]), (5.0, [])])
def test_a_recording_that_ends_before_the_others_is_reported(
    session: Session, monkeypatch: pytest.MonkeyPatch, patience: float, expected: list[str]
) -> None:
    monkeypatch.setattr("edge_msa_runtime.live.device_input._SILENT_SECONDS", patience)
    notices: list[str] = []
    source = make_input(notice=notices.append)
    sounds = make_sounds(0.7, [(0.0, 0.2)])
    source.add_microphone(
        lambda origin: DeviceStandIn("mic", sounds, origin, may_end=lambda: len(notices) == len(expected))
    )
    source.add_camera(lambda origin: DeviceStandIn("cam", make_pictures(0.1), origin))
    source.open()
    play(session, source)
    assert notices == expected


@pytest.mark.slow
def test_a_camera_that_disappears_is_absent_and_comes_back(session: Session) -> None:
    notices: list[str] = []
    opened: list[DeviceStandIn] = []

    def open_camera(origin: float) -> DeviceStandIn:
        if len(opened) == 1:  # the first attempt to open it again
            opened.append(opened[0])
            raise CaptureError("cam does not exist.")
        pictures = [Picture(item.time + (1.4 if opened else 0.0), item.pixels) for item in make_pictures(0.5)]
        opened.append(DeviceStandIn("cam", pictures, origin, fails=not opened))
        return opened[-1]

    source = make_input(notice=notices.append, retry=0.3)
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(2, [(0.0, 2.0)]), origin))
    source.add_camera(open_camera)
    source.open()
    _, history = play(session, source)
    assert notices == [
        "cam stopped. Predictions go on without it. It is tried again every 0.3 s.",
        "cam is back",
    ]
    assert all(device.is_closed for device in opened)
    assert source.reports["camera"].losses == 1
    assert {moment.subset for moment in history.moments if 0.95 <= moment.time <= 1.35} == {"a"}
    assert "av" in {moment.subset for moment in history.moments if moment.time > 1.5}
    assert "disappeared 1 times" in "\n".join(source.describe())


def test_a_device_that_cannot_be_opened_closes_the_others() -> None:
    opened: list[DeviceStandIn] = []

    def open_microphone(origin: float) -> DeviceStandIn:
        opened.append(DeviceStandIn("mic", [], origin))
        return opened[0]

    def open_camera(origin: float) -> DeviceStandIn:
        raise CaptureError(f"cam does not exist at {origin > 0}.")

    source = make_input()
    source.add_microphone(open_microphone)
    source.add_camera(open_camera)
    with pytest.raises(CaptureError, match="cam does not exist"):
        source.open()
    assert opened[0].is_closed


@pytest.mark.slow
def test_words_are_waited_for_at_the_end_of_an_utterance(make_text_bundle: Any) -> None:
    source = make_input(RecognizedWords(ListenerStandIn(WORDS, delay=0.6)))
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(1.8, [(0.0, 0.6)]), origin))
    source.open()
    with load(make_text_bundle("table"), "onnxruntime") as text_session:
        status, history = Status(), History()
        options = PlayOptions(every=0.1, hold=30.0, awaited=("language",), stream={"bad_frames": "drop"})
        with source:
            Player(text_session, options, status, [history]).play(source.arrivals())
    assert status.counters["language"].used == 2
    (utterance,) = history.utterances
    assert [word.text for word in utterance.words] == ["love", "it"]
    assert utterance.final.time == pytest.approx(0.9, abs=0.11)
    assert source.word_delay.count == 2
    assert (source.word_delay.percentile(0.5) or 0) > 500


@pytest.mark.slow
def test_a_slow_front_end_delays_no_sound(session: Session) -> None:
    class Slow(VisionStandIn):
        def push(self, picture: Picture) -> Any:
            time.sleep(0.25)
            return super().push(picture)

    source = make_input(vision=Slow())
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(1, [(0.0, 1.0)]), origin))
    source.add_camera(lambda origin: DeviceStandIn("cam", make_pictures(0.5), origin))
    source.open()
    status, history = play(session, source)
    assert status.counters["audio"].used == 100
    in_time = [moment for moment in history.moments if "a" in moment.subset and moment.time <= 1]
    assert len(in_time) >= 8


def test_a_recognizer_that_is_late_gets_pieces_of_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    notices: list[str] = []
    pieces: list[float] = []
    release = threading.Event()

    class Slow(ListenerStandIn):
        def push(self, sound: Sound) -> list[Word]:
            release.wait(60)
            pieces.append(len(sound.samples) / SAMPLE_RATE)
            return super().push(sound)

    monkeypatch.setattr("edge_msa_runtime.live.device_input._LATE_SECONDS", 2.0)
    monkeypatch.setattr("edge_msa_runtime.live.device_input._PIECE", 1.0)
    source = make_input(RecognizedWords(Slow([])), notice=notices.append)
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(4.0), origin - 10))
    with source:
        source.open()
        while source.reports["microphone"].received < 40:
            time.sleep(0.01)
        waiting = source.waiting_seconds
        release.set()
        list(source.arrivals())
    assert waiting == pytest.approx(4.0)
    assert source.waiting_seconds == 0
    assert sum(pieces) == pytest.approx(4.0)
    assert max(pieces) <= 1.01
    assert [line.partition(",")[0] for line in notices] == ["The recognizer is 2 s late"]


def test_sound_after_a_long_gap_is_not_late() -> None:
    source = make_input(RecognizedWords(ListenerStandIn([])))
    sounds = [item._replace(time=item.time + 500) for item in make_sounds(0.2)]
    source.add_microphone(lambda origin: DeviceStandIn("mic", sounds, origin - 1000))
    with source:
        source.open()
        list(source.arrivals())
    assert source.waiting_seconds == 0


@pytest.mark.parametrize("stopped_before", [None, 1.0])
def test_threads_that_do_not_end_share_one_deadline(
    monkeypatch: pytest.MonkeyPatch, stopped_before: float | None
) -> None:
    clock = FakeClock()

    class Stuck:
        def join(self, timeout: float) -> None:
            clock.sleep(timeout)

    monkeypatch.setattr("edge_msa_runtime.live.device_input.time", clock)
    source: Any = make_input()
    source._threads = [Stuck(), Stuck(), Stuck()]
    started = clock.now
    if stopped_before is not None:
        source.stop()
        clock.sleep(stopped_before)
    source.close()
    assert clock.now - started == pytest.approx(1.6)


@pytest.mark.parametrize("is_late", [False, True])
def test_words_of_earlier_sound_come_for_a_while_after_a_stop(monkeypatch: pytest.MonkeyPatch, is_late: bool) -> None:
    release = threading.Event()

    class Gated(ListenerStandIn):
        def push(self, sound: Sound) -> list[Word]:
            if sound.time > 2.5:
                release.wait(60)
            return super().push(sound)

    monkeypatch.setattr("edge_msa_runtime.live.device_input._PIECE", 1.0)
    monkeypatch.setattr("edge_msa_runtime.live.device_input._LAST_SECONDS", 0.3 if is_late else 60)
    monkeypatch.setattr("edge_msa_runtime.live.device_input._CLOSE_SECONDS", 0.2 if is_late else 60)
    words = [Word(f"word{index}", index + 0.1, index + 0.2) for index in range(6)]
    source = make_input(RecognizedWords(Gated(words)))
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(6.0), origin - 6))
    with source:
        source.open()
        while source.reports["microphone"].received < 60:
            time.sleep(0.005)
        source.stop()
        if not is_late:
            release.set()
        items = [arrival.item for arrival in source.arrivals()]
    release.set()
    found = [item.words[0] for item in items if isinstance(item, WordChunk)]
    assert found == [word.text for word in words[: len(found)]]
    assert len(found) < 6 if is_late else len(found) == 6


@pytest.mark.slow
def test_slow_predictions_do_not_let_items_pile_up(session: Session) -> None:
    class Slow(Observer):
        def on_prediction(self, made: Any) -> None:
            del made
            time.sleep(0.3)

    source = make_input(seconds=2.0)
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(20, [(0.0, 20.0)]), origin))
    source.open()
    status = Status()
    options = PlayOptions(every=0.1, stream={"bad_frames": "drop"}, real_time=True)
    with source:
        Player(session, options, status, [Slow()]).play(source.arrivals())
    assert status.overdue


@pytest.mark.slow
def test_it_stops_after_so_many_seconds(session: Session) -> None:
    source = make_input(seconds=0.4)
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(20, [(0.0, 20.0)]), origin))
    source.open()
    status, _ = play(session, source)
    assert 0.4 <= status.seconds < 20
    assert status.finals == 1


def test_an_error_of_a_front_end_ends_the_input(session: Session) -> None:
    class Broken(VisionStandIn):
        def push(self, picture: Picture) -> Any:
            raise InferenceError(f"the model failed at {picture.time:g} s")

    source = make_input(vision=Broken())
    source.add_microphone(lambda origin: DeviceStandIn("mic", make_sounds(20), origin))
    source.add_camera(lambda origin: DeviceStandIn("cam", make_pictures(1), origin))
    source.open()
    with pytest.raises(InferenceError, match="the model failed"):
        play(session, source)


@pytest.mark.slow
def test_a_microphone_that_is_silent_for_good_does_not_hold_back_the_end(session: Session) -> None:
    sounds = make_sounds(0.4, [(0.0, 0.4)])
    assert isinstance(sounds[0], Sound)
    source = make_input(seconds=2.0)
    source.add_microphone(lambda origin: DeviceStandIn("mic", sounds, origin))
    source.add_camera(lambda origin: DeviceStandIn("cam", make_pictures(1.9), origin))
    source.open()
    _, history = play(session, source)
    assert history.utterances[0].final.time < 1.9
