"""What happened so far in a replayed stream, in constant memory."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Counter, Mapping

from edge_msa_runtime.replay.percentiles import Percentiles

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction
    from edge_msa_runtime.replay.items import WordChunk
    from edge_msa_runtime.streams.events import StreamCounters, StreamEvent

SHOWN_ERRORS = 10
"""Errors that are kept and printed. Further ones are counted."""


@dataclasses.dataclass(frozen=True)
class MadePrediction:
    """A prediction of a replayed stream.

    Attributes:
        elapsed: seconds of stream time since the start; unlike `at`, it goes on after a reset.
        at: its moment, in seconds of stream time.
        made_at: stream time at which it was made. It differs from `at` while the end of an utterance waits for
            late input, or if the input asked for another moment.
        is_final: whether it ended an utterance.
        prediction: the prediction.
    """

    elapsed: float
    at: float
    made_at: float
    is_final: bool
    prediction: Prediction


class Observer:
    """Receives everything that happens in a replayed stream. Subclasses override what they need."""

    def on_prediction(self, made: MadePrediction) -> None:
        """Receive a prediction."""

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Receive words that the stream has accepted."""

    def on_event(self, elapsed: float, event: StreamEvent) -> None:
        """Receive an event of the stream."""

    def on_error(self, elapsed: float, origin: str, message: str) -> None:
        """Receive an error of the input."""

    def on_counters(self, elapsed: float, counters: Mapping[str, StreamCounters]) -> None:
        """Receive the counters by modality, every few seconds of stream time and at the end."""


class Status(Observer):
    """Counts predictions, events and errors. Any thread may read it while the stream is played.

    Attributes:
        lock: held while several values change together.
        time: stream time in seconds; None before the first item.
        seconds: stream time that has passed, also over resets.
        subsets: number of predictions by subset.
        finals: number of utterances that ended with a prediction.
        skipped: number of moments without anything to predict from.
        overdue: number of predictions that were left out because the device was too slow.
        events: number of events by kind and modality.
        errors: number of errors of the input.
        first_errors: the first ones, with their origin.
        latest: the newest prediction.
        recent: the newest events with their times.
        latency: of the predictions.
        delay: from the arrival of the newest frame that was used.
        behind_ms: most that the replay was behind real time; 0 without a speed.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.started = time.monotonic()
        self.time: float | None = None
        self.seconds = 0.0
        self.subsets: Counter[str] = collections.Counter()
        self.finals = 0
        self.skipped = self.overdue = 0
        self.events: Counter[tuple[str, str]] = collections.Counter()
        self.errors = 0
        self.first_errors: list[tuple[str, str]] = []
        self.latest: MadePrediction | None = None
        self.recent: collections.deque[tuple[float, StreamEvent]] = collections.deque(maxlen=5)
        self._read_counters: Callable[[], Mapping[str, StreamCounters]] = dict
        self.latency = Percentiles()
        self.delay = Percentiles()
        self.behind_ms = 0.0

    def start(self, read_counters: Callable[[], Mapping[str, StreamCounters]]) -> None:
        """Let the wall clock start now, and `counters` come from a function."""
        self.started = time.monotonic()
        self._read_counters = read_counters

    @property
    def counters(self) -> Mapping[str, StreamCounters]:
        """The counters of this moment by modality."""
        return self._read_counters()

    @property
    def predictions(self) -> int:
        """Number of predictions."""
        return sum(self.subsets.values())

    def on_prediction(self, made: MadePrediction) -> None:
        """Count a prediction."""
        with self.lock:
            self.latest = made
            self.subsets[made.prediction.subset] += 1
            self.finals += made.is_final
            self.latency.add(made.prediction.latency_ms)
            self.delay.add(made.prediction.delay_ms)

    def on_event(self, elapsed: float, event: StreamEvent) -> None:
        """Count an event."""
        with self.lock:
            self.events[event.kind, event.modality] += 1
            self.recent.append((elapsed, event))

    def on_error(self, elapsed: float, origin: str, message: str) -> None:
        """Count an error, and keep the first ones."""
        del elapsed
        with self.lock:
            self.errors += 1
            if len(self.first_errors) < SHOWN_ERRORS:
                self.first_errors.append((origin, message))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        kinds: Counter[str] = collections.Counter()
        for (kind, _), count in self.events.items():
            kinds[kind] += count
        return {
            "seconds": round(self.seconds, 6),
            "wall_seconds": round(time.monotonic() - self.started, 3),
            "predictions": self.predictions,
            "utterances": self.finals,
            "skipped": self.skipped,
            "overdue": self.overdue,
            "subsets": dict(self.subsets),
            "latency_ms": self.latency.to_json(),
            "delay_ms": self.delay.to_json(),
            "behind_ms": round(self.behind_ms, 3),
            "events": dict(kinds),
            "errors": self.errors,
            "first_errors": [f"{origin}: {message}" for origin, message in self.first_errors],
            "counters": {name: item.to_json() for name, item in self.counters.items()},
        }
