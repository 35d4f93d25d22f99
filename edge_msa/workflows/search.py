"""`edge-msa search`: search student recipes for one target, with any number of workers on any number of machines.

Each worker claims a trial from the storage, runs it as ordinary distill, calibrate and export steps, and stores the
result. There is no coordinator. If a worker is killed, another worker, or the same command later, requeues its trial.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa.architecture_search.answer import Answer, find_answer
from edge_msa.architecture_search.context import (
    DATA_PREFIX,
    TEACHER_FOLDER,
    SearchConfig,
    SearchContext,
    prepare_search,
)
from edge_msa.architecture_search.record import RECORD_NAME, SearchRecord
from edge_msa.architecture_search.results import PAGE_NAME, PARETO_FOLDER, finish_search
from edge_msa.architecture_search.storage import JOURNAL_SUFFIX, check_optuna
from edge_msa.architecture_search.study import LEASES_FOLDER, Study
from edge_msa.architecture_search.table import format_search
from edge_msa.architecture_search.trial_runner import STUDENTS_FOLDER, TRIAL_ERRORS, TrialRunner
from edge_msa.architecture_search.trials import ClaimedTrial, format_params
from edge_msa.arguments import AnyPath, check_count, check_seed, path_of, path_or_tables, source_of
from edge_msa.artifacts.dry_run import declare_steps, end_dry_run, is_dry_run
from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.artifacts.requests import allow_replacing
from edge_msa.artifacts.runs import Run
from edge_msa.config.students import StudentRecipe, TextRecipe
from edge_msa.console import (
    keep_progress,
    print_note,
    print_progress,
    print_result,
    print_step,
    report_progress,
)
from edge_msa.errors import RunUsageError
from edge_msa.result_tables import Row, Table
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.calibrate import calibrate
from edge_msa.workflows.distill import distill_on_setup
from edge_msa.workflows.export import export_bundle
from edge_msa.workflows.hardware import start_hardware
from edge_msa.workflows.outputs import output_container
from edge_msa.workflows.text import distill_text
from edge_msa.workflows.train import train_on_dataset
from edge_msa_runtime.interrupts import handle_interrupts
from edge_msa_runtime.output_paths import CONTAINER, check_output

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

STORAGE_NAME, JOBS_FOLDER = "search.db", "jobs"
POLL_SECONDS = 1.0


class WorkflowSteps:
    """The steps of a search, run by the workflows of their commands. The teacher's predictions are computed once."""

    def __init__(self) -> None:
        self._setup: DistillationSetup | None = None

    def train_teacher(self, context: SearchContext) -> None:
        """Run `edge-msa train`."""
        train_on_dataset(
            context.dataset,
            context.data,
            context.teacher,
            model=context.pipeline.teacher,
            recipe=context.teacher_recipe,
            seed=context.config.seed,
            context=start_hardware(),
        )

    def distill_student(self, context: SearchContext, recipe: StudentRecipe, output_dir: Path, *, seed: int) -> None:
        """Run `edge-msa distill`."""
        training = start_hardware()
        if self._setup is None:
            self._setup = prepare_distillation(context.data, [context.teacher], (), context.config.task)
        distill_on_setup(self._setup, recipe, output_dir, seed=seed, context=training)

    def distill_text_model(
        self, context: SearchContext, recipe: TextRecipe, layers: int | None, output_dir: Path, *, seed: int
    ) -> None:
        """Run `edge-msa text distill`."""
        distill_text(
            context.teacher,
            transcripts=context.data,
            output_dir=output_dir,
            text_encoder="encoder",
            layers=layers,
            recipe={"text": recipe.model_dump()},
            seed=seed,
            task=context.config.task,
        )

    def calibrate_student(self, context: SearchContext, student: Path, output_dir: Path, *, seed: int) -> None:
        """Run `edge-msa calibrate`."""
        calibrate(
            student,
            output_dir=output_dir,
            data=context.data,
            method=context.pipeline.method,
            num_samples=context.pipeline.num_samples,
            seed=seed,
            task=context.config.task,
        )

    def export_bundle(self, context: SearchContext, run: Run, output_dir: Path, *, precision: str) -> Path:
        """Run `edge-msa export`."""
        # The page compares the errors of all trials, also of those that fail the accuracy gate.
        bundle = export_bundle(
            run.path,
            target=context.config.target,
            output_dir=output_dir,
            data=context.data,
            precision=precision,
            max_drop=context.pipeline.max_drop,
            task=context.config.task,
            allow_worse_than_constant=True,
        )
        if bundle.gate_failure:
            print_note(bundle.gate_failure)
        return bundle.path


