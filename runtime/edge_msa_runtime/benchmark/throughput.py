"""Predictions per second of one session: one thread compared with as many threads as the session has workers."""

from __future__ import annotations

import dataclasses
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    from edge_msa_runtime.session import Session

ROUNDS = 9


@dataclasses.dataclass(frozen=True)
class Throughput:
    """Medians over rounds that alternate between one thread and several.

    Attributes:
        threads: number of threads that predict at the same time.
        one_thread_hz: predictions per second of one thread.
        threads_hz: predictions per second of all threads together.
        ratio: their ratio, the median of the rounds' ratios.
    """

    threads: int
    one_thread_hz: float
    threads_hz: float
    ratio: float


def measure_throughput(session: Session, inputs: Mapping[str, Any], predictions: int) -> Throughput:
    """Measure a prepared session with one thread and with `session.workers` threads.

    Args:
        session: the session.
        inputs: arguments of `Session.predict`.
        predictions: predictions of each thread in each round.
    """
    rounds = [
        (_rate(session, inputs, 1, predictions), _rate(session, inputs, session.workers, predictions))
        for _ in range(ROUNDS)
    ]
    one, many = zip(*rounds)
    ratio = statistics.median(several / single for single, several in rounds)
    return Throughput(session.workers, statistics.median(one), statistics.median(many), ratio)


def _rate(session: Session, inputs: Mapping[str, Any], threads: int, predictions: int) -> float:
    """Return the predictions per second of threads that start at the same time."""
    started: list[float] = []
    errors: list[Exception] = []
    # The action runs when all threads are ready, before any of them continues.
    start = threading.Barrier(threads, lambda: started.append(time.perf_counter()))

    def run() -> None:
        start.wait()
        try:
            for _ in range(predictions):
                session.predict(**inputs)
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started[0]
    if errors:
        raise errors[0]
    return threads * predictions / seconds
