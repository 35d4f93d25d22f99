"""What is sent to a stream: chunks of frames, words, and control messages, with their event times in seconds."""

from __future__ import annotations

import dataclasses
from typing import Any, Union

BOUND, END_UTTERANCE, RESET, PREDICT = "bound", "end_utterance", "reset", "predict"
CONTROLS = (BOUND, END_UTTERANCE, RESET, PREDICT)
TIME = "time"
"""Nothing but time passes. Live input sends it while no device delivers anything; it is not in JSON lines."""


@dataclasses.dataclass(frozen=True, eq=False)
class FrameChunk:
    """Consecutive frames of one modality.

    Attributes:
        modality: `language`, `audio` or `vision`.
        frames: (T, d); anything that `Stream.push` may be given, so a chunk can also be invalid.
        timestamp: event time of the first frame in seconds; None if the input has no times.
        period: seconds between frames; None if it is unknown.
        valid: mask (T,); None if all frames are valid.
        arrival: when the chunk arrives in seconds, on the same clock; None for the time of its last frame.
        origin: where it was read, such as `line 3`, for messages.
    """

    modality: str
    frames: Any
    timestamp: float | None = None
    period: float | None = None
    valid: Any = None
    arrival: float | None = None
    origin: str = ""

    @property
    def start(self) -> float | None:
        """Event time of the first frame."""
        return self.timestamp

    @property
    def end(self) -> float | None:
        """Event time of the last frame."""
        if self.timestamp is None:
            return None
        return self.timestamp + max(0, len(self.frames) - 1) * (self.period or 0.0)

    @property
    def due(self) -> float | None:
        """When the chunk arrives if nothing delays it: `arrival`, or the event time of the last frame."""
        return self.end if self.arrival is None else self.arrival


@dataclasses.dataclass(frozen=True, eq=False)
class WordChunk:
    """Words of the language modality.

    Attributes:
        words: the words.
        times: (start, end) of each word in seconds; None if they are unknown.
        timestamp: event time of words without times.
        arrival: when they arrive in seconds; None for the end of the last word.
        origin: where they were read.
    """

    words: tuple[str, ...]
    times: tuple[tuple[float, float], ...] | None = None
    timestamp: float | None = None
    arrival: float | None = None
    origin: str = ""

    modality = "language"

    @property
    def start(self) -> float | None:
        """Start of the first word."""
        return self.times[0][0] if self.times else self.timestamp

    @property
    def end(self) -> float | None:
        """End of the last word."""
        return self.times[-1][1] if self.times else self.timestamp

    @property
    def due(self) -> float | None:
        """When the words arrive if nothing delays them: `arrival`, or the end of the last word."""
        return self.end if self.arrival is None else self.arrival


@dataclasses.dataclass(frozen=True)
class Control:
    """A message that is never lost.

    Attributes:
        kind: `bound` (nothing of `modality` before `timestamp` will come), `end_utterance`, `reset`,
            `predict` or `time`.
        timestamp: event time in seconds; None for now.
        modality: the modality of a bound.
        arrival: when it arrives in seconds; None for `timestamp`.
        origin: where it was read.
    """

    kind: str
    timestamp: float | None = None
    modality: str | None = None
    arrival: float | None = None
    origin: str = ""

    @property
    def due(self) -> float | None:
        """When the message arrives if nothing delays it."""
        return self.timestamp if self.arrival is None else self.arrival


Data = Union[FrameChunk, WordChunk]
Item = Union[FrameChunk, WordChunk, Control]
