from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from edge_msa_runtime import Session, load
from edge_msa_runtime.errors import DataError
from edge_msa_runtime.live.converter import Converter
from edge_msa_runtime.live.file_input import FileInput
from edge_msa_runtime.live.history import History
from edge_msa_runtime.live.transcript_files import read_transcript
from edge_msa_runtime.live.utterances import UtteranceEnds
from edge_msa_runtime.live.word_sources import GivenWords, RecognizedWords, TranscribedWords, WordSource
from edge_msa_runtime.replay.items import Control, WordChunk
from edge_msa_runtime.replay.player import Player, PlayOptions
from edge_msa_runtime.replay.status import Status
from edge_msa_runtime.text.words import Word
from tests.unit.runtime.live.stand_ins import (
    AudioStandIn,
    ListenerStandIn,
    RecognizerStandIn,
    VisionStandIn,
    VoiceStandIn,
    make_pictures,
    make_sounds,
    merge,
)

WORDS = [Word("love", 0.5, 0.9), Word("it", 1.0, 1.3), Word("hate", 3.0, 3.4)]
VOICE = [(0.5, 1.4), (3.0, 3.5)]


@pytest.fixture(scope="module")
def session(shared_bundle: Path) -> Iterator[Session]:
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


@pytest.fixture(scope="module")
def text_session(make_text_bundle: Callable[[str], Path]) -> Iterator[Session]:
    with load(make_text_bundle("table"), "onnxruntime") as opened:
        yield opened


def make_input(
    signals: Any, words: WordSource | None = None, *, has_sound: bool = True, has_pictures: bool = True
) -> FileInput:
    converter = Converter(
        AudioStandIn() if has_sound else None,
        VisionStandIn() if has_pictures else None,
        VoiceStandIn() if has_sound else None,
        UtteranceEnds(0.6, 30.0),
    )
    return FileInput(signals, converter, words, has_sound=has_sound)


def play(session: Session, source: FileInput, **options: Any) -> tuple[Status, History]:
    status, history = Status(), History()
    stream = {"bad_frames": "drop", **options.pop("stream", {})}
    Player(session, PlayOptions(stream=stream, **options), status, [history]).play(source.arrivals())
    return status, history


def test_utterances_end_with_pauses_and_the_recording(session: Session) -> None:
    source = make_input(merge(make_sounds(5, [*VOICE, (4.8, 5.0)]), make_pictures(5)))
    status, history = play(session, source)
    assert [item.final.time for item in history.utterances] == pytest.approx([2.0, 4.1, 5.0])
    assert status.errors == 0
    assert {moment.subset for moment in history.moments} == {"av"}
    assert [moment.time for moment in history.moments[:4]] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    for name in ("audio", "vision"):
        assert status.counters[name].used == status.counters[name].sent
    assert status.counters["audio"].sent == 500
    assert status.counters["vision"].sent == 50


def test_silence_after_an_utterance_is_no_utterance(session: Session) -> None:
    _, history = play(session, make_input(merge(make_sounds(5, [(0.5, 1.4)]), make_pictures(5))))
    assert [item.final.time for item in history.utterances] == pytest.approx([2.0])
    _, silent = play(session, make_input(merge(make_sounds(3), make_pictures(3))))
    assert [item.final.time for item in silent.utterances] == pytest.approx([3.0])


def test_a_stream_without_pictures_in_the_middle_goes_on(session: Session) -> None:
    pictures = [picture for picture in make_pictures(6) if not 2 <= picture.time < 4]
    source = make_input(merge(make_sounds(6, [(0.0, 6.0)]), pictures))
    _, history = play(session, source, stream={"max_gap": {"vision": 0.5}})
    subsets = {round(moment.time, 1): moment.subset for moment in history.moments}
    assert subsets[2.0] == subsets[4.5] == "av"
    assert subsets[3.0] == subsets[3.5] == "a"
    assert [text.split(":")[0] for _, text in history.events] == ["vision is absent", "vision is back"]


def test_pictures_without_a_face_are_missing(session: Session) -> None:
    source = make_input(merge(make_sounds(3, [(0.0, 3.0)]), make_pictures(3, level=0)))
    status, history = play(session, source)
    assert {moment.subset for moment in history.moments} == {"a"}
    assert status.counters["vision"].masked == 30


@pytest.mark.parametrize("kind", ["given", "recognized", "transcribed"])
def test_words_count_from_their_ends(text_session: Session, kind: str) -> None:
    ends = UtteranceEnds(0.6, 30.0)
    words: WordSource = GivenWords(WORDS)
    if kind != "given":
        words = RecognizedWords(ListenerStandIn(WORDS, delay=0.7))
    if kind == "transcribed":
        words = TranscribedWords(RecognizerStandIn(WORDS), lambda: ends.voice_since)
    source = FileInput(make_sounds(5, VOICE), Converter(AudioStandIn(), None, VoiceStandIn(), ends), words)
    status, history = play(text_session, source, every=0.1)
    assert status.counters["language"].used == 3
    assert status.counters["language"].late == 0
    first = next(moment.time for moment in history.moments if "l" in moment.subset)
    assert first == pytest.approx(0.9)
    assert [[word.text for word in item.words] for item in history.utterances] == [["love", "it"], ["hate"]]


