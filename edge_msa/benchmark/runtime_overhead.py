"""Measure what the runtime adds to the calls of a backend: checks, copies and the interpretation of the outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.benchmark.random_bundles import random_bundle
from edge_msa.benchmark.students import DIMS, LENGTHS
from edge_msa.config.recipes import student_recipe
from edge_msa.data.tasks import MOSI
from edge_msa.text_tables import text_table
from edge_msa_runtime import load
from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.errors import BackendUnavailableError, UsageError
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session
from edge_msa_runtime.timing import time_interleaved

_WARMUP_RUNS = 50
_SECONDS = 1.0  # of a chunk

Frames = Mapping[str, Any]


@dataclass(frozen=True)
class RuntimeOverhead:
    """Median times of one call of the runtime and of the bare calls of the backend in it, in microseconds."""

    backend: str
    precision: str
    call: str
    """What was called, e.g. `predict lav`."""
    backend_calls: int
    """Number of graphs that the call runs."""
    bare_us: float
    """Time of these graphs alone, with their inputs already in place."""
    call_us: float
    """Time of the call."""

    @property
    def overhead_us(self) -> float:
        """What the runtime adds to the whole call."""
        return self.call_us - self.bare_us

    @property
    def overhead_per_backend_call_us(self) -> float:
        """What the runtime adds to each graph."""
        return self.overhead_us / self.backend_calls


@contextmanager
def untrained_bundle() -> Iterator[Path]:
    """Yield a temporary bundle of an untrained student of size `tiny`, at fp32."""
    config = student_recipe({"size": "tiny"}, "").network_config(DIMS, MOSI, takes_text=False)
    with random_bundle("tiny", config, LENGTHS, ("fp32",)) as path:
        yield path


def measure_overhead(path: Path, *, threads: int, num_runs: int) -> tuple[RuntimeOverhead, ...]:
    """Measure every available backend of a bundle at its default precision, on frames of all of its modalities.

    The bare calls and those of the runtime alternate in blocks, and both get the same inputs.

    Args:
        path: The bundle.
        threads: CPU threads of one prediction.
        num_runs: Timed calls of each kind.

    Raises:
        BackendUnavailableError: No backend of the bundle is available on this machine.
        UsageError: The bundle has no window graph for all of its modalities.
    """
    results: list[RuntimeOverhead] = []
    reasons: list[str] = []
    for name in open_bundle(path).manifest.backends:
        try:
            with load(path, backend=name, threads=threads) as session:
                results += _measure_session(session, num_runs)
        except BackendUnavailableError as error:
            reasons.append(str(error))
    if not results:
        raise BackendUnavailableError(" | ".join(reasons))
    return tuple(results)


def format_overhead(results: Sequence[RuntimeOverhead]) -> str:
    """Format the results as a table with one row per backend and call."""
    header = ["backend", "precision", "call", "graphs", "bare us", "call us", "overhead us", "per graph us"]
    rows = [
        [
            item.backend,
            item.precision,
            item.call,
            str(item.backend_calls),
            f"{item.bare_us:.1f}",
            f"{item.call_us:.1f}",
            f"{item.overhead_us:.1f}",
            f"{item.overhead_per_backend_call_us:.1f}",
        ]
        for item in results
    ]
    return text_table(header, rows, left=3)


def _measure_session(session: Session, num_runs: int) -> Iterator[RuntimeOverhead]:
    manifest = session.manifest
    subset = subsets_of(manifest.modalities)[-1]
    case = next(case for case in load_golden(session.bundle) if case.subset is subset)
    frames: dict[str, Any] = {
        name: np.ascontiguousarray(values[: manifest.modalities[name].window]) for name, values in case.frames.items()
    }
    chunks: dict[str, Any] = {name: values[: manifest.modalities[name].chunk] for name, values in frames.items()}
    with ExitStack() as stack:

        def load_program(key: GraphKey) -> Program:
            program = _load_program(session, key)
            stack.callback(program.close)
            return program

        window = load_program(session.graphs.window_key(subset, frames) or GraphKey.window(subset))
        steps = [load_program(GraphKey.step(name)) for name in frames]
        fuse = load_program(GraphKey.fuse(manifest.modalities))
        _fill(window, {f".{name}": values for name, values in frames.items()})
        for step, values in zip(steps, chunks.values(), strict=True):
            _fill(step, {"": values})
        fuse.inputs["available"][...] = 1
        stream, now = session.create_stream(), 0.0
        pushes = [(name, values, _SECONDS / len(values)) for name, values in chunks.items()]

        def push_and_predict() -> None:
            nonlocal now
            for name, values, period in pushes:
                stream.push(name, values, now, period=period)
            now += _SECONDS
            stream.predict()

        yield _time(f"predict {subset.value}", session, (window,), lambda: session.predict(**frames), num_runs)
        yield _time(f"push {subset.value} and predict", session, (*steps, fuse), push_and_predict, num_runs)


def _load_program(session: Session, key: GraphKey) -> Program:
    spec = session.bundle.graph(session.backend, session.precision, key)
    if spec is None:
        raise UsageError(f"{session.bundle.path} has no {key} graph to compare with. Export the bundle again.")
    return session.graphs.backend.load(session.bundle.path / spec.file, session.precision)


def _fill(program: Program, frames: Frames) -> None:
    for suffix, values in frames.items():
        program.inputs[f"frames{suffix}"][0, : len(values)] = values
        program.inputs[f"valid{suffix}"][0, : len(values)] = 1


def _time(
    call: str, session: Session, programs: Sequence[Program], runtime_call: Callable[[], object], num_runs: int
) -> RuntimeOverhead:
    runs = [program.run for program in programs]

    def bare_call() -> None:
        for run in runs:
            run()

    bare, complete = time_interleaved([bare_call, runtime_call], num_runs, _WARMUP_RUNS)
    return RuntimeOverhead(
        session.backend,
        session.precision,
        call,
        len(runs),
        float(np.median(bare)) * 1e3,
        float(np.median(complete)) * 1e3,
    )
