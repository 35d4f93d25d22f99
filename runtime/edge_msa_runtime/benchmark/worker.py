"""A process that runs only one session of a benchmark, and does what `processes` asks for.

Requests and answers are lines of JSON on stdin and stdout. The first request says what to load.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any, Callable

from edge_msa_runtime.benchmark.bench import create_inputs, describe_inputs, describe_session
from edge_msa_runtime.benchmark.conditions import describe_machine
from edge_msa_runtime.benchmark.latency_statistics import is_steady
from edge_msa_runtime.errors import EdgeMsaError
from edge_msa_runtime.loading import load
from edge_msa_runtime.modalities import Subset, subsets_of
from edge_msa_runtime.process_memory import peak_memory_bytes, resident_memory_bytes
from edge_msa_runtime.timing import time_interleaved

if TYPE_CHECKING:
    from edge_msa_runtime.session import Session

_MAX_WARMUP_SECONDS = 10.0


def main() -> None:
    """Answer requests until stdin ends."""
    started = time.time()
    # What a library prints to stdout must not get among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        _serve(sys.stdin, answers, started)
    except EdgeMsaError as error:
        _answer(answers, {"error": str(error), "exit_code": error.exit_code})


def _serve(requests: IO[str], answers: IO[str], started: float) -> None:
    """Load a session and answer requests. `started` is the time at which this module had been imported."""
    config = json.loads(requests.readline())
    with load(**config["session"]) as session:
        names = config["subsets"]
        subsets = subsets_of(session.manifest.modalities) if names is None else tuple(map(Subset, names))
        session.prepare(*subsets)
        loaded_ms = session.load_ms
        worker = Worker(session, subsets, config["text"], config["slowdown"])
        _answer(
            answers,
            {**worker.describe(), "load_ms": loaded_ms, "start_ms": max(0.0, started - config["started"]) * 1e3},
        )
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "warm_up": worker.warm_up,
            "time": worker.time,
            "run": worker.run,
            "memory": worker.memory,
        }
        for line in requests:
            request = json.loads(line)
            _answer(answers, actions[request.pop("action")](**request))


def _answer(answers: IO[str], value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


class Worker:
    """The session of a process, and what can be asked of it.

    Args:
        session: an open session, whose graphs are loaded.
        subsets: subsets that are measured.
        text: language input that replaces the golden one.
        slowdown: share of its time by which each prediction is slowed down, to check that this is found.
    """

    def __init__(
        self, session: Session, subsets: tuple[Subset, ...], text: str | None = None, slowdown: float = 0.0
    ) -> None:
        self._session = session
        self._inputs = create_inputs(session, subsets, text)
        self._calls: dict[str, Callable[[], object]] = {}
        for subset in subsets:
            call = functools.partial(session.predict, **self._inputs[subset])
            self._calls[subset.value] = functools.partial(_prolong, call, slowdown) if slowdown else call

    def describe(self) -> dict[str, Any]:
        """Return what does not depend on the measurement."""
        session = self._session
        return {
            "session": describe_session(session),
            "inputs": {subset.value: describe_inputs(session, subset, [item]) for subset, item in self._inputs.items()},
            "build_ms": _build_ms(session),
            "notes": [*session.bundle.notes, *session.fallbacks],
            "machine": describe_machine(),
        }

    def warm_up(self, subset: str, window: int) -> dict[str, Any]:
        """Predict until the latency is steady (`is_steady`), for at most 10 windows or 10 seconds.

        Args:
            subset: the subset.
            window: predictions in one window of the test; 0 for no warm-up.
        """
        samples: list[float] = []
        steady, end = None, time.perf_counter() + _MAX_WARMUP_SECONDS
        while window and not steady and len(samples) < 10 * window and time.perf_counter() < end:
            (milliseconds,) = time_interleaved([self._calls[subset]], window, 0)
            samples.extend(milliseconds)
            steady = is_steady(samples, window)
        return {"count": len(samples), "steady": steady}

    def time(self, subset: str, count: int, warmup: int, rate: float | None) -> dict[str, Any]:
        """Return the latencies of `count` predictions in milliseconds, after `warmup` untimed ones."""
        call = self._calls[subset]
        for _ in range(warmup):
            call()
        (milliseconds,) = time_interleaved([call], count, 0, rate)
        return {"ms": milliseconds.tolist()}

    def run(self, subset: str, seconds: float) -> dict[str, Any]:
        """Predict without pauses for some seconds, and return how often and for how long."""
        call, count, started = self._calls[subset], 0, time.perf_counter()
        while time.perf_counter() < started + seconds:
            call()
            count += 1
        return {"count": count, "seconds": time.perf_counter() - started}

    def memory(self) -> dict[str, Any]:
        """Return the peak and the present memory of this process in bytes; None if the system does not report it."""
        return {"peak": peak_memory_bytes(), "steady": resident_memory_bytes()}


def _prolong(call: Callable[[], object], share: float) -> None:
    started = time.perf_counter()
    call()
    now = time.perf_counter()
    end = now + share * (now - started)
    while time.perf_counter() < end:
        pass


def _build_ms(session: Session) -> float | None:
    """Return how long the cached plans of a session took to build; None for other backends than TensorRT."""
    backend: Any = session.graphs.backend
    if session.backend != "tensorrt":
        return None
    key = (session.backend, session.precision)
    graphs = [spec for spec in session.manifest.graphs if (spec.backend, spec.precision) == key]
    plans = [backend.load_cached_plan(session.bundle.path / spec.file, spec.precision) for spec in graphs]
    seconds = [plan.build.seconds for plan in plans if plan is not None]
    return sum(seconds) * 1e3 if seconds else None
