"""Accuracy and speed of every precision of every backend of a target, before one is chosen.

All precisions are written as one candidate bundle and read through the device's runtime. What cannot execute here
(TensorRT) is read by the backend that its parity was measured by: its accuracy is that of the same graph, its speed is
not known, and is not pretended. Speed is measured on the device itself where it is reached; else here, and where the
target is of another kind the choice says on what.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from edge_msa.benchmark.machine import is_of_kind
from edge_msa.benchmark.precision_choice import Measured
from edge_msa.console import remark
from edge_msa.data.dataset import Dataset, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.evaluate import Predict
from edge_msa.evaluation.metrics import carries_signal, gate_points, measure
from edge_msa.evaluation.predictors import by_session, session_of
from edge_msa_export.build import GraphSet
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.benchmark.bench import bench_sessions
from edge_msa_runtime.bundle.reader import Bundle, open_bundle
from edge_msa_runtime.modalities import Subset, subsets_of
from edge_msa_runtime.session import Session

ROUNDS = 3
ROUND_RUNS = 100
"""Predictions of each precision in a round."""

Times = Mapping[tuple[str, str], tuple[float, ...]]
"""The p50 of the fullest subset in each round, in milliseconds, by backend and precision, of what executed."""


def measure_variants(
    graphs: GraphSet,
    request: ExportRequest,
    dataset: Dataset,
    torch_predictions: Predict,
    scratch: Path,
    timed_by: Callable[[Path], Times] | None = None,
) -> tuple[Measured, ...]:
    """Measure on the validation split.

    Args:
        graphs: what was built.
        request: what it was built from.
        dataset: raw; its valid split is read.
        torch_predictions: of the run itself, for which subsets carry signal.
        scratch: where candidates may lie.
        timed_by: times the bundle elsewhere, as on the target itself, or does without (`untimed`); None: here.
    """
    split = dataset.split("valid")
    signal = frozenset(with_signal(dataset.task, split, torch_predictions))
    if not signal:
        remark("note: on validation no subset carries signal, so the gate has nothing to hold a precision against")
    bundle = open_bundle(write_candidate(scratch / "candidate", graphs, request))
    there = None if timed_by is None else timed_by(bundle.path)
    return tuple(
        item
        for backend in bundle.manifest.backends
        for item in _measure_backend(bundle, backend, dataset.task, split, signal, there)
    )


def untimed(_: Path) -> Times:
    """No times: a precision that is asked for by name is held against the gate alone."""
    return {}


def _measure_backend(
    bundle: Bundle, backend: str, task: Task, split: Split, signal: frozenset[str], there: Times | None
) -> Iterator[Measured]:
    sessions = {name: session_of(bundle, backend, name) for name in bundle.precisions(backend)}
    timed_on = "" if there is not None or is_of_kind(bundle.manifest.profile) else platform.machine()
    executes = next(iter(sessions.values())).backend
    times = _timed_here(bundle, backend, sessions) if there is None else there
    for name, session in sessions.items():
        read = by_session(session)
        by_subset = {
            subset.value: measure(task, split.labels[rows], read(split.select(rows), subset))
            for subset, rows in readable(split)
        }
        points = {subset: gate_points(task, metrics) for subset, metrics in by_subset.items()}
        yield Measured(backend, name, executes, points, by_subset, signal, times.get((backend, name), ()), timed_on)
        session.close()


def _timed_here(bundle: Bundle, backend: str, sessions: Mapping[str, Session]) -> Times:
    """Times of a backend's precisions on this machine; none where another backend executes in its place."""
    if any(session.backend != backend for session in sessions.values()):
        return {}
    fullest = subsets_of(bundle.manifest.modalities)[-1]
    rounds = [bench_sessions(list(sessions.values()), subsets=[fullest], repeats=ROUND_RUNS) for _ in range(ROUNDS)]
    return {
        (backend, name): tuple(results[place].latencies[0].p50 for results in rounds)
        for place, name in enumerate(sessions)
    }


def with_signal(task: Task, split: Split, predictions: Predict) -> Iterator[str]:
    """The subsets whose predictions tell anything about the truth."""
    for subset, rows in readable(split):
        part = split.select(rows)
        if carries_signal(task, part.labels, predictions(part, subset), part.groups):
            yield subset.value


def readable(split: Split) -> Iterator[tuple[Subset, np.ndarray[tuple[int], np.dtype[np.int64]]]]:
    """Each subset whose modalities the split has, and the samples with a valid frame of it."""
    present = {name: frames.valid.any(axis=1) for name, frames in split.modalities.items() if frames.valid.any()}
    for subset in subsets_of(present):
        yield subset, np.flatnonzero(np.any([present[name] for name in subset.modalities], axis=0))
