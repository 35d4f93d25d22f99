"""One trial of a search: a student trained and calibrated, its accuracy, latency and size as a device sees them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.benchmark.precisions import choose_precision, measure_precisions, skip_latency
from edge_msa.console import shows_progress
from edge_msa.data.tasks import Task
from edge_msa.deployment.export_request import export_request
from edge_msa.deployment.graphs import graphs_of
from edge_msa.errors import TrainingError, UsageError
from edge_msa.evaluation.metrics import gate_metric
from edge_msa.evaluation.predictors import by_run, session_of
from edge_msa.models.student import untrained_student
from edge_msa.search.context import SearchContext
from edge_msa.search.points import Point
from edge_msa.search.space import PRECISION, Params
from edge_msa.search.study import Claimed
from edge_msa.training.context import Hardware
from edge_msa.training.load import student_of
from edge_msa.workflows.calibrate import calibrate_student
from edge_msa.workflows.distill import student_run
from edge_msa_calibrate.errors import CalibrationError, GateFailedError
from edge_msa_export.build import build_graphs
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.errors import ExportError
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, InferenceError, ParityError
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session

STUDENTS = "students"
BLOCKS, BLOCK_RUNS = 5, 200
"""Measurements of which the quietest counts, and timed calls of each graph in one."""
FAILURES = (
    TrainingError,
    UsageError,
    ExportError,
    CalibrationError,
    BundleError,
    InferenceError,
    ParityError,
    BackendUnavailableError,
)
"""What ends a trial and not the search; what ends both (no space left, damaged data) is not among them."""


class TrialRunner:
    """Makes trials in this process; all of them are timed in turns with one reference. A context manager.

    The reference is the default recipe's student at fp32, untrained: what it costs does not depend on its weights, and
    so no process waits for another's training.
    """

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._scratch = tempfile.TemporaryDirectory(prefix="edge-msa-")
        self._reference: Session | None = None

    def __enter__(self) -> TrialRunner:  # noqa: PYI034 - typing.Self is of 3.11
        return self

    def __exit__(self, *_: object) -> None:
        if self._reference is not None:
            self._reference.close()
        self._scratch.cleanup()

    def point(self, claimed: Claimed, seed: int) -> Point:
        """Make and measure a trial.

        Raises:
            EdgeMsaError: one of `FAILURES`: the trial cannot be made, or it fails the accuracy gate.
        """
        run = calibrated(self._context, claimed.params, seed)
        with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
            error, session = self._read(run, str(claimed.params[PRECISION]), Path(scratch))
            reference = self._reference or self._built(run)
            own, other = timed([session, reference])
            session.close()
        p50 = own.latencies[0].p50
        return Point(
            claimed.number,
            claimed.params,
            claimed.default,
            error,
            p50 / other.latencies[0].p50,
            own.file_bytes,
            p50,
            student=run.path.parent.name,
            host=platform.node(),
        )

    def _read(self, run: Run, precision: str, scratch: Path) -> tuple[float, Session]:
        """The error on validation through the backend, and the session that can be timed."""
        context, request = self._context, _request(self._context, run, precision)
        graphs = build_graphs(student_of(run), request, scratch / "graphs", graphs_of(run))
        if reason := graphs.refused.get((context.backend, precision)):
            raise ExportError(f"{context.backend} cannot be given {precision}: {reason}")
        dataset = run.spec.select_inputs(context.dataset)
        measured = measure_precisions(graphs, request, dataset, by_run(run), scratch, skip_latency)
        choice = choose_precision(context.backend, measured, precision, context.own.max_drop)
        if choice.failure:
            raise GateFailedError(f"gate: {choice.failure}")
        (found,) = (item for item in measured if item.precision == precision)
        bundle = open_bundle(write_candidate(scratch / "timed", graphs, request))
        return _error(dataset.task, found.by_subset), session_of(bundle, context.backend, precision)

    def _built(self, run: Run) -> Session:
        """The reference, made on the first trial's data and normalization, which are every trial's."""
        context, folder = self._context, Path(self._scratch.name)
        request = dataclasses.replace(_request(context, run, "fp32"), ranges=None)
        spec = run.spec
        student = untrained_student(context.base.config(spec.dims, spec.task), seed=0)
        graphs = build_graphs(student, request, folder / "graphs")
        bundle = open_bundle(write_candidate(folder / "reference", graphs, request))
        self._reference = session_of(bundle, context.backend, "fp32")
        return self._reference


def calibrated(context: SearchContext, params: Params, seed: int) -> Run:
    """The calibrated student of a trial, made unless its folder has it; trials of one recipe share it."""
    recipe = context.recipe_of(params)
    key = hashlib.sha256(json.dumps(dataclasses.asdict(recipe), sort_keys=True).encode()).hexdigest()[:10]
    folder = context.asked.output_dir / STUDENTS / f"{key}-seed{seed}"
    with wait_for_turn(folder, f"the student {folder.name}"):
        training = Hardware().start(progress=shows_progress())
        student_run(context.setup, recipe, folder / "student", seed=seed, context=training)
        calibrate_student(
            context.data,
            folder / "student",
            folder / "calibrated",
            method=context.own.method,
            num_samples=context.own.num_samples,
            seed=seed,
            task=context.asked.task,
            in_pipeline=True,
        )
    return load_run(folder / "calibrated", "calibration")


def timed(sessions: Sequence[Session]) -> tuple[BenchResult, ...]:
    """The fullest subset of each, all taking turns; of five such measurements the one that least else disturbed.

    Searches share the machine with what they train, which slows all graphs at once, but not all by the same factor.
    """
    fullest = subsets_of(sessions[0].manifest.modalities)[-1]
    blocks = (bench_sessions(sessions, subsets=[fullest], repeats=BLOCK_RUNS) for _ in range(BLOCKS))
    return min(blocks, key=lambda results: sum(result.latencies[0].p50 for result in results))


def error_name(task: Task) -> str:
    """What a trial's error is, for people."""
    return "MAE" if task.is_score else "1 - F1 average"


def _error(task: Task, by_subset: Mapping[str, Mapping[str, float]]) -> float:
    """Mean over the subsets, as the student's training chooses its epoch; of emotions 1 minus the gate's metric."""
    values = [row["mae"] if task.is_score else 1 - row[gate_metric(task)] for row in by_subset.values()]
    return sum(values) / len(values)


def _request(context: SearchContext, run: Run, precision: str) -> ExportRequest:
    spec = run.spec
    dataset = spec.select_inputs(context.dataset)
    return export_request(run, spec, dataset, context.profile, precision, "trial")
