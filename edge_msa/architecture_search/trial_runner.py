"""Run one trial of a search: train and calibrate a student, then measure its accuracy, latency and size."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from edge_msa.architecture_search.context import SearchContext
from edge_msa.architecture_search.space import LAYERS, PRECISION, Params
from edge_msa.architecture_search.trials import ClaimedTrial, TrialResult
from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.benchmark.precisions import choose_precision, measure_precisions, skip_latency
from edge_msa.config.students import StudentRecipe, TextRecipe
from edge_msa.data.tasks import Task
from edge_msa.deployment.graphs import load_student_graphs
from edge_msa.deployment.request import make_export_request
from edge_msa.deployment.student import load_deployable_student
from edge_msa.errors import TrainingError, UsageError
from edge_msa.evaluation.metrics import describe, gate_metric
from edge_msa.evaluation.predictors import open_session, run_predictor
from edge_msa.models.student import untrained_student
from edge_msa.training.run_data import encode_texts_for_run
from edge_msa_calibrate.errors import CalibrationError, GateFailedError
from edge_msa_calibrate.gate import GateLimits
from edge_msa_export.build import build_graphs
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.errors import ExportError
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, InferenceError, ParityError
from edge_msa_runtime.modalities import subsets_of
from edge_msa_runtime.session import Session

STUDENTS_FOLDER = "students"
ROUNDS = 5
"""Number of latency measurements. The one with the lowest latencies counts."""
RUNS_PER_ROUND = 200
"""Timed predictions of each session in one measurement."""
TRIAL_ERRORS = (
    TrainingError,
    UsageError,
    ExportError,
    CalibrationError,
    BundleError,
    InferenceError,
    ParityError,
    BackendUnavailableError,
)
"""Errors that end a trial but not the search. Other errors, e.g. a full disk or damaged data, end the search."""


class SearchSteps(Protocol):
    """Workflow steps that a search runs. Each step is skipped if its result is up to date."""

    def train_teacher(self, context: SearchContext) -> None:
        """Train the teacher of the search into the folder `context.teacher`."""

    def distill_student(self, context: SearchContext, recipe: StudentRecipe, output_dir: Path, *, seed: int) -> None:
        """Distill a student from the teacher."""

    def distill_text_model(
        self, context: SearchContext, recipe: TextRecipe, layers: int | None, output_dir: Path, *, seed: int
    ) -> None:
        """Distill a text model from the teacher, whose encoder keeps the first `layers`."""

    def calibrate_student(self, context: SearchContext, student: Path, output_dir: Path, *, seed: int) -> None:
        """Calibrate a student."""

    def export_bundle(self, context: SearchContext, run: Run, output_dir: Path, *, precision: str) -> Path:
        """Export a calibrated student with all backends of the target, and return the bundle's folder.

        The precision must pass the accuracy gate on the backend of the search. On other backends it may fail.
        """


class TrialRunner:
    """Runs trials in this process. A context manager.

    Latency is measured interleaved with a reference in fp32: the untrained student of the default recipe, or the text
    model that is the teacher. The latency of a student does not depend on its weights, so no worker has to wait until
    another worker has trained it.
    """

    def __init__(self, context: SearchContext, steps: SearchSteps) -> None:
        self._context = context
        self._steps = steps
        self._scratch = tempfile.TemporaryDirectory(prefix="edge-msa-")
        self._reference: Session | None = None

    def __enter__(self) -> TrialRunner:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        if self._reference is not None:
            self._reference.close()
        self._scratch.cleanup()

    def run(self, claimed: ClaimedTrial, seed: int) -> TrialResult:
        """Train and measure a trial.

        Raises:
            TrainingError, UsageError, ExportError, CalibrationError, BundleError, InferenceError, ParityError,
            BackendUnavailableError: The student cannot be made, or fails the accuracy gate.
        """
        run = self.calibrated_run(claimed.params, seed)
        with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
            error, session = self._measure_error(run, str(claimed.params[PRECISION]), Path(scratch))
            with session:
                reference = self._reference or self._open_reference(run)
                result, reference_result = measure_latency([session, reference])
        p50_ms = result.latencies[0].p50_ms
        return TrialResult(
            claimed.number,
            claimed.params,
            claimed.is_default,
            error,
            p50_ms / reference_result.latencies[0].p50_ms,
            result.file_bytes,
            p50_ms,
            student=run.path.parent.name,
            host=platform.node(),
        )

    def calibrated_run(self, params: Params, seed: int) -> Run:
        """Return the calibrated student of a trial, and make it if necessary.

        Trials that differ only in precision share it.
        """
        context = self._context
        recipe = context.recipe_for(params)
        layers = context.layers_for(params)
        values = recipe.model_dump() | ({LAYERS: layers} if layers else {})
        key = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
        folder = context.config.output_dir / STUDENTS_FOLDER / f"{key}-seed{seed}"
        with wait_for_turn(folder, f"the student {folder.name}"):
            if isinstance(recipe, TextRecipe):
                self._steps.distill_text_model(context, recipe, layers, folder / "student", seed=seed)
            else:
                self._steps.distill_student(context, recipe, folder / "student", seed=seed)
            self._steps.calibrate_student(context, folder / "student", folder / "calibrated", seed=seed)
        return load_run(folder / "calibrated", "calibration")

    def _measure_error(self, run: Run, precision: str, scratch: Path) -> tuple[float, Session]:
        """Return the validation error, predicted by the backend, and a session for the latency measurement."""
        context = self._context
        student = load_deployable_student(run, encode_texts_for_run(run, context.dataset))
        request = make_export_request(student, context.profile, "trial", precision=precision)
        graphs = build_graphs(student.network, request, scratch / "graphs", load_student_graphs(student))
        if reason := graphs.refused.get((context.backend, precision)):
            raise ExportError(f"{precision} is not available for {context.backend}: {reason}")
        measurements = measure_precisions(graphs, request, student.dataset, run_predictor(run), scratch, skip_latency)
        choice = choose_precision(context.backend, measurements, precision, GateLimits(context.pipeline.max_drop))
        if choice.failure:
            raise GateFailedError(f"gate: {choice.failure}")
        (measured,) = (item for item in measurements if item.precision == precision)
        bundle = open_bundle(write_candidate(scratch / "timed", graphs, request))
        return _validation_error(student.dataset.task, measured.by_subset), open_session(
            bundle, context.backend, precision
        )

    def _open_reference(self, run: Run) -> Session:
        """Build the reference with the data and normalization of the first trial, which all trials share."""
        context, folder = self._context, Path(self._scratch.name)
        if isinstance(context.default_recipe, TextRecipe):
            run = load_run(context.teacher)
        calibrated = load_deployable_student(run, encode_texts_for_run(run, context.dataset))
        request = make_export_request(
            dataclasses.replace(calibrated, calibration=None), context.profile, "trial", precision="fp32"
        )
        student, spec = calibrated.network, run.spec
        if isinstance(context.default_recipe, StudentRecipe):
            config = context.default_recipe.network_config(spec.dims, spec.task, takes_text=False)
            student = untrained_student(config, seed=0)
        graphs = build_graphs(student, request, folder / "graphs")
        bundle = open_bundle(write_candidate(folder / "reference", graphs, request))
        self._reference = open_session(bundle, context.backend, "fp32")
        return self._reference


def measure_latency(sessions: Sequence[Session]) -> tuple[BenchResult, ...]:
    """Measure the latency of the largest modality subset, with all sessions interleaved.

    Repeat `ROUNDS` times and return the round with the lowest latencies. Other workers on the same machine slow down
    all sessions at once, but not all by the same factor.
    """
    subset = subsets_of(sessions[0].manifest.modalities)[-1]
    rounds = (bench_sessions(sessions, subsets=[subset], repeats=RUNS_PER_ROUND) for _ in range(ROUNDS))
    return min(rounds, key=lambda results: sum(result.latencies[0].p50_ms for result in results))


def error_name(task: Task) -> str:
    """Return the printed name of a trial's error."""
    return "MAE" if task.is_score else f"1 - {describe(gate_metric(task)).title}"


def _validation_error(task: Task, by_subset: Mapping[str, Mapping[str, float]]) -> float:
    """Return the mean error over the subsets, the criterion that also selects the epoch in training.

    The error is MAE for scores, and 1 minus the gate metric for emotions and classes.
    """
    values = [row["mae"] if task.is_score else 1 - row[gate_metric(task)] for row in by_subset.values()]
    return sum(values) / len(values)
