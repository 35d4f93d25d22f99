"""What prediction from a microphone and a camera costs: each stage on one core, and all of them in real time.

A recording takes the place of the devices. It is repeated, so that a run can be longer than it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.live.converter import Converter, Voice
from edge_msa_runtime.live.device_input import DeviceInput
from edge_msa_runtime.live.opening import check_media_bundle, open_front_ends, picture_rate, takes_words
from edge_msa_runtime.live.utterances import UtteranceEnds
from edge_msa_runtime.live.voice import open_voice
from edge_msa_runtime.live.word_sources import RecognizedWords
from edge_msa_runtime.media.signals import Picture, Sound
from edge_msa_runtime.process_memory import resident_memory_bytes
from edge_msa_runtime.replay.percentiles import Percentiles
from edge_msa_runtime.replay.player import Player, PlayOptions
from edge_msa_runtime.replay.status import MadePrediction, Observer, Status

if TYPE_CHECKING:
    from pathlib import Path

    from edge_msa_runtime.front_ends import FrontEnd
    from edge_msa_runtime.live.word_sources import WordSource
    from edge_msa_runtime.replay.items import WordChunk
    from edge_msa_runtime.session import Session

OpenMedia = Callable[[bool, bool], Any]
"""Opens the recording: whether to read sound, and pictures."""

AUDIO_SHARE, VISION_MS, MODEL_MS, WORD_SECONDS = 0.05, 15.0, 1.0, 1.5
"""What the stages may cost: share of real time, milliseconds per picture and per prediction, seconds after a word."""
RUN_CORES = 2
_MOST_SOUND, _MOST_PICTURES, _FIRST_PICTURES = 60.0, 200, 5
_WINDOW = 60.0
_SKIPPED_SECONDS = 60.0  # in which memory may still grow, because libraries fill their caches
_SHORT_RUN = 180.0  # a shorter run skips its first third


@dataclasses.dataclass(frozen=True)
class Stages:
    """What each stage costs on one core.

    Attributes:
        sound_seconds: sound that was measured.
        audio_share: time for the audio front end and voice activity, divided by the time of the sound; None without.
        audio_cpu_share: the same in processor time, without what other processes take.
        picture_size: width and height of the pictures; None without.
        pictures: pictures that were measured.
        face_share: share of them with a face. A picture without one takes less time.
        vision_ms: p50, p90, p99 and largest time per picture.
        vision_cpu_ms: mean processor time per picture.
    """

    sound_seconds: float
    audio_share: float | None
    audio_cpu_share: float | None
    picture_size: tuple[int, int] | None
    pictures: int
    face_share: float | None
    vision_ms: Mapping[str, float | None]
    vision_cpu_ms: float | None


@dataclasses.dataclass(frozen=True)
class Window:
    """One minute of the run in real time.

    Attributes:
        seconds: its end.
        predictions: number of predictions.
        model_ms: p50 and p99 of their latency.
        late_ms: most that a prediction came after its moment.
        word_seconds: p50 and largest time from the end of a word to its use; None without words.
        dropped: pictures that were dropped.
        memory_bytes: of the process at its end.
        cores: processor time divided by time.
    """

    seconds: float
    predictions: int
    model_ms: tuple[float | None, float | None]
    late_ms: float
    word_seconds: tuple[float | None, float | None]
    dropped: int
    memory_bytes: int | None
    cores: float


@dataclasses.dataclass(frozen=True)
class LiveBenchmark:
    """The result of `measure_live`.

    Attributes:
        stages: each stage alone.
        windows: minutes of the run in real time.
        model_ms: latency of predictions.
        word_seconds: time from the end of a word to its use.
        words: number of words.
        memory_slope: bytes per minute by which the memory grew, after the first minute.
        delay_slope: milliseconds per minute by which predictions came later.
        cores: processor cores that the run could use; None where that cannot be set.
        pictures: pictures that were used.
        dropped: pictures that were dropped.
        overdue: predictions that were left out to keep real time.
        notes: what is not known about the bundle's features, one line each.
    """

    stages: Stages
    windows: tuple[Window, ...]
    model_ms: Mapping[str, float | None]
    word_seconds: Mapping[str, float | None]
    words: int
    memory_slope: float | None
    delay_slope: float | None
    cores: int | None
    pictures: int
    dropped: int
    overdue: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)


def bench_live(
    session: Session,
    media: Path,
    *,
    asr: str | None = None,
    face_model: Path | None = None,
    minutes: float = 1.0,
    on_window: Callable[[Window], object] | None = None,
) -> LiveBenchmark:
    """Open what the bundle needs, and measure.

    Args:
        session: an open session.
        media: a video with a face and speech, which is repeated as often as needed.
        asr: speech recognizer; None for no words.
        face_model: file of the Face Landmarker; None for the one in the cache folder.
        minutes: length of the run in real time.
        on_window: called after each minute of the run; None for nothing.

    Raises:
        UsageError: the file has nothing that the bundle uses, or the bundle was trained on other features.
        EdgeMsaError: the file cannot be read, a package is missing, or a stage failed.
    """
    from edge_msa_runtime.media.files import open_media

    manifest = session.manifest
    check_media_bundle(manifest)
    with open_media(media, sound=False, pictures=False) as probe:
        has_sound, has_pictures = probe.has_sound, probe.has_pictures
    front_ends = open_front_ends(manifest, sound=has_sound, pictures=has_pictures, face_model=face_model)
    words = None
    if asr is not None and has_sound and takes_words(manifest):
        from edge_msa_runtime.speech.recognizer import open_recognizer

        words = RecognizedWords(open_recognizer(asr, threads=session.threads).listen())
    if front_ends.audio is None and front_ends.vision is None and words is None:
        raise UsageError(
            f"{media} has nothing that {manifest.name} uses. Pass a video with sound, or a recognizer for words."
        )
    rate = picture_rate(manifest)
    result = measure_live(
        session,
        lambda sound, pictures: open_media(media, sound=sound, pictures=pictures, picture_rate=rate),
        audio=front_ends.audio,
        vision=front_ends.vision,
        voice=open_voice(),
        words=words,
        minutes=minutes,
        on_window=on_window,
    )
    return dataclasses.replace(result, notes=front_ends.notes)


def measure_live(
    session: Session,
    open_media: OpenMedia,
    *,
    audio: FrontEnd | None,
    vision: FrontEnd | None,
    voice: Voice,
    words: WordSource | None,
    minutes: float,
    on_window: Callable[[Window], object] | None = None,
) -> LiveBenchmark:
    """Measure the stages, then play the recording in real time.

    Args:
        session: an open session.
        open_media: opens the recording.
        audio: front end of the audio modality; None if it is not used.
        vision: front end of the vision modality; None if it is not used.
        voice: finds voice.
        words: delivers words; None without a recognizer.
        minutes: length of the run.
        on_window: called after each minute of the run.

    Raises:
        UsageError: the recording is empty.
        EdgeMsaError: a stage failed.
    """
    with use_cores(1):
        stages = measure_stages(open_media, audio, vision, voice)
    with use_cores(RUN_CORES) as cores:
        source = DeviceInput(
            Converter(audio, vision, voice, UtteranceEnds(0.6, 30.0)), words, seconds=60 * minutes, notice=_ignore
        )
        if audio is not None or words is not None:
            source.add_microphone(lambda origin: RepeatedMicrophone(lambda: open_media(True, False), origin))
        if vision is not None:
            source.add_camera(lambda origin: RepeatedCamera(lambda: open_media(False, True), origin))
        session.prepare()
        status = Status()
        meter = Meter(source, on_window)
        gaps = {name: 1.0 for name in ("audio", "vision") if name in session.manifest.modalities}
        stream = {"bad_frames": "drop", "max_gap": gaps or None}
        has_words = words is not None
        awaited = ("language",) if has_words else ()
        options = PlayOptions(0.5, 0.0, 10.0 if has_words else 0.5, stream, awaited, real_time=True)
        source.open()
        with source:
            Player(session, options, status, [meter]).play(source.arrivals())
    meter.finish()
    report = source.reports.get("camera")
    return LiveBenchmark(
        stages,
        tuple(meter.windows),
        status.latency.to_json(),
        {name: None if value is None else value / 1e3 for name, value in meter.words.to_json().items()},
        meter.words.count,
        meter.memory_slope,
        meter.delay_slope,
        cores,
        0 if report is None else report.received,
        0 if report is None else report.dropped,
        status.overdue,
    )


def measure_stages(open_media: OpenMedia, audio: FrontEnd | None, vision: FrontEnd | None, voice: Voice) -> Stages:
    """Measure the front ends alone, in this thread.

    Raises:
        UsageError: the recording is empty.
    """
    seconds, busy, sound_cpu = 0.0, 0.0, 0.0
    if audio is not None:
        for sound in _first_sounds(open_media):
            started, cpu = time.perf_counter(), time.process_time()
            voice.push(sound, audio.push(sound))
            busy += time.perf_counter() - started
            sound_cpu += time.process_time() - cpu
            seconds += len(sound.samples) / 16_000
        audio.finish()
    times, faces, size, count, used = Percentiles(), 0, None, 0, 0.0
    if vision is not None:
        for index, picture in enumerate(_first_pictures(open_media)):
            started, cpu = time.perf_counter(), time.process_time()
            frames = vision.push(picture)
            if index >= _FIRST_PICTURES:  # the first ones allocate memory
                times.add((time.perf_counter() - started) * 1e3)
                used += time.process_time() - cpu
                faces += bool(frames.valid is None or frames.valid.all())
                count += 1
            size = (picture.pixels.shape[1], picture.pixels.shape[0])
        vision.finish()
    if (audio is not None and not seconds) or (vision is not None and not count):
        raise UsageError("The recording is too short to measure. Pass one with a second of sound and of pictures.")
    return Stages(
        round(seconds, 3),
        busy / seconds if seconds else None,
        sound_cpu / seconds if seconds else None,
        size,
        count,
        faces / count if count else None,
        times.to_json(),
        used / count * 1e3 if count else None,
    )


def _first_sounds(open_media: OpenMedia) -> Iterator[Sound]:
    with open_media(True, False) as media:
        for sound in media:
            if sound.time > _MOST_SOUND:
                return
            yield sound


def _first_pictures(open_media: OpenMedia) -> Iterator[Picture]:
    with open_media(False, True) as media:
        for index, picture in enumerate(media):
            if index >= _MOST_PICTURES:
                return
            yield picture


@contextlib.contextmanager
def use_cores(count: int) -> Iterator[int | None]:
    """Let this thread, and those that it starts, use so many processor cores. Yield their number, None if unknown."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    chosen = sorted(before)[:count]
    os.sched_setaffinity(0, chosen)
    try:
        yield len(chosen)
    finally:
        os.sched_setaffinity(0, before)


