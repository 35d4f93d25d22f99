"""Play arrivals on a stream, and predict at regular moments of stream time."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import time
import weakref
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Mapping, Sequence

from edge_msa_runtime.errors import NothingToPredictError, UsageError
from edge_msa_runtime.replay.items import BOUND, PREDICT, RESET, TIME, Control, Data, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.status import MadePrediction, Observer, Status

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction
    from edge_msa_runtime.replay.scenarios import Arrival
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.streams.events import StreamEvent

COUNTERS_EVERY = 10.0
"""Seconds of stream time between two reports of the counters."""
_LATE_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class PlayOptions:
    """How arrivals are played.

    Attributes:
        every: seconds of stream time between predictions; 0 to predict only when the input asks for it.
        speed: factor of real time; 0 for as fast as possible.
        hold: seconds that the end of an utterance waits for what is still on its way.
        stream: arguments of `Session.create_stream`.
        awaited: the modalities that it waits for: once a bound of each says that nothing of the utterance will come, it
            ends before the hold has passed. Empty: it always waits.
        real_time: whether predictions are left out that are late by more than `every`, and by more than 0.5 s. Without,
            predictions that take longer than `every` would be later and later.
    """

    every: float = 0.5
    speed: float = 0.0
    hold: float = 0.0
    stream: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    awaited: tuple[str, ...] = ()
    real_time: bool = False


class Player:
    """Plays arrivals on a new stream of a session.

    Args:
        session: the session.
        options: how to play.
        status: counts what happens.
        observers: receive what happens, after `status`.
    """

    def __init__(self, session: Session, options: PlayOptions, status: Status, observers: Sequence[Observer]) -> None:
        self._options = options
        self._status = status
        self._observers = (status, *observers)
        self._now = -math.inf  # stream time
        self._before_reset = -math.inf
        self._next_tick = math.inf
        self._next_report = COUNTERS_EVERY
        self._latest_at = -math.inf
        self._newest = -math.inf  # event time of what arrived
        self._ends: collections.deque[tuple[float, Control]] = collections.deque()  # when they are due
        self._bounds: dict[str, float] = {}
        self._refusal: str | None = None  # why the newest item was refused
        self._is_timed: bool | None = None
        # The stream does not keep the player, so that the memory of both is free as soon as nothing uses the player.
        self._stream = session.create_stream(
            **options.stream, on_event=_weakly(self._on_event), clock=_weakly(self._clock)
        )
        self._is_new = False  # whether something arrived since the last prediction
        self._anchor: tuple[float, float] | None = None  # the same moment in stream time and on the wall clock

    def play(self, arrivals: Iterable[Arrival]) -> None:
        """Play all arrivals, then predict once more if something arrived since the last prediction.

        What the stream refuses is reported as an error of its item, and the rest goes on.

        Raises:
            InferenceError: the backend failed.
        """
        stream = self._stream
        self._status.start(lambda: stream.counters)
        try:
            for arrival in arrivals:
                self._go_to(arrival.time)
                self._refusal = None
                self._deliver(arrival.item)
                if self._refusal is not None and not arrival.faults:  # those of a scenario are not errors of the input
                    self.report_error(arrival.item.origin, self._refusal)
            is_new = self._is_new or bool(self._ends)  # what follows a held end has not been predicted
            self._end_all()
            if is_new:
                self._predict_or_report(max(self._now, self._latest_at, self._newest))
        finally:
            self._stream.close()
            self._report()

    def report_error(self, origin: str, message: str) -> None:
        """Report an error of the input."""
        for observer in self._observers:
            observer.on_error(self._status.seconds, origin, message)

    def _clock(self) -> float:
        """Return when something arrives: without timestamps in stream time, so that the speed does not matter."""
        return self._now if self._is_timed is False else time.monotonic()

    def _go_to(self, moment: float) -> None:
        """Let the time pass until a moment, and do what is due before it."""
        if moment == -math.inf:
            return
        if self._now == -math.inf:
            self._next_tick = self._tick_after(moment)
            # Where the times start again after a reset, there is no way to know how long it took.
            self._now = self._before_reset if moment >= self._before_reset > -math.inf else moment
        while True:
            end = self._ends[0][0] if self._ends else math.inf
            due = min(end, self._next_tick)
            if due >= moment:
                break
            self._pass(due)
            if due == end:
                self._end(self._ends.popleft()[1])
            elif self._options.real_time and due < moment - max(self._options.every, _LATE_SECONDS):
                self._next_tick = self._tick_after(due)
                self._status.overdue += 1
            else:
                self._next_tick = self._tick_after(due)
                # While the end of an utterance is held, predictions are of that end.
                held = self._ends[0][1].timestamp if self._ends else None
                self._predict_or_report(max(due if held is None else min(due, held), self._latest_at))
        self._pass(moment)

    def _pass(self, moment: float) -> None:
        self._wait(moment)
        self._status.seconds += max(0.0, moment - self._now)
        self._now = max(self._now, moment)
        self._status.time = self._now
        if self._status.seconds >= self._next_report:
            self._next_report += COUNTERS_EVERY
            self._report()

    def _tick_after(self, moment: float) -> float:
        every = self._options.every
        return (math.floor(moment / every + 1e-9) + 1) * every if every else math.inf

    def _wait(self, moment: float) -> None:
        if not self._options.speed:
            return
        if self._anchor is None or moment < self._anchor[0]:
            self._anchor = (moment, time.monotonic())
        due = self._anchor[1] + (moment - self._anchor[0]) / self._options.speed
        rest = due - time.monotonic()
        if rest > 0:
            time.sleep(rest)
        else:
            self._status.behind_ms = max(self._status.behind_ms, -rest * 1e3)

    def _deliver(self, item: Item) -> None:
        try:
            if isinstance(item, Control):
                self._control(item)
                return
            self._push(item)
        except UsageError as error:
            self._refusal = str(error)

    def _push(self, item: Data) -> None:
        was_timed = self._is_timed
        if was_timed is None:
            self._is_timed = item.start is not None
        try:
            if isinstance(item, FrameChunk):
                self._stream.push(item.modality, item.frames, item.timestamp, period=item.period, valid=item.valid)
            else:
                self._stream.push_text(list(item.words), item.times, timestamp=item.timestamp)
        except UsageError:
            self._is_timed = was_timed
            raise
        if self._refusal is not None:  # with an event instead of an error
            self._is_timed = was_timed
            return
        self._is_new = True
        if item.end is not None:
            self._newest = max(self._newest, item.end)
        if isinstance(item, WordChunk):
            for observer in self._observers:
                observer.on_words(self._status.seconds, item)

    def _control(self, item: Control) -> None:
        if item.kind == BOUND:
            self._stream.advance(item.modality or "", item.timestamp or 0.0)
            self._bounds[item.modality or ""] = item.timestamp or 0.0
            while self._ends and self._is_complete(self._ends[0][1]):
                self._end(self._ends.popleft()[1])
        elif item.kind == PREDICT:
            self._predict(max(self._now, self._latest_at) if item.timestamp is None else item.timestamp)
        elif item.kind == RESET:
            self._end_all()
            self._stream.reset()
            self._before_reset = self._now
            self._now = self._latest_at = self._newest = -math.inf
            self._is_timed, self._is_new, self._bounds = None, False, {}
        elif item.kind == TIME:
            return
        elif item.timestamp is None or not self._options.hold or self._is_complete(item):
            self._end(item)
        else:
            self._ends.append((max(self._now, item.timestamp + self._options.hold), item))

    def _is_complete(self, end: Control) -> bool:
        """Return whether the bounds say that nothing from before the end of an utterance will come."""
        awaited, moment = self._options.awaited, end.timestamp or 0.0
        return bool(awaited) and all(self._bounds.get(name, -math.inf) >= moment for name in awaited)

    def _end_all(self) -> None:
        while self._ends:
            self._end(self._ends.popleft()[1])

    def _end(self, item: Control) -> None:
        """End an utterance at the time of the message, or at that of the last prediction if it was later."""
        at = self._now if item.timestamp is None else item.timestamp
        self._predict_or_report(max(at, self._latest_at), item.origin, is_final=True)

    def _predict_or_report(self, at: float, origin: str = "", *, is_final: bool = False) -> None:
        try:
            self._predict(at, is_final=is_final)
        except UsageError as error:
            self.report_error(origin or f"prediction at {at:.10g} s", str(error))

    def _predict(self, at: float, *, is_final: bool = False) -> None:
        self._is_new = False
        moment = at if self._is_timed else None
        prediction: Prediction | None = None
        if at > -math.inf:
            with contextlib.suppress(NothingToPredictError):
                prediction = self._stream.end_utterance(moment) if is_final else self._stream.predict(moment)
            self._latest_at = max(self._latest_at, at)
        if prediction is None:
            self._status.skipped += 1
            return
        made = MadePrediction(self._status.seconds, at, self._now, is_final, prediction)
        for observer in self._observers:
            observer.on_prediction(made)

    def _on_event(self, event: StreamEvent) -> None:
        for observer in self._observers:
            observer.on_event(self._status.seconds, event)
        if event.kind == "refused":
            self._refusal = event.message

    def _report(self) -> None:
        counters = self._stream.counters
        for observer in self._observers:
            observer.on_counters(self._status.seconds, counters)


def stamp_arrivals(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items. Those without any time arrive at the seconds since the start on the wall clock."""
    started = time.monotonic()
    for item in items:
        if item.due is None and not isinstance(item, Control):
            yield dataclasses.replace(item, arrival=time.monotonic() - started)
        else:
            yield item


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls a method, but does not keep its object in memory."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        found = reference()
        return None if found is None else found(*arguments)

    return call
