"""Latency of predictions in this process, end to end: from raw text and arrays to the prediction.

Sessions that are compared are measured interleaved (see `time_interleaved`). Only ratios within one run are reliable.

With a rate, predictions are due at fixed times, as in an application that receives inputs. Between them, clocks may
slow down and caches may lose their content. A latency is then measured from the time at which the prediction was due.
It includes the time spent waiting for the previous prediction and for the system to wake the process up.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import numpy as np

from edge_msa_runtime.benchmark.conditions import describe_machine, measure_conditions
from edge_msa_runtime.benchmark.energy import Energy
from edge_msa_runtime.benchmark.latency_statistics import (
    PERCENTILES,
    Measured,
    Outliers,
    count_outliers,
    find_distribution,
    summarize,
)
from edge_msa_runtime.benchmark.stream_throughput import StreamThroughput, check_streams, measure_streams
from edge_msa_runtime.benchmark.throughput import Throughput, measure_throughput
from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import Subset, subsets_of
from edge_msa_runtime.process_memory import peak_memory_bytes
from edge_msa_runtime.timing import time_interleaved

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.session import Session

    Inputs = Mapping[str, Any]

# No application needs less than one prediction in 100 s. A system wakes a process at most about 10,000 times a second.
_MIN_RATE_HZ, _MAX_RATE_HZ = 0.01, 1e4


@dataclasses.dataclass(frozen=True)
class Latency:
    """Wall times of the predictions of one subset.

    Attributes:
        subset: the subset, such as `la`.
        frames: number of frames by modality; for a text, the number of its tokens that are used.
        from_text: whether the language input was raw text, which every prediction tokenizes.
        predictions: number of timed predictions of all processes.
        latency_ms: `p50`, `p90`, `p95`, `p99`, `mean` and `max` in milliseconds, with 95 % intervals if there were
            several processes; None for a percentile that needs more predictions (see `min_samples`).
        distribution_ms: quantiles 0, 0.05, ..., 1 in milliseconds.
        outliers: numbers of outliers.
        warmup: largest number of untimed predictions of a process before the timed ones.
        steady: whether the latency was steady after the warm-up in every process; None if it was not tested.
        answered: how often each member of a cascade was asked last, as shares of the predictions; empty for a bundle.
    """

    subset: str
    frames: Mapping[str, int]
    from_text: bool
    predictions: int
    latency_ms: Mapping[str, Measured | None]
    distribution_ms: tuple[float, ...] = ()
    outliers: Outliers = dataclasses.field(default_factory=Outliers)
    warmup: int = 0
    steady: bool | None = None
    answered: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def p50_ms(self) -> float:
        """Median in milliseconds."""
        return self._require("p50")

    @property
    def mean_ms(self) -> float:
        """Mean in milliseconds."""
        return self._require("mean")

    @property
    def values_ms(self) -> dict[str, float]:
        """The percentiles that there are enough predictions for, in milliseconds and without intervals."""
        measured = {name: self.latency_ms.get(name) for name in PERCENTILES}
        return {name: item.value for name, item in measured.items() if item is not None}

    def _require(self, name: str) -> float:
        measured = self.latency_ms[name]
        if measured is None:
            raise ValueError(f"The {name} of {self.predictions} predictions is unknown.")
        return measured.value


@dataclasses.dataclass(frozen=True)
class ComparedWith:
    """The latency of one session compared with that of another one of the same benchmark.

    Attributes:
        bundle: name of the other bundle.
        backend: its backend.
        precision: its precision.
        subset: the subset of both.
        verdict: `faster`, `slower`, `no difference` or `cannot tell`; see `compare`.
        ratio: p50 of this session divided by that of the other, with a 99 % interval.
        processes: number of processes of each.
    """

    bundle: str
    backend: str
    precision: str
    subset: str
    verdict: str
    ratio: Measured
    processes: int


@dataclasses.dataclass(frozen=True)
class BenchResult:
    """The measurements of one session.

    Intervals of times and memory are the range of the processes.

    Attributes:
        bundle: name of the bundle.
        target: name of the bundle's device profile.
        backend: name of the backend.
        backend_version: version of the backend's library.
        device: device that executed the graphs.
        precision: `fp32`, `fp16`, `int8` or `int4`.
        threads: CPU threads per prediction.
        file_bytes: size of the files that this backend needs at this precision: graphs, weights, tokenizer, embedding
            table.
        latencies: latency of each subset.
        processes: number of fresh processes that ran only this session; 0 if it shared one process with others.
        load_ms: milliseconds to verify the bundle, open the backend, and load the graphs of all measured subsets.
        start_ms: milliseconds from the start of a process until it has imported the runtime; None if not measured.
        build_ms: milliseconds to build each TensorRT engine before the first load; None for other backends.
        peak_memory_mib: peak resident memory of the process in MiB, with Python; None if the system does not report it.
        steady_memory_mib: resident memory of the process in MiB after the predictions; None if it is not reported.
        energy: energy per prediction; None if it was not measured.
        comparisons: comparisons with other sessions of the same benchmark.
        noise: what makes this measurement less reliable; empty on a quiet machine.
        notes: notes about the bundle, and fallbacks of the session, such as a missing CUDA graph.
        throughput: of the last subset, if the session has several workers.
        stream_throughput: of several streams, if requested.
        rate_hz: predictions per second; None if each prediction started when the previous one ended.
        machine: names and versions that do not change during the run.
        before: clocks, power mode, temperature and load before the run.
        after: clocks, power mode, temperature and load after the run.
    """

    bundle: str
    target: str
    backend: str
    backend_version: str
    device: str
    precision: str
    threads: int
    file_bytes: int
    latencies: tuple[Latency, ...]
    processes: int = 0
    load_ms: Measured | None = None
    start_ms: Measured | None = None
    build_ms: Measured | None = None
    peak_memory_mib: Measured | None = None
    steady_memory_mib: Measured | None = None
    energy: Energy | None = None
    comparisons: tuple[ComparedWith, ...] = ()
    noise: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    throughput: Throughput | None = None
    stream_throughput: StreamThroughput | None = None
    rate_hz: float | None = None
    machine: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: Mapping[str, str] = dataclasses.field(default_factory=dict)
    after: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        return dataclasses.asdict(self)


def bench_sessions(
    sessions: Sequence[Session],
    *,
    repeats: int = 200,
    warmup: int = 20,
    subsets: Sequence[Subset] | None = None,
    text: str | None = None,
    rate: float | None = None,
    streams: int | None = None,
    samples: Sequence[Inputs] | None = None,
) -> tuple[BenchResult, ...]:
    """Measure sessions interleaved.

    Each session gets its bundle's golden inputs, or random inputs of its window's length if there are none. Golden
    texts are passed as raw text, so that the measurement includes tokenization.

    Args:
        sessions: sessions to measure. Each must have the modalities of every subset.
        repeats: timed predictions per session and subset, at least 1.
        warmup: untimed predictions per session and subset before those. Several sessions add two before every block
            of twenty.
        subsets: subsets to measure. None: all subsets of the first session's modalities.
        text: language input that replaces the golden one. Every bundle must then accept text.
        rate: predictions per second. None: each prediction starts when the previous one has ended.
        streams: number of streams whose throughput is measured too, one after the other and at once. None: none.
        samples: arguments of `Session.predict`, which every session predicts one after the other instead of its golden
            inputs. The sessions must be able to predict from each. A cascade needs them, or a `text`.

    Raises:
        UsageError: an argument is out of range, or a session lacks a modality.
        InferenceError: a backend failed.
    """
    _check_arguments(sessions, repeats, warmup, rate, has_inputs=text is not None or samples is not None)
    if streams is not None:
        check_streams(streams)
    if samples is not None:
        return _bench_samples(sessions, samples, repeats=repeats, warmup=warmup, rate=rate)
    selected = tuple(subsets) if subsets is not None else subsets_of(sessions[0].manifest.modalities)
    for session in sessions:
        session.prepare(*selected)
    inputs = [create_inputs(session, selected, text) for session in sessions]
    latencies: list[list[Latency]] = [[] for _ in sessions]
    before = measure_conditions()
    for subset in selected:
        calls = [functools.partial(session.predict, **item[subset]) for session, item in zip(sessions, inputs)]
        times = time_interleaved(calls, repeats, warmup, rate)
        for session, rows, item, milliseconds in zip(sessions, latencies, inputs, times):
            rows.append(_summarize_latency(session, subset, [item[subset]], milliseconds))
    throughputs = [
        measure_throughput(session, item[selected[-1]], repeats) if session.workers > 1 else None
        for session, item in zip(sessions, inputs)
    ]
    streamed = [None if streams is None else measure_streams(session, streams, repeats) for session in sessions]
    after = measure_conditions()
    return tuple(
        dataclasses.replace(
            _create_result(session, rows, rate, before, after), throughput=throughput, stream_throughput=many
        )
        for session, rows, throughput, many in zip(sessions, latencies, throughputs, streamed)
    )


def _bench_samples(
    sessions: Sequence[Session], samples: Sequence[Inputs], *, repeats: int, warmup: int, rate: float | None
) -> tuple[BenchResult, ...]:
    """Measure sessions interleaved. Each predicts the samples in the same order."""
    if not samples:
        raise UsageError("The samples have nothing to predict from. Pass other data.")
    subset = Subset.of({"language" if name == "text" else name for item in samples for name in item} - {"valid"})
    for session in sessions:
        session.prepare(subset)
    before = measure_conditions()
    calls = [_call_in_order(session, samples) for session in sessions]
    times = time_interleaved(calls, repeats, warmup, rate)
    latencies = [
        _summarize_latency(session, subset, samples, milliseconds) for session, milliseconds in zip(sessions, times)
    ]
    after = measure_conditions()
    return tuple(_create_result(session, [row], rate, before, after) for session, row in zip(sessions, latencies))


def _call_in_order(session: Session, samples: Sequence[Inputs]) -> Callable[[], object]:
    """Return a function that predicts the next sample each time, again from the first after the last."""
    order = itertools.cycle(samples)
    return lambda: session.predict(**next(order))


def check_rate(rate: float | None) -> None:
    """Raise a UsageError if a number of predictions per second is out of range."""
    if rate is not None and not _MIN_RATE_HZ <= rate <= _MAX_RATE_HZ:
        raise UsageError(f"rate must be between {_MIN_RATE_HZ:g} and {_MAX_RATE_HZ:g} Hz, got {rate:g}.")


def _check_arguments(
    sessions: Sequence[Session], repeats: int, warmup: int, rate: float | None, *, has_inputs: bool
) -> None:
    if not sessions:
        raise UsageError("At least one session is needed, got none.")
    if repeats < 1:
        raise UsageError(f"repeats must be at least 1, got {repeats}.")
    if warmup < 0:
        raise UsageError(f"warmup must be at least 0, got {warmup}.")
    check_rate(rate)
    if not has_inputs and any(len(session.members) > 1 for session in sessions):
        raise UsageError(
            "The latency of a cascade depends on what it predicts from. Pass --data FILE with samples such as the "
            "device will get, or --text."
        )


def create_inputs(session: Session, subsets: Sequence[Subset], text: str | None = None) -> dict[Subset, Inputs]:
    """Return the arguments of `Session.predict` for each subset.

    Golden inputs are used where the bundle has them. Other subsets get random frames (seed 0) of the length of the
    window. A `text` replaces the language input.
    """
    golden = {case.subset: case.inputs for case in load_golden(session.bundle)} if session.bundle.golden else {}
    specs = session.manifest.modalities
    generator = np.random.default_rng(0)
    inputs: dict[Subset, Inputs] = {}
    for subset in subsets:
        if subset in golden:
            inputs[subset] = golden[subset]
            continue
        inputs[subset] = {
            name: generator.standard_normal((specs[name].window, specs[name].dim)).astype(np.float32)
            for name in subset.modalities
        }
    if text is not None:
        for subset in subsets:
            if "language" in subset.modalities:
                others = {name: frames for name, frames in inputs[subset].items() if name not in ("text", "language")}
                inputs[subset] = {"text": text, **others}
    return inputs


def _summarize_latency(
    session: Session, subset: Subset, samples: Sequence[Inputs], milliseconds: NDArray[np.float64]
) -> Latency:
    """Summarize the times of predictions from samples."""
    return Latency(
        subset=subset.value,
        **describe_inputs(session, subset, samples),
        predictions=len(milliseconds),
        latency_ms=summarize([milliseconds]),
        distribution_ms=tuple(find_distribution([milliseconds])),
        outliers=count_outliers([milliseconds]),
        answered=_measure_answered(session, samples),
    )


def describe_inputs(session: Session, subset: Subset, samples: Sequence[Inputs]) -> dict[str, Any]:
    """Return `frames` and `from_text` of a latency. The numbers of frames are medians of the samples."""
    text = session.manifest.language
    counts: dict[str, list[int]] = {}
    for inputs in samples:
        for name, value in inputs.items():
            if name == "text" and text is not None:
                counts.setdefault("language", []).append(min(session.count_tokens(value), text.max_tokens))
            elif name in subset.modalities:
                counts.setdefault(name, []).append(len(value))
    frames = {name: int(np.median(numbers)) for name, numbers in counts.items()}
    return {"frames": frames, "from_text": any("text" in inputs for inputs in samples)}


def _measure_answered(session: Session, samples: Sequence[Inputs]) -> dict[str, float]:
    """Return how often each member of a cascade is asked last; nothing for a bundle."""
    if len(session.members) == 1:
        return {}
    asked = [session.predict(**inputs).member for inputs in samples]
    return {name: asked.count(name) / len(asked) for name in dict.fromkeys(asked)}


def _create_result(
    session: Session,
    latencies: Sequence[Latency],
    rate: float | None,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> BenchResult:
    peak = peak_memory_bytes()
    return BenchResult(
        **describe_session(session),
        latencies=tuple(latencies),
        load_ms=Measured(session.load_ms),
        peak_memory_mib=None if peak is None else Measured(peak / 2**20),
        notes=(*session.bundle.notes, *session.fallbacks),
        rate_hz=rate,
        machine=describe_machine(),
        before=before,
        after=after,
    )


def describe_session(session: Session) -> dict[str, Any]:
    """Return the attributes of a result that do not depend on the measurement."""
    members = session.members
    return {
        "bundle": session.manifest.name,
        "target": session.manifest.target,
        "backend": session.backend,
        "backend_version": session.backend_version,
        "device": session.device,
        "precision": session.precision,
        "threads": session.threads,
        "file_bytes": sum(
            member.bundle.size(member.bundle.needed_files(member.backend, member.precision)) for member in members
        ),
    }
