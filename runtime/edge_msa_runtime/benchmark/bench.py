"""What prediction costs on this device: closed loop, end to end, from raw words and arrays to the prediction.

Sessions that are compared take turns (`turns`); only ratios within one run are baseline check anything.

With a rate, predictions are due at fixed times, as inputs arrive in an application: clocks and caches cool down between
them. A latency then counts from the time at which the prediction was due, so that one that waits for the prediction before
it, or for the system to wake the process up, is told with its waiting.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.benchmark.conditions import conditions, machine
from edge_msa_runtime.benchmark.interleaved import time_interleaved
from edge_msa_runtime.bundle.golden import read_golden
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import Subset, subsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.session import Session

    Inputs = Mapping[str, Any]

# One prediction in a hundred is slower than p99: with fewer predictions it would be the maximum by another name.
_LEAST_FOR_P99 = 100
# Slower than one in 100 s nobody waits for; a system's clock wakes no process more often than 10,000 times a second.
_SLOWEST_HZ, _FASTEST_HZ = 0.01, 1e4


@dataclasses.dataclass(frozen=True)
class Latency:
    """One subset's wall times in milliseconds, over `count` predictions of inputs of `frames` frames by modality.

    `p99` is None below 100 predictions. `words`: language was given as a text, which is tokenized in every prediction; its
    frames are the text's tokens.
    """

    subset: str
    frames: Mapping[str, int]
    words: bool
    count: int
    p50: float
    p90: float
    p99: float | None


@dataclasses.dataclass(frozen=True)
class BenchResult:
    """What one session measured.

    `load_milliseconds`: verifying, opening the backend, and loading the graphs of all measured subsets. `file_bytes`:
    the files that this backend needs at this precision (graphs, weights, tokenizer and table), each once.
    `peak_memory_bytes`: the most that the whole process had resident so far, Python and other sessions included; None
    where the system does not tell (Windows). `notes`: what ran otherwise than is usual on this backend. `rate_hz`:
    predictions due a second; None in a closed loop. `machine`: names and versions; `before` and `after` all measurements
    of the run: clocks, power mode, temperature.
    """

    bundle: str
    target: str
    backend: str
    backend_version: str
    device: str
    precision: str
    threads: int
    load_milliseconds: float
    file_bytes: int
    peak_memory_bytes: int | None
    latencies: tuple[Latency, ...]
    notes: tuple[str, ...] = ()
    rate_hz: float | None = None
    machine: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: Mapping[str, str] = dataclasses.field(default_factory=dict)
    after: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


def bench_session(
    session: Session,
    *,
    repeats: int = 200,
    warmup: int = 20,
    subsets: Sequence[Subset] | None = None,
    text: str | None = None,
    rate: float | None = None,
) -> BenchResult:
    """Measure one session; see `bench_sessions`."""
    return bench_sessions([session], repeats=repeats, warmup=warmup, subsets=subsets, text=text, rate=rate)[0]


def bench_sessions(
    sessions: Sequence[Session],
    *,
    repeats: int = 200,
    warmup: int = 20,
    subsets: Sequence[Subset] | None = None,
    text: str | None = None,
    rate: float | None = None,
) -> tuple[BenchResult, ...]:
    """Measure sessions in turns, each on its own golden inputs, or random ones of its window where it has none.

    Bundles that read words are given the golden texts, raw: tokenizing is part of what is measured.

    Args:
        sessions: what to measure; each must have the modalities of every subset.
        repeats: timed predictions of each session and subset, at least 1.
        warmup: predictions before those, not timed; several sessions make two more at the head of each turn of twenty.
        subsets: which to measure; None: all that the first session's modalities allow.
        text: what to give as language in place of the golden inputs; every bundle must read words then.
        rate: predictions due a second; None: each begins when the one before it has ended.

    Raises:
        UsageError: there is nothing to measure, or a session lacks a modality.
        InferenceError: a backend failed.
    """
    if not sessions or repeats < 1 or warmup < 0:
        raise UsageError(f"{len(sessions)} bundles, {repeats} repeats, {warmup} for warm-up; give at least 1, 1 and 0")
    if rate is not None and not _SLOWEST_HZ <= rate <= _FASTEST_HZ:
        raise UsageError(f"a rate of {rate} Hz; give one from {_SLOWEST_HZ:g} to {_FASTEST_HZ:g}")
    chosen = tuple(subsets) if subsets is not None else subsets_of(sessions[0].manifest.modalities)
    for session in sessions:
        session.prepare(*chosen)
    inputs = [bench_inputs(session, chosen, text) for session in sessions]
    latencies: list[list[Latency]] = [[] for _ in sessions]
    before = conditions()
    for subset in chosen:
        turns = [given[subset] for given in inputs]
        calls = [functools.partial(session.predict, **given) for session, given in zip(sessions, turns)]
        times = time_interleaved(calls, repeats, warmup, rate)
        for session, kept, given, spent in zip(sessions, latencies, turns, times):
            kept.append(_latency(session, subset, given, spent))
    shared: dict[str, Any] = {"rate_hz": rate, "machine": machine(), "before": before, "after": conditions()}
    return tuple(dataclasses.replace(_result(session, kept), **shared) for session, kept in zip(sessions, latencies))


def bench_inputs(session: Session, subsets: Sequence[Subset], text: str | None = None) -> dict[Subset, Inputs]:
    """Golden inputs where the bundle has them, else random frames (seed 0) around its mean, as long as its window.

    A `text` takes the place of language's.
    """
    golden = {case.subset: case.given for case in read_golden(session.bundle)} if session.bundle.golden else {}
    specs = session.manifest.modalities
    generator = np.random.default_rng(0)
    inputs: dict[Subset, Inputs] = {}
    for subset in subsets:
        if subset in golden:
            inputs[subset] = golden[subset]
            continue
        frames = {}
        for name in subset.modalities:
            noise = generator.standard_normal((specs[name].window, specs[name].dim))
            frames[name] = (noise * specs[name].std + specs[name].mean).astype(np.float32)
        inputs[subset] = frames
    if text is not None:
        for subset in subsets:
            inputs[subset] = {**inputs[subset], **({"language": text} if "l" in subset.value else {})}
    return inputs


def peak_memory_bytes() -> int | None:
    """The most memory this process has had resident, or None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux: getrusage would count the parent's memory at the time of the fork as ours.
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS


def _latency(session: Session, subset: Subset, inputs: Inputs, spent: NDArray[np.float64]) -> Latency:
    p50, p90, p99 = (float(value) for value in np.percentile(spent, [50, 90, 99]))
    frames = {
        name: session.frames_of(given) if isinstance(given, str) else len(given) for name, given in inputs.items()
    }
    words = isinstance(inputs.get("language"), str)
    return Latency(subset.value, frames, words, len(spent), p50, p90, p99 if len(spent) >= _LEAST_FOR_P99 else None)


def _result(session: Session, latencies: Sequence[Latency]) -> BenchResult:
    files = session.bundle.needed_files(session.backend, session.precision)
    return BenchResult(
        bundle=session.manifest.name,
        target=session.manifest.target,
        backend=session.backend,
        backend_version=session.backend_version,
        device=session.device,
        precision=session.precision,
        threads=session.threads,
        load_milliseconds=session.load_milliseconds,
        file_bytes=session.bundle.size(files),
        peak_memory_bytes=peak_memory_bytes(),
        latencies=tuple(latencies),
        notes=session.notes,
    )
