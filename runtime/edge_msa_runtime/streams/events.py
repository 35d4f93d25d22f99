"""What a stream reports: counters of every frame, and an event for everything that it did not use."""

from __future__ import annotations

import dataclasses
from typing import Any

KINDS = (
    "late",
    "duplicate",
    "overflow",
    "refused",
    "masked",
    "gap",
    "absent",
    "returned",
    "expired",
    "utterance",
)


@dataclasses.dataclass(frozen=True)
class StreamEvent:
    """Something that happened in a stream.

    Attributes:
        kind: one of `streams.events.KINDS`. `late`, `duplicate`, `overflow`, `refused` and `masked`: frames that were
            not used. `gap`: frames that never came. `absent`, `returned`: a modality without data for longer than
            `max_gap` or `max_age`, and its return. `expired`: what a modality had before was forgotten, because its
            next valid frame came more than `max_age` after it. `utterance`: an utterance ended.
        modality: the modality; empty for `utterance`.
        count: number of frames, of words for text; 0 for `absent`, `returned` and `utterance`.
        timestamp: event time in seconds; NaN if it is not known, such as for a refused push with a bad timestamp.
        message: the same in words.
    """

    kind: str
    modality: str
    count: int
    timestamp: float
    message: str


@dataclasses.dataclass(frozen=True)
class StreamCounters:
    """What became of the frames of one modality since the stream was created. For text, the unit is words.

    `sent` is `used + dropped + refused` at any time.

    Attributes:
        used: frames that a prediction uses or will use, `queued` included. Also frames of earlier utterances, and words
            beyond the maximum number of tokens.
        queued: frames that wait for a prediction.
        late: frames that came after the watermark of the modality had passed them.
        duplicate: valid frames whose time equals that of an earlier valid frame.
        overflow: frames that were dropped because the queue was full.
        masked: frames with a false mask, or with bad values if the stream masks these; words without tokens.
        forgotten: queued frames that `forget`, `reset` or `close` removed.
        refused: frames of pushes that were refused. A chunk whose frames cannot be counted is one.
        missing: frames that never came between two others of an utterance, judged by the period. They were not sent.
    """

    used: int
    queued: int
    late: int
    duplicate: int
    overflow: int
    masked: int
    forgotten: int
    refused: int
    missing: int

    @property
    def sent(self) -> int:
        """All frames that were pushed."""
        return self.used + self.dropped + self.refused

    @property
    def dropped(self) -> int:
        """Frames of accepted pushes that no prediction uses."""
        return self.late + self.duplicate + self.overflow + self.masked + self.forgotten

    def to_json(self) -> dict[str, Any]:
        """Return the counters, with `sent` and `dropped`, as plain JSON values."""
        return {"sent": self.sent, "dropped": self.dropped, **dataclasses.asdict(self)}


class Tally:
    """The counters of one modality while they change. `encoded` and `queued` are `used` together."""

    __slots__ = (
        "duplicate",
        "encoded",
        "forgotten",
        "late",
        "masked",
        "missing",
        "overflow",
        "queued",
        "refused",
    )

    def __init__(self) -> None:
        self.encoded = self.queued = self.late = self.duplicate = self.overflow = 0
        self.masked = self.forgotten = self.refused = self.missing = 0

    def snapshot(self) -> StreamCounters:
        """Return the counters of this moment."""
        return StreamCounters(
            used=self.encoded + self.queued,
            queued=self.queued,
            late=self.late,
            duplicate=self.duplicate,
            overflow=self.overflow,
            masked=self.masked,
            forgotten=self.forgotten,
            refused=self.refused,
            missing=self.missing,
        )
