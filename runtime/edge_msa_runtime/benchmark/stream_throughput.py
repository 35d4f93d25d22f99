"""Predictions per second of several streams: one stream after the other compared with all at once."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from typing import TYPE_CHECKING, List, Tuple

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.prediction import Prediction

if TYPE_CHECKING:
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.streams.stream import Stream

    _Timed = Tuple[float, List[Tuple[float, ...]]]

MAX_STREAMS = 10_000
_WARMUP_ROUNDS = 5


@dataclasses.dataclass(frozen=True)
class StreamThroughput:
    """Medians over rounds. In a round, each stream gets one chunk of each modality, and is then predicted.

    Attributes:
        streams: number of streams.
        rounds: number of rounds.
        one_by_one_hz: predictions per second of `Stream.predict`, one stream after the other, without the pushes.
        at_once_hz: predictions per second of `Session.predict_many`, without the pushes.
        ratio: `at_once_hz` divided by `one_by_one_hz`, the median of the rounds' quotients.
        largest_difference: largest difference between outputs of the two.
    """

    streams: int
    rounds: int
    one_by_one_hz: float
    at_once_hz: float
    ratio: float
    largest_difference: float


def measure_streams(session: Session, streams: int, rounds: int) -> StreamThroughput:
    """Measure two sets of streams with the same frames, which alternate.

    Args:
        session: the session.
        streams: number of streams in each set.
        rounds: timed rounds.

    Raises:
        UsageError: the number of streams is out of range.
        InferenceError: the backend failed.
    """
    check_streams(streams)
    session.prepare(streams=streams)
    single, many = ([session.create_stream() for _ in range(streams)] for _ in range(2))
    generator = np.random.default_rng(0)
    one_by_one, at_once, difference = [], [], 0.0
    for number in range(_WARMUP_ROUNDS + rounds):
        for name, spec in session.manifest.modalities.items():
            for pair in zip(single, many):
                frames = generator.standard_normal((spec.chunk, spec.dim)).astype(np.float32)
                for stream in pair:
                    stream.push(name, frames)
        # Each of the two comes first in every second round: the second one finds warmer caches.
        calls = [functools.partial(_time_one_by_one, single), functools.partial(_time_at_once, session, many)]
        results = [call() for call in calls] if number % 2 else [call() for call in reversed(calls)][::-1]
        (seconds, outputs), (seconds_at_once, outputs_at_once) = results
        difference = max(difference, float(np.abs(np.subtract(outputs, outputs_at_once)).max()))
        if number >= _WARMUP_ROUNDS:
            one_by_one.append(seconds)
            at_once.append(seconds_at_once)
    return StreamThroughput(
        streams,
        rounds,
        streams / statistics.median(one_by_one),
        streams / statistics.median(at_once),
        statistics.median(one / many for one, many in zip(one_by_one, at_once)),
        difference,
    )


def check_streams(streams: int) -> None:
    """Raise a UsageError if a number of streams cannot be measured."""
    if not 1 <= streams <= MAX_STREAMS:
        raise UsageError(f"streams must be between 1 and {MAX_STREAMS}, got {streams}.")


def _time_one_by_one(streams: list[Stream]) -> _Timed:
    started = time.perf_counter()
    predictions = [stream.predict() for stream in streams]
    return time.perf_counter() - started, [prediction.outputs for prediction in predictions]


def _time_at_once(session: Session, streams: list[Stream]) -> _Timed:
    started = time.perf_counter()
    predictions = session.predict_many(streams)
    return time.perf_counter() - started, [item.outputs for item in predictions if isinstance(item, Prediction)]
