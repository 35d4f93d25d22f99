"""What was predicted and said over time, for the page and the annotated video."""

from __future__ import annotations

import bisect
import dataclasses
from typing import TYPE_CHECKING, Mapping

from edge_msa_runtime.replay.status import MadePrediction, Observer
from edge_msa_runtime.text.words import Word

if TYPE_CHECKING:
    from edge_msa_runtime.replay.items import WordChunk
    from edge_msa_runtime.streams.events import StreamEvent

_SHOWN_EVENTS = ("absent", "returned", "expired")
_SAME_SECONDS = 1e-6


@dataclasses.dataclass(frozen=True)
class Moment:
    """A prediction.

    Attributes:
        time: its moment in seconds.
        score: None for classes and emotions.
        label: name of the range of the score, or the most probable class or emotion.
        interval: of the score; None without one.
        probabilities: by class or emotion; empty for scores.
        prediction_set: of classes; None without one.
        subset: the modalities.
        is_final: whether it ended an utterance.
    """

    time: float
    score: float | None
    label: str
    interval: tuple[float, float] | None
    probabilities: Mapping[str, float]
    prediction_set: tuple[str, ...] | None
    subset: str
    is_final: bool


@dataclasses.dataclass(frozen=True)
class Utterance:
    """An utterance that has ended.

    Attributes:
        start: end of the one before, or 0.
        final: its last prediction.
        words: its words.
    """

    start: float
    final: Moment
    words: tuple[Word, ...]


class History(Observer):
    """Collects predictions, words and absences.

    Attributes:
        moments: predictions in the order of time. Of several for the same time, the last one.
        words: as they arrived.
        events: time and text of what happened to modalities.
    """

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.words: list[Word] = []
        self.events: list[tuple[float, str]] = []

    def on_prediction(self, made: MadePrediction) -> None:
        """Add a prediction."""
        prediction = made.prediction
        moment = Moment(
            made.at,
            prediction.score,
            prediction.label,
            prediction.interval,
            prediction.probabilities,
            prediction.prediction_set,
            prediction.subset,
            made.is_final,
        )
        if self.moments and abs(self.moments[-1].time - made.at) < _SAME_SECONDS and not self.moments[-1].is_final:
            self.moments.pop()
        self.moments.append(moment)

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Add words that have times."""
        del elapsed
        for text, (start, end) in zip(words.words, words.times or ()):
            self.words.append(Word(text, start, end))

    def on_event(self, elapsed: float, event: StreamEvent) -> None:
        """Add what happened to a modality."""
        del elapsed
        if event.kind in _SHOWN_EVENTS:
            self.events.append((event.timestamp, event.message))

    @property
    def utterances(self) -> list[Utterance]:
        """The utterances that have ended, with their words."""
        words = sorted(self.words, key=lambda word: word.end or 0.0)
        ends = [word.end or 0.0 for word in words]
        found, start, first = [], 0.0, 0
        for moment in self.moments:
            if moment.is_final:
                last = bisect.bisect_right(ends, moment.time + _SAME_SECONDS)
                found.append(Utterance(start, moment, tuple(words[first:last])))
                start, first = moment.time, last
        return found
