"""The state of one modality's encoder in an utterance, and what is known about the frames in it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_msa_runtime.programs import State
    from edge_msa_runtime.text.stream_text import StreamText


class Encoding:
    """What the frames of one modality have left in an utterance.

    Attributes:
        state: state of the encoder; None before the first valid frame.
        text: the words; None for frames.
        newest: time of the newest frame in seconds; -inf if there is none.
        newest_valid: the same of valid frames.
        arrived: when the newest valid frame was pushed, in seconds of the stream's clock.
        valid: number of valid frames or words.
        masked: number of masked and of missing frames.
        is_far: whether frames were far out of the range seen in training.
        has_gap: whether frames after the newest valid one are masked or missing.
    """

    __slots__ = ("arrived", "has_gap", "is_far", "masked", "newest", "newest_valid", "state", "text", "valid")

    def __init__(self) -> None:
        self.state: State | None = None
        self.text: StreamText | None = None
        self.newest = self.newest_valid = self.arrived = -math.inf
        self.valid = self.masked = 0
        self.is_far = self.has_gap = False

    @property
    def frames(self) -> int:
        """Number of valid frames of the modality that a prediction uses, also those that words become."""
        return self.valid if self.text is None else self.text.frames

    @property
    def masked_share(self) -> float:
        """Share of the frames that were masked or are missing, 0 to 1."""
        return self.masked / (self.valid + self.masked) if self.masked else 0.0

    def save(self) -> Encoding:
        """Return a copy that shares the state and the text."""
        other = Encoding.__new__(Encoding)  # `copy.copy` takes seven times as long
        other.state, other.text, other.newest, other.newest_valid = (
            self.state,
            self.text,
            self.newest,
            self.newest_valid,
        )
        other.arrived, other.valid, other.masked, other.is_far = self.arrived, self.valid, self.masked, self.is_far
        other.has_gap = self.has_gap
        return other

    def fork(self) -> Encoding:
        """Return an independent copy."""
        other = self.save()
        # Graphs that run later (see `streams.many`) leave an empty state until then, and do not change this one.
        if self.state:
            other.state = {name: array.copy() for name, array in self.state.items()}
        if self.text is not None:
            other.text = self.text.copy()
        return other