def test_the_timeline_does_not_depend_on_the_delay_of_the_recognizer(text_session: Session) -> None:
    def scores(delay: float) -> list[Any]:
        source = make_input(make_sounds(5, VOICE), RecognizedWords(ListenerStandIn(WORDS, delay)), has_pictures=False)
        return [(moment.time, moment.score) for moment in play(text_session, source)[1].moments]

    assert scores(0.0) == scores(2.0)


def test_words_are_voice_where_there_is_no_sound(text_session: Session) -> None:
    source = make_input(make_pictures(5), GivenWords(WORDS), has_sound=False, has_pictures=False)
    _, history = play(text_session, source)
    assert [item.final.time for item in history.utterances] == pytest.approx([1.9, 4.0])


def words_by_utterance(text_session: Session, words: WordSource, voice: Any, seconds: float = 6.0) -> list[list[str]]:
    source = make_input(make_sounds(seconds, voice), words, has_pictures=False)
    status, history = play(text_session, source, every=0.1)
    assert status.counters["language"].late == 0
    return [[word.text for word in item.words] for item in history.utterances]


def test_words_of_a_subtitle_stay_in_its_utterance(text_session: Session, tmp_path: Path) -> None:
    def cue(start: str, end: str, text: str) -> str:
        return f"1\n00:00:0{start} --> 00:00:0{end}\n{text}\n\n"

    def read(*cues: str) -> GivenWords:
        (tmp_path / "a.srt").write_text("".join(cues))
        return GivenWords(read_transcript(tmp_path / "a.srt"))

    voice = [(0.5, 1.4), (3.0, 3.5)]  # the first utterance ends at 2.0
    stays = (cue("0,500", "2,100", "love it"), cue("3,000", "5,000", "hate this movie"))
    assert words_by_utterance(text_session, read(*stays), voice) == [["love", "it"], ["hate", "this", "movie"]]
    assert words_by_utterance(text_session, read(cue("0,500", "2,900", "love it so much")), voice)[0] == [
        "love",
        "it",
        "so",
        "much",
    ]
    # One subtitle for both: the words after the voice has started again belong to the second utterance.
    both = read(cue("0,500", "4,500", "love it really much hate it"))
    assert words_by_utterance(text_session, both, voice) == [["love", "it", "really", "much"], ["hate", "it"]]
    # A subtitle that stays until after the end of the recording
    longer = read(cue("0,500", "9,000", "love it so"))
    assert words_by_utterance(text_session, longer, [(0.5, 1.4)], 2.5) == [["love", "it", "so"]]


def test_recognized_words_that_end_late_stay_in_their_utterance(text_session: Session) -> None:
    given = [Word("love", 0.5, 0.9), Word("it", 1.0, 2.05), Word("hate", 3.0, 3.4)]
    words = RecognizedWords(ListenerStandIn(given, delay=0.7))
    assert words_by_utterance(text_session, words, VOICE) == [["love", "it"], ["hate"]]


def test_the_last_utterance_ends_with_the_recording_if_nothing_follows(session: Session) -> None:
    converter = Converter(AudioStandIn(), VisionStandIn(), VoiceStandIn(), UtteranceEnds(0.55, 30.0))
    source = FileInput(merge(make_sounds(2.0, [(0.5, 1.4)]), make_pictures(2)), converter)
    status, history = play(session, source)
    assert [item.final.time for item in history.utterances] == pytest.approx([2.0])  # not 1.95
    for name in ("audio", "vision"):
        assert status.counters[name].forgotten == 0
        assert status.counters[name].used == status.counters[name].sent


def test_words_after_the_end_are_not_used(text_session: Session) -> None:
    words = GivenWords([*WORDS, Word("late", 10.0, 11.0)])
    status, history = play(text_session, make_input(make_sounds(5, VOICE), words, has_pictures=False))
    assert words.left == 1
    assert status.counters["language"].used == 3
    assert history.moments[-1].time <= 5


def test_what_came_before_an_error_counts(session: Session) -> None:
    def broken() -> Iterator[Any]:
        yield from merge(make_sounds(2, VOICE), make_pictures(2))
        raise DataError("the rest is damaged")

    source = make_input(broken())
    status, _ = play(session, source)
    assert str(source.failure) == "the rest is damaged"
    assert status.counters["audio"].used == 200
    assert status.finals == 1


def test_arrivals_are_in_the_order_of_time() -> None:
    words = RecognizedWords(ListenerStandIn(WORDS, delay=0.7))
    source = make_input(merge(make_sounds(5, VOICE), make_pictures(5)), words)
    arrivals = list(source.arrivals())
    times = [arrival.time for arrival in arrivals]
    assert times == sorted(times)
    for arrival in arrivals:
        if isinstance(arrival.item, WordChunk):
            assert arrival.time == arrival.item.end
    ends = [item.item.timestamp for item in arrivals if isinstance(item.item, Control) and item.item.kind != "time"]
    assert ends == pytest.approx([2.0, 4.1])