class Meter(Observer):
    """Measures a run in real time, minute by minute.

    Args:
        source: what is played.
        on_window: called after each minute; None for nothing.

    Attributes:
        windows: the minutes.
        words: from the end of a word to its use.
    """

    def __init__(self, source: DeviceInput, on_window: Callable[[Window], object] | None) -> None:
        self._source = source
        self._on_window = on_window
        self._end = _WINDOW
        self._cpu = time.process_time()
        self._started = 0.0
        self._dropped = 0
        self._memory: list[tuple[float, float]] = []
        self._late: list[tuple[float, float]] = []
        self._reset()
        self.windows: list[Window] = []
        self.words = Percentiles()

    def _reset(self) -> None:
        self._model, self._ages = Percentiles(), Percentiles()
        self._latest = 0.0

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Note how old a word is."""
        del elapsed
        if words.end is not None:
            age = max(0.0, self._source.now - words.end) * 1e3
            self.words.add(age)
            self._ages.add(age)

    def on_prediction(self, made: MadePrediction) -> None:
        """Note how late a prediction is. Those of the end of an utterance wait for its words on purpose."""
        now = self._source.now
        late = max(0.0, now - made.made_at) * 1e3
        self._model.add(made.prediction.latency_ms)
        self._latest = max(self._latest, late)
        self._late.append((now, late))
        memory = resident_memory_bytes()
        if memory is not None:
            self._memory.append((now, float(memory)))
        if now >= self._end:
            self._close(now)

    def finish(self) -> None:
        """Close the last minute."""
        if self._model.count:
            self._close(self._source.now)

    def _close(self, now: float) -> None:
        cpu, dropped = time.process_time(), sum(item.dropped for item in self._source.reports.values())
        said = [self._ages.percentile(0.5), self._ages.largest_ms if self._ages.count else None]
        self.windows.append(
            Window(
                round(now, 1),
                self._model.count,
                (self._model.percentile(0.5), self._model.percentile(0.99)),
                self._latest,
                (_seconds(said[0]), _seconds(said[1])),
                dropped - self._dropped,
                resident_memory_bytes(),
                (cpu - self._cpu) / max(now - self._started, 1e-9),
            )
        )
        self._cpu, self._started, self._dropped = cpu, now, dropped
        self._end = now + _WINDOW
        self._reset()
        if self._on_window is not None:
            self._on_window(self.windows[-1])

    @property
    def memory_slope(self) -> float | None:
        """Bytes per minute by which the memory grew, after the first minute."""
        return _slope(self._memory)

    @property
    def delay_slope(self) -> float | None:
        """Milliseconds per minute by which predictions came later, after the first minute."""
        return _slope(self._late)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3


def _slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Return the slope per minute of the least-squares line, without the start."""
    import numpy as np

    last = points[-1][0] if points else 0.0
    skipped = _SKIPPED_SECONDS if last >= _SHORT_RUN else last / 3
    kept = np.array([point for point in points if point[0] >= skipped])
    if len(kept) < 10:
        return None
    times = kept[:, 0] - kept[:, 0].mean()
    return float((times * kept[:, 1]).sum() / (times**2).sum() * 60)


