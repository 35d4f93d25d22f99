"""From sound and pictures to the items of a stream."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Iterable, Protocol

from edge_msa_runtime.replay.items import END_UTTERANCE, Control, FrameChunk, Item, WordChunk

if TYPE_CHECKING:
    from edge_msa_runtime.front_ends import FrontEnd, TimedFrames
    from edge_msa_runtime.live.utterances import UtteranceEnds
    from edge_msa_runtime.media.signals import Picture, Sound
    from edge_msa_runtime.text.words import Word


class Voice(Protocol):
    """Finds voice in sound."""

    def push(self, sound: Sound, frames: TimedFrames | None) -> list[tuple[float, bool]]:
        """Return moments with whether there is voice. `frames` are the audio frames, if they were computed."""


class Converter:
    """Computes the items of a stream from sound and pictures. Only what a bundle needs is computed.

    Sound and pictures may come from two threads.

    Args:
        audio: front end of the audio modality; None if the bundle does not have it.
        vision: front end of the vision modality; None if the bundle does not have it.
        voice: finds voice in the sound; None to end utterances without it.
        ends: finds the ends of utterances.
    """

    def __init__(
        self, audio: FrontEnd | None, vision: FrontEnd | None, voice: Voice | None, ends: UtteranceEnds
    ) -> None:
        self._audio = audio
        self._vision = vision
        self._voice = voice
        self._ends = ends
        self._time = 0.0
        self._lock = threading.Lock()

    @property
    def voice_since(self) -> float | None:
        """Time of the first voice of the current utterance; None without voice."""
        return self._ends.voice_since

    def convert_sound(self, sound: Sound) -> list[Item]:
        """Return what a piece of sound completes: frames, and the end of an utterance."""
        items: list[Item] = []
        frames = None
        if self._audio is not None:
            frames = self._audio.push(sound)
            items += _chunks(self._audio, frames, sound.end)
        if self._voice is not None:
            for moment, active in self._voice.push(sound, frames):
                items += self._update(moment, active=active, arrival=sound.end)
        return items

    def convert_picture(self, picture: Picture) -> list[Item]:
        """Return the frame of a picture."""
        if self._vision is None:
            return []
        return _chunks(self._vision, self._vision.push(picture), picture.time)

    def pass_time(self, time: float) -> list[Item]:
        """Let time pass without sound, and return the end of an utterance."""
        return self._update(time, active=False, arrival=time) if time > self._time else []

    def note_voice(self, word: Word) -> list[Item]:
        """Take a word as voice, where there is no sound."""
        items: list[Item] = []
        for time in (word.start, word.end):
            if time is not None:
                items += self._update(time, active=True, arrival=time)
        return items

    def finish_sound(self) -> list[Item]:
        """Return the audio frames that remain at the end."""
        return [] if self._audio is None else _chunks(self._audio, self._audio.finish(), self._time)

    def finish_pictures(self) -> list[Item]:
        """Return the vision frames that remain at the end."""
        return [] if self._vision is None else _chunks(self._vision, self._vision.finish(), self._time)

    def end(self, time: float) -> list[Item]:
        """Return the end of the last utterance at the end of the input. Silence after an utterance is none."""
        return [Control(END_UTTERANCE, time)] if self._ends.is_open else []

    def _update(self, time: float, *, active: bool, arrival: float) -> list[Item]:
        with self._lock:
            self._time = max(self._time, time)
            end = self._ends.update(self._time, active=active)
        return [] if end is None else [Control(END_UTTERANCE, end, arrival=max(end, arrival))]


def word_items(words: Iterable[Word]) -> list[WordChunk]:
    """Return an item for each word. Words without times have none."""
    return [
        WordChunk((word.text,), None if word.start is None or word.end is None else ((word.start, word.end),))
        for word in words
    ]


def _chunks(front_end: FrontEnd, frames: TimedFrames, arrival: float) -> list[Item]:
    if not len(frames.frames):
        return []
    origin = f"{front_end.modality} at {frames.time:.2f} s"
    last = frames.time + (len(frames.frames) - 1) * front_end.period
    return [
        FrameChunk(
            front_end.modality,
            frames.frames,
            frames.time,
            front_end.period,
            frames.valid,
            arrival=max(arrival, last),
            origin=origin,
        )
    ]