@dataclass(frozen=True, repr=False)
class SearchResult(Table):
    """A finished search."""

    record: SearchRecord
    """All trials, and the bundles on the Pareto front."""
    answer: Answer
    """Whether a trial is clearly faster than the default recipe and equally accurate."""
    output_dir: Path
    """Folder of the runs, the bundles and the page."""

    def __repr__(self) -> str:
        """Return how many trials there were, and the answer."""
        record = self.record
        return (
            f"<SearchResult for {record.target} on {record.data}: {len(record.trials)} trials, "
            f"{len(record.pareto)} on the Pareto front>"
        )

    def __str__(self) -> str:
        """Return the Pareto front and the answer for people."""
        return f"{format_search(self.record)}\n\n{self.answer.text}"

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.output_dir / PAGE_NAME

    @property
    def bundles(self) -> Path:
        """The folder of the bundles on the Pareto front."""
        return self.output_dir / PARETO_FOLDER

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per measured trial: its parameters, error, latency and size."""
        numbers = {trial.number for trial in self.record.pareto}
        return tuple(
            {
                "trial": trial.number,
                "default": trial.is_default,
                "pareto": trial.number in numbers,
                **trial.params,
                "error": trial.costs[0],
                "relative_latency": trial.costs[1],
                "p50_ms": trial.p50_ms,
                "size_bytes": trial.costs[2],
            }
            for trial in self.record.trials
            if trial.is_measured
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.record.to_json() | {"answer": self.answer.to_json()}


@api
def search(
    data: AnyPath,
    *,
    target: str,
    trials: int,
    output_dir: AnyPath,
    storage: str | None = None,
    teacher: AnyPath | None = None,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    num_samples: int | None = None,
    seeds: int = 3,
    jobs: int = 1,
    seed: int = 0,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> SearchResult:
    """Search for a smaller student on a target: accuracy, latency and size together.

    An interrupted search continues where it stopped. Several calls, also on other machines with the same `storage`,
    work on one search. With `jobs` above 1, processes are started with the method `spawn`, so call this function below
    `if __name__ == "__main__":`.

    Args:
        data: Feature file, or `"synthetic"`. Its test split is not used.
        target: Device to search for. Latency is measured here, so this machine must be a device of that kind.
        trials: Total number of trials across all workers.
        output_dir: Folder for the runs, the bundles and the page.
        storage: File or database URL that workers share (default: `search.db` in `output_dir`).
        teacher: Run of `train`, or a text model with an encoder, whose students take raw words (default: train one
            teacher, HRLF unless the recipe names another).
        recipe: TOML file or mapping with the tables `search` (its `space`) and `student`, or `text` if the teacher is a
            text model (the default recipe).
        epochs: Number of epochs of each trial, instead of the recipe's.
        num_samples: Number of training samples, drawn with `seed` (default: all).
        seeds: Number of seeds that the best recipes are trained with, at most 20.
        jobs: Number of workers on this machine, including this process, at most 64.
        seed: Seed of every random choice, 0 to 2**32 - 1.
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace results of other requests in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch, and with the step `"trial"` after every trial of this process.

    Returns:
        The trials, the Pareto front and the answer.

    Raises:
        UsageError: An argument, the recipe or the search space is invalid, or the storage contains another search.
        BackendUnavailableError: Optuna is not installed, or this machine cannot measure latencies for the target.
        StorageError: The storage is locked, damaged or unreachable.
        EdgeMsaError: All trials failed.

    Examples:
        >>> result = em.search("mosi.pkl", target="laptop-x86", trials=40, output_dir="search")
        >>> print(result)
    """
    source = source_of(data)
    check_count(trials, "trials")
    check_count(seeds, "seeds", most=20)
    check_count(jobs, "jobs", most=64)
    check_seed(seed)
    if num_samples is not None:
        check_count(num_samples, "num_samples")
    teacher_path = None if teacher is None else path_of(teacher, "teacher", "a run of train")
    inputs = [source, teacher_path, recipe]
    config = SearchConfig(
        target=target,
        data=source,
        trials=trials,
        output_dir=output_container(output_dir, "output_dir", inputs),
        storage=storage,
        teacher=teacher_path,
        recipe=path_or_tables(recipe, "recipe"),
        epochs=epochs,
        train_samples=num_samples,
        seeds=seeds,
        seed=seed,
        task=task,
    )
    check_optuna()
    require_single_process("search")
    check_output_dir(config.output_dir)
    declare_steps([("teacher", config.output_dir / TEACHER_FOLDER)] if teacher_path is None else [])
    declare_steps([(f"{trials} trials", None), (f"train the best recipes with {seeds} seeds", None)])
    context, steps = prepare_search(config), WorkflowSteps()
    if is_dry_run():
        _plan_search(context, steps)
    with _open_study(context) as study, TrialRunner(context, steps) as runner, allow_replacing("any"):
        _make_teacher(context, steps)
        workers = _start_workers(config, jobs - 1)
        _run_trials(context, study, runner)
        for worker in workers:
            worker.join()
        record = finish_search(context, runner, steps, study.results())
    return SearchResult(record, find_answer(record), config.output_dir)


def check_output_dir(output_dir: Path) -> None:
    """Check that a folder is empty, missing, or contains only files of a search.

    Raises:
        UsageError: The path is a file.
        RunUsageError: The folder contains something else.
    """
    names = {
        TEACHER_FOLDER,
        STUDENTS_FOLDER,
        PARETO_FOLDER,
        PAGE_NAME,
        RECORD_NAME,
        LEASES_FOLDER,
        JOBS_FOLDER,
    }
    check_output(output_dir, CONTAINER)
    for entry in sorted(output_dir.iterdir()) if output_dir.is_dir() else ():
        if (
            not entry.name.startswith((".", STORAGE_NAME, DATA_PREFIX))
            and entry.name not in names
            and entry.suffix not in {".db", JOURNAL_SUFFIX}
        ):
            raise RunUsageError(
                f"{output_dir} contains {entry.name}, which does not belong to a search. "
                "Pass another --output-dir. Nothing was changed."
            )


def run_worker(config: SearchConfig, log: Path) -> None:
    """Run trials in a process started by `--jobs`, with all output in a log file."""
    check_optuna()
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        _end_quietly_on_signals(),
    ):
        context, steps = prepare_search(config), WorkflowSteps()
        with _open_study(context) as study, TrialRunner(context, steps) as runner, allow_replacing("any"):
            _make_teacher(context, steps)
            _run_trials(context, study, runner)


@contextlib.contextmanager
def _end_quietly_on_signals() -> Iterator[None]:
    """Clean up and end on a signal. An interrupted command ends its workers with SIGTERM."""
    with handle_interrupts() as interrupts:
        try:
            yield
        except BaseException:
            if interrupts.exit_code is None:
                raise
            raise SystemExit(interrupts.exit_code) from None


def _make_teacher(context: SearchContext, steps: WorkflowSteps) -> None:
    """Train the teacher, unless one was passed. If another worker is training it, wait for that worker."""
    if context.config.teacher is None:
        with wait_for_turn(context.teacher, "the teacher"):
            print_step("teacher")
            steps.train_teacher(context)


def _plan_search(context: SearchContext, steps: WorkflowSteps) -> None:
    """Find out what a search would do, and end the dry run. The storage is only read, from a copy.

    Raises:
        DryRunEnd: Always.
    """
    config = context.config
    location = Path(config.storage or config.output_dir / STORAGE_NAME)
    if location.is_file():
        with tempfile.TemporaryDirectory(prefix="edge-msa-") as folder:
            copy = shutil.copy(location, folder)
            with Study(str(copy), Path(folder), context.inputs, context.space, seed=config.seed) as study:
                done = len(study.results())
        print_note(f"{done} of {context.total_trials} trials are finished.")
    if config.teacher is None:
        steps.train_teacher(context)
    end_dry_run()


def _open_study(context: SearchContext) -> Study:
    config = context.config
    config.output_dir.mkdir(parents=True, exist_ok=True)
    keep_progress(config.output_dir)
    location = config.storage or str(config.output_dir / STORAGE_NAME)
    study = Study(location, config.output_dir, context.inputs, context.space, seed=config.seed)
    study.enqueue_defaults(context.default_params)
    if context.total_trials < config.trials:
        print_note(f"The search space has only {context.total_trials} points, so the search runs that many trials.")
    return study


def _start_workers(config: SearchConfig, count: int) -> list[SpawnProcess]:
    """Start additional workers of the same search. They end when this process ends."""
    context = multiprocessing.get_context("spawn")
    folder = config.output_dir / JOBS_FOLDER
    workers = []
    for number in range(1, count + 1):
        folder.mkdir(exist_ok=True)
        # torch reads the variable on import, which happens before the worker's function runs.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // (count + 1))))
        worker = context.Process(target=run_worker, args=(config, folder / f"{number}.txt"), daemon=True)
        worker.start()
        workers.append(worker)
    return workers


def _run_trials(context: SearchContext, study: Study, runner: TrialRunner) -> None:
    """Run trials until the study is complete. Wait for other workers, because their trials may be requeued."""
    waiting = False
    while True:
        claimed = study.claim(context.total_trials)
        if claimed is not None:
            _run_trial(context, study, runner, claimed)
            continue
        running = study.count_running()
        if not running:
            return
        if not waiting:
            print_note(f"Waiting for other workers, which are running {running} trials.")
        waiting = True
        time.sleep(POLL_SECONDS)


def _run_trial(context: SearchContext, study: Study, runner: TrialRunner, claimed: ClaimedTrial) -> None:
    print_step(f"trial {claimed.number}: {format_params(claimed.params)}{' (default)' if claimed.is_default else ''}")
    try:
        with study.keep_alive(claimed):
            result = runner.run(claimed, context.config.seed)
    except TRIAL_ERRORS as error:
        study.fail(claimed, str(error))
        print_progress(f"Trial {claimed.number} failed: {error}")
        return
    study.finish(claimed, result)
    error_value, ratio, size = result.costs
    print_result(
        f"error {error_value:.4f}, latency {ratio:.3f} relative to the reference ({result.p50_ms:.3f} ms), "
        f"{size / 1e3:.0f} KB"
    )
    done, total = claimed.number + 1, context.total_trials
    report_progress("trial", done, total, f"trial {done} of {total}: error {error_value:.4f}")