class _Repeated:
    """A recording that is repeated without an end, at its own speed."""

    name = "recording"
    notes: tuple[str, ...] = ()
    ended = False

    def __init__(self, open_media: Callable[[], Any], origin: float) -> None:
        self._origin = origin
        self._signals = self._repeat(open_media)
        self._next = next(self._signals)
        self.dropped = self.lost_blocks = 0

    def _repeat(self, open_media: Callable[[], Any]) -> Iterator[Any]:
        start = 0.0
        while True:
            end = start
            with open_media() as media:
                for signal in media:
                    moved = signal._replace(time=signal.time + start)
                    end = max(end, self._due(moved))
                    yield moved
            if end == start:
                raise UsageError("The recording is too short to measure. Pass one of a second or more.")
            start = end + self._step

    _step = 0.0

    def _due(self, signal: Any) -> float:
        raise NotImplementedError

    def _wait(self, timeout: float | None) -> bool:
        """Wait until the next signal is due, and return whether it is."""
        rest = self._origin + self._due(self._next) - time.monotonic()
        if timeout is not None and rest > timeout:
            time.sleep(timeout)
            return False
        time.sleep(max(0.0, rest))
        return True

    def close(self) -> None:
        """Close the recording."""
        self._signals = iter(())

    def __enter__(self) -> _Repeated:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class RepeatedMicrophone(_Repeated):
    """Sound in place of a microphone."""

    def _due(self, signal: Sound) -> float:
        return signal.end

    def read(self, timeout: float | None = None) -> Sound | None:
        """Return the next sound."""
        if not self._wait(timeout):
            return None
        sound: Sound = self._next
        self._next = next(self._signals)
        return sound


class RepeatedCamera(_Repeated):
    """Pictures in place of a camera. If several are due, only the newest one is returned."""

    _step = 1 / 15

    def _due(self, signal: Picture) -> float:
        return signal.time

    def read(self, timeout: float | None = None) -> Picture | None:
        """Return the newest picture."""
        if not self._wait(timeout):
            return None
        picture: Picture = self._next
        self._next = next(self._signals)
        while self._origin + self._next.time <= time.monotonic():
            picture, self._next = self._next, next(self._signals)
            self.dropped += 1
        return picture


def _ignore(text: str) -> None:
    """Print nothing."""
