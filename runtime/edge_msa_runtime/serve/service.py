"""What all requests and live streams share: the session, the front ends, the speech recognizer, and the limits."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Callable

from edge_msa_runtime.live.converter import Converter
from edge_msa_runtime.live.opening import FrontEnds, picture_rate
from edge_msa_runtime.live.utterances import UtteranceEnds
from edge_msa_runtime.live.word_sources import RecognizedWords
from edge_msa_runtime.replay.player import PlayOptions
from edge_msa_runtime.serve.limits import Limits
from edge_msa_runtime.serve.wire import RECOGNIZED, TYPED
from edge_msa_runtime.serve.work import Work

if TYPE_CHECKING:
    from edge_msa_runtime.live.converter import Voice
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.speech.recognizer import Recognizer


@dataclasses.dataclass(frozen=True)
class Service:
    """What the web application serves.

    Attributes:
        session: the bundle.
        open_front_ends: opens the front ends of one live stream or file, for sound and for pictures; None if only
            frames and text are accepted.
        voice: creates what finds voice in the sound of a live stream; None to end utterances without it.
        recognizer: recognizes words; None without one.
        play_options: how live streams are played; the end of an utterance waits for the words of the recognizer.
        typed_hold: seconds that it waits for what is still on its way if nothing is recognized.
        pause: seconds without voice after which an utterance ends.
        longest: seconds after which it ends anyway.
        limits: what is accepted.
        work: the threads in which it computes.
    """

    session: Session
    open_front_ends: Callable[[bool, bool], FrontEnds] | None = None
    voice: Callable[[], Voice] | None = None
    recognizer: Recognizer | None = None
    play_options: PlayOptions = dataclasses.field(default_factory=PlayOptions)
    typed_hold: float = 0.0
    pause: float = 0.6
    longest: float = 30.0
    limits: Limits = dataclasses.field(default_factory=Limits)
    work: Work = dataclasses.field(default_factory=Work)

    @property
    def needs_sound(self) -> bool:
        """Whether a live stream uses a microphone."""
        return self._computes("audio") or self.recognizer is not None

    @property
    def needs_pictures(self) -> bool:
        """Whether a live stream uses a camera."""
        return self._computes("vision")

    @property
    def picture_rate(self) -> float:
        """Pictures per second that a browser sends."""
        return picture_rate(self.session.manifest)

    @property
    def word_sources(self) -> tuple[str, ...]:
        """Where the words of a live stream can come from."""
        if self.session.manifest.language is None:
            return ()
        return (RECOGNIZED, TYPED) if self.recognizer is not None else (TYPED,)

    def create_front_ends(self, *, sound: bool, pictures: bool) -> FrontEnds:
        """Return new front ends, with a state of their own."""
        if self.open_front_ends is None:
            return FrontEnds(None, None, ())
        return self.open_front_ends(sound, pictures)

    def create_converter(self, *, sound: bool, pictures: bool) -> Converter:
        """Return what computes the frames of one live stream."""
        front_ends = self.create_front_ends(sound=sound, pictures=pictures)
        voice = self.voice() if sound and self.voice is not None else None
        longest = self.longest if sound or pictures else math.inf  # typed words end when the person says so
        return Converter(front_ends.audio, front_ends.vision, voice, UtteranceEnds(self.pause, longest))

    def _computes(self, modality: str) -> bool:
        return self.open_front_ends is not None and modality in self.session.manifest.modalities

    def choose_play_options(self, *, recognized: bool) -> PlayOptions:
        """Return how a live stream is played, with words of the recognizer or without."""
        if recognized:
            return self.play_options
        return dataclasses.replace(self.play_options, hold=self.typed_hold, awaited=())

    def listen(self) -> RecognizedWords | None:
        """Return the words of one live stream; None without a recognizer."""
        return None if self.recognizer is None else RecognizedWords(self.recognizer.listen())
