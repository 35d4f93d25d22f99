"""Measure accuracy and latency of every precision of every backend, and choose one precision per backend.

All precisions are written as one candidate bundle and run by the device runtime. A backend that cannot run on this
machine (TensorRT) is replaced by the backend that measured its parity: the accuracy is that of the same graph on all
samples, and the latency stays unknown. For fp16, that backend is the reference implementation of ONNX, because ONNX
Runtime computes float16 graphs in float32. Latency is measured on the target if it can be reached, else on this
machine. If this machine has another architecture than the target, the reason for the choice says so.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from edge_msa.benchmark.machine import matches_profile
from edge_msa.console import activity, print_note, print_progress, report_progress
from edge_msa.data.dataset import Dataset, FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.metrics import gate_points, measure
from edge_msa.evaluation.predictors import open_session, session_predictor
from edge_msa.evaluation.subsets import Predict, available_subsets, subsets_with_signal
from edge_msa_calibrate.gate import GateLimits, GateResult, check_accuracy, check_agreement
from edge_msa_export.build import GraphSet
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.request import REFERENCE, ExportRequest
from edge_msa_runtime.benchmark.bench import bench_sessions
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session

MIN_SPEEDUP = 0.1
"""Share of the fp32 latency that a lower precision must save in every round. Two measurements of the same graph can
differ by less."""
ROUNDS = 3
RUNS_PER_ROUND = 100
"""Predictions of each precision in a round."""

LatencyRounds = Mapping[tuple[str, str], tuple[float, ...]]
"""The p50 of the largest modality subset in each round, in milliseconds, by backend and precision."""


@dataclass(frozen=True)
class PrecisionMeasurement:
    """Accuracy and latency of one backend at one precision on the validation split."""

    backend: str
    precision: str
    measured_by: str
    """Backend that computed the predictions."""
    points: Mapping[str, float]
    """The metric of the accuracy gate in percent, by modality subset."""
    by_subset: Mapping[str, Mapping[str, float]]
    """All metrics, by modality subset."""
    signal: frozenset[str]
    """Subsets whose fp32 predictions have signal."""
    rounds: tuple[float, ...]
    """The p50 of the largest subset in milliseconds, in each round of the interleaved measurement; empty if unknown."""
    measured_on: str = ""
    """Architecture of the machine that measured latency, if it differs from that of the target."""
    predictions: Mapping[str, FloatArray] = field(default_factory=dict)
    """Predictions of the samples of `sample_rows`, by modality subset."""

    @property
    def p50_ms(self) -> float | None:
        """The median of the rounds, or None if latency is unknown."""
        return statistics.median(self.rounds) if self.rounds else None

    def is_faster_than(self, reference: PrecisionMeasurement) -> bool:
        """Return whether it saves at least `MIN_SPEEDUP` of the reference's latency in every round.

        False if the latency of either is unknown.
        """
        if not self.rounds or len(self.rounds) != len(reference.rounds):
            return False
        pairs = zip(self.rounds, reference.rounds, strict=True)
        return all(latency <= (1 - MIN_SPEEDUP) * other for latency, other in pairs)


@dataclass(frozen=True)
class PrecisionChoice:
    """The default precision of a backend."""

    backend: str
    precision: str
    reason: str
    passing: tuple[str, ...]
    """Precisions that the bundle contains."""
    failure: str | None = None
    """Why the requested precision was rejected."""
    rejected: tuple[str, ...] = ()
    """Precisions that failed the accuracy gate."""


def choose_precision(
    backend: str, measurements: tuple[PrecisionMeasurement, ...], requested: str, limits: GateLimits
) -> PrecisionChoice:
    """Choose the default precision of a backend: the fastest that passes the accuracy gate, or the requested one.

    Args:
        backend: Name of the backend.
        measurements: Measurements of all backends. Every backend has fp32.
        requested: `auto`, or the name of a precision.
        limits: What a precision may lose on the worst subset that has signal, and how far its predictions may be from
            those of fp32.
    """
    by_precision = {item.precision: item for item in measurements if item.backend == backend}
    reference = by_precision["fp32"]
    decisions = {name: _check_gate(reference, item, limits) for name, item in by_precision.items() if name != "fp32"}
    passing = ("fp32", *(name for name, decision in decisions.items() if decision.passed))
    failed = tuple(name for name, decision in decisions.items() if not decision.passed)
    if requested != "auto":
        if requested not in by_precision:
            return PrecisionChoice(backend, "fp32", f"{requested} is not available", ("fp32",))
        if requested not in passing:
            reason = decisions[requested].reason
            return PrecisionChoice(backend, "fp32", reason, ("fp32",), f"{backend} {reason}", failed)
        gate = f", {decisions[requested].reason}" if requested in decisions else ""
        return PrecisionChoice(backend, requested, f"requested{gate}", (requested,))
    latencies = {name: latency for name in passing if (latency := by_precision[name].p50_ms) is not None}
    if not latencies:
        default = "fp16" if "fp16" in passing else "fp32"
        reason = (
            f"latency unknown, because neither this machine nor a --host has the backend; "
            f"{', '.join(passing)} pass the gate"
        )
        return PrecisionChoice(backend, default, reason, passing, rejected=failed)
    faster = [name for name in latencies if name != "fp32" and by_precision[name].is_faster_than(reference)]
    fastest = min(faster, key=lambda name: latencies[name], default="fp32")
    speedup = f"at least {MIN_SPEEDUP:.0%} faster than fp32 in every round"
    other = "other precision" if len(passing) == len(by_precision) else "other precision that passes the gate"
    reason = f"no {other} is {speedup}" if fastest == "fp32" else f"passes the gate, {speedup}"
    measured = ", ".join(f"{name} {latency:.3f} ms" for name, latency in latencies.items())
    if reference.measured_on:
        measured += f" on {reference.measured_on}, not on the target: use --host, or bench on the target"
    rejected = "".join(f"; {name} rejected: {decisions[name].reason}" for name in failed)
    return PrecisionChoice(backend, fastest, f"{reason} ({measured}){rejected}", passing, rejected=failed)


def _check_gate(reference: PrecisionMeasurement, candidate: PrecisionMeasurement, limits: GateLimits) -> GateResult:
    """Return whether a precision is accurate enough and predicts the same as fp32; the first failure if not."""
    accuracy = check_accuracy(reference.points, candidate.points, set(reference.signal), limits.drop)
    agreement = check_agreement(reference.predictions, candidate.predictions, limits.distance)
    return agreement if accuracy.passed and not agreement.passed else accuracy


def measure_precisions(
    graphs: GraphSet,
    request: ExportRequest,
    dataset: Dataset,
    torch_predictions: Predict,
    scratch: Path,
    measure_latency: Callable[[Path], LatencyRounds] | None = None,
) -> tuple[PrecisionMeasurement, ...]:
    """Measure every precision of every backend on the validation split.

    Args:
        graphs: The built graphs.
        request: The request that they were built from.
        dataset: Raw data. Only its validation split is used.
        torch_predictions: Predictions of the run in torch, which decide which subsets have signal.
        scratch: Folder for the candidate bundle.
        measure_latency: Measures the latency of a bundle, for example on the target. None measures on this machine;
            `skip_latency` does not measure.
    """
    split = dataset.split("valid")
    with activity("Measuring which subsets have signal on validation"):
        signal = frozenset(subsets_with_signal(dataset.task, split, torch_predictions))
    if not signal:
        print_note("Too little signal on validation to compare accuracy: the gate only compares predictions with fp32.")
    bundle = open_bundle(write_candidate(scratch / "candidate", graphs, request))
    latencies = None if measure_latency is None else measure_latency(bundle.path)
    total = sum(len(bundle.precisions(backend)) for backend in bundle.manifest.backends)
    measured: list[PrecisionMeasurement] = []
    for backend in bundle.manifest.backends:
        for item in _measure_backend(bundle, backend, dataset.task, split, signal, latencies):
            measured.append(item)
            text = f"precision {len(measured)} of {total} measured: {item.backend} {item.precision}"
            report_progress("export: precision", len(measured), total, text)
    return tuple(measured)


def skip_latency(_: Path) -> LatencyRounds:
    """Return no latencies: a precision that is requested by name must only pass the gate."""
    return {}


def _measure_backend(
    bundle: Bundle, backend: str, task: Task, split: Split, signal: frozenset[str], latencies: LatencyRounds | None
) -> Iterator[PrecisionMeasurement]:
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(open_session(bundle, backend, name, exact=True))
            for name in bundle.precisions(backend)
        }
        on_target = latencies is not None or matches_profile(bundle.manifest.profile)
        if latencies is None:
            with activity(f"Measuring latency: {backend} {', '.join(sessions)}", is_timed=True):
                latencies = _measure_latency(bundle, backend, sessions)
        for name, session in sessions.items():
            with activity(f"Measuring accuracy on validation: {backend} {name}"):
                predictions = _predict_subsets(session, split)
                by_subset = {
                    subset.value: measure(task, split.labels[rows], predictions[subset.value])
                    for subset, rows in available_subsets(split)
                }
            yield PrecisionMeasurement(
                backend,
                name,
                session.backend,
                points={subset: gate_points(task, metrics) for subset, metrics in by_subset.items()},
                by_subset=by_subset,
                signal=signal,
                rounds=latencies.get((backend, name), ()),
                measured_on="" if on_target else platform.machine(),
                predictions=predictions,
            )


def _predict_subsets(session: Session, split: Split) -> dict[str, FloatArray]:
    """Return the predictions of all samples of each subset."""
    if session.backend == REFERENCE:
        print_progress(f"Predicting {len(split)} samples per subset in {session.precision} arithmetic.")
    predict = session_predictor(session)
    return {subset.value: predict(split.select(rows), subset) for subset, rows in available_subsets(split)}


def _measure_latency(bundle: Bundle, backend: str, sessions: Mapping[str, Session]) -> LatencyRounds:
    """Measure a backend's precisions on this machine; return nothing if another backend replaces it."""
    if any(session.backend != backend for session in sessions.values()):
        return {}
    largest = subsets_of(bundle.manifest.modalities)[-1]
    rounds = [bench_sessions(list(sessions.values()), subsets=[largest], repeats=RUNS_PER_ROUND) for _ in range(ROUNDS)]
    return {
        (backend, name): tuple(results[index].latencies[0].p50_ms for results in rounds)
        for index, name in enumerate(sessions)
    }
