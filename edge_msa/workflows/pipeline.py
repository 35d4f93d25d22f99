"""`edge-msa pipeline`: run all steps. Steps that are up to date are skipped, so an interrupted pipeline resumes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, optional_source, path_of
from edge_msa.artifacts.cache import is_current, mark_current
from edge_msa.artifacts.dry_run import declare_steps, end_dry_run, report_lookup
from edge_msa.artifacts.durations import record_seconds
from edge_msa.artifacts.requests import Request, allow_replacing
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.benchmark.bundles import bench_bundles
from edge_msa.benchmark.records import BenchRecord, load_records, write_records
from edge_msa.benchmark.teachers import bench_teacher, onnxruntime_source
from edge_msa.config.settings import PipelineRecipe, load_settings
from edge_msa.console import print_step, print_up_to_date
from edge_msa.data.dataset import SPLITS, Dataset
from edge_msa.data.opening import is_synthetic, open_and_report
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.evaluate import Evaluation, evaluate
from edge_msa.evaluation.predictors import open_session, session_intervals, session_predictor, session_source
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.bench import Benchmark
from edge_msa.workflows.evaluate import find_bayes_optimum, open_predictor
from edge_msa.workflows.export import (
    ExportedBundle,
    bundle_name,
    export,
    target_name,
    train_calibrated_student,
    training_steps,
)
from edge_msa.workflows.outputs import output_container
from edge_msa.workflows.report import ReportPage, write_report
from edge_msa_runtime.benchmark.processes import Plan
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME

DEFAULT_OUTPUT_DIR = "runs"
MEASUREMENTS = "measurements"
REPORT_NAME = "report.html"
_PLAN = Plan(processes=3, repeats=700, looks=1)
"""A quick benchmark: enough predictions for p99, and enough processes for intervals, which are wide."""
_RECORD_FILES = ("evaluations.json", "bench.json")
"""Records of the test split, in the order in which `--json` prints them."""


@dataclass(frozen=True, repr=False)
class PipelineResult:
    """Everything that a pipeline made."""

    output_dir: Path
    """Folder of the runs, the bundles, the measurements and the report."""
    teacher: Run
    """The teacher."""
    student: Run
    """The student."""
    calibrated: Run
    """The calibrated student."""
    bundles: tuple[ExportedBundle, ...]
    """One bundle per target."""
    evaluations: tuple[Evaluation, ...]
    """Metrics on the test split: of the teacher, and of every bundle on every backend at every precision."""
    benchmark: Benchmark
    """Latencies and sizes of the bundles and of the teacher."""
    report: ReportPage
    """The report page."""

    def __repr__(self) -> str:
        """Return the folder and the targets."""
        return f"<PipelineResult {self.output_dir}/: {', '.join(bundle.target for bundle in self.bundles)}>"

    def __str__(self) -> str:
        """Return the trade-off table of the report for people."""
        return str(self.report)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        evaluations = [evaluation.to_json() for evaluation in self.evaluations]
        return {"report": str(self.report.path), "records": evaluations + self.benchmark.to_json()["records"]}


class Pipeline:
    """All steps from data to a report: train, distill, calibrate, export, evaluate, bench, report.

    Args:
        data: Feature file, or `"synthetic"` (default: what the recipe says, or else `"synthetic"`).
        output_dir: Folder for the runs, the bundles, the measurements and the report.
        target: Device or devices to export for: names, or TOML files with device profiles (default: what the recipe
            says, or else `"laptop"` and `"jetson"`).
        recipe: TOML file or mapping with the tables `pipeline`, `hrlf`, `almt` and `student`, for example
            `{"hrlf": {"epochs": 5}, "student": {"size": "nano"}}`.
        epochs: Number of epochs of each training stage, instead of the recipe's.
        allow_worse_than_constant: Whether to export a student that does not beat a constant on validation (default:
            what the recipe says, or else no).
        task: What the labels mean (default: what the recipe or the data states).

    Raises:
        UsageError: An argument is invalid, or the recipe has an unknown key or an invalid value.

    Examples:
        >>> pipeline = em.Pipeline("mosi.pkl", output_dir="demo", target="laptop-x86")
        >>> result = pipeline.run()
        >>> print(result)  # the table of accuracy and latency
        >>> result.bundles[0].load()
    """

    def __init__(
        self,
        data: AnyPath | None = None,
        *,
        output_dir: AnyPath = DEFAULT_OUTPUT_DIR,
        target: str | Sequence[str] | None = None,
        recipe: AnyPath | Mapping[str, Any] | None = None,
        epochs: int | None = None,
        allow_worse_than_constant: bool | None = None,
        task: str | None = None,
    ) -> None:
        settings = load_settings(recipe)
        options = {"epochs": epochs, "allow_worse_than_constant": allow_worse_than_constant, "task": task}
        changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if (source := optional_source(data)) is not None:
            changes["data"] = source
        if target is not None:
            single = isinstance(target, str) or not isinstance(target, Iterable)
            changes["targets"] = [target_name(item) for item in ([target] if single else target)]
        self.settings = dataclasses.replace(settings, pipeline=settings.pipeline.updated(changes, where="pipeline"))
        """Settings of all steps."""
        self.output_dir = path_of(output_dir, "output_dir", "the path of a folder")
        """Folder for the runs, the bundles, the measurements and the report."""
        inputs = [self.settings.pipeline.data, recipe]
        output_container(self.output_dir, "output_dir", inputs)

    def __repr__(self) -> str:
        """Return the data, the targets and the folder."""
        options = self.settings.pipeline
        return f"<Pipeline {options.data} -> {', '.join(options.targets)}, {self.output_dir}/>"

    @api
    def run(
        self,
        *,
        overwrite: bool = False,
        verbose: bool = False,
        on_progress: OnProgress | None = None,
    ) -> PipelineResult:
        """Run all steps. Steps that are up to date are skipped, so an interrupted pipeline continues.

        Args:
            overwrite: Whether to replace results of other data or recipes in the folder.
            verbose: Whether to print progress and notes.
            on_progress: Called after every epoch of the trainings and for every precision of the exports.

        Raises:
            UsageError: The data cannot be used, or the folder contains something else.
            DataError: The content of the data cannot be used.
            TrainingError: A training diverged.
            GateFailedError: The student does not beat a constant, or a requested precision loses too much accuracy.
        """
        options, folder = self.settings.pipeline, self.output_dir
        bundle_steps = [(f"export {target}", folder / bundle_name(target)) for target in options.targets]
        page_path = folder / REPORT_NAME
        declare_steps([*training_steps(folder), *bundle_steps])
        declare_steps([("evaluate and bench", folder / MEASUREMENTS), ("report", page_path)])
        with allow_replacing("upstream"):
            calibrated = train_calibrated_student(folder, self.settings)
            bundles = tuple(_export(target, calibrated, folder, options) for target in options.targets)
        evaluations, benches = _measure([bundle.path for bundle in bundles], folder, options)
        end_dry_run()
        print_step("report")
        page = write_report([folder], page_path, title=options.title, in_pipeline=True)
        return PipelineResult(
            folder,
            load_run(folder / "teacher"),
            load_run(folder / "student"),
            calibrated,
            bundles,
            evaluations,
            Benchmark(benches),
            page,
        )


def is_on_synthetic_data(output_dir: Path) -> bool:
    """Return whether a folder contains the teacher of a pipeline that was run on synthetic data."""
    try:
        return is_synthetic(load_run(output_dir / "teacher").spec.data_source or "")
    except EdgeMsaError:
        return False


def _export(target: str, calibrated: Run, output_dir: Path, options: PipelineRecipe) -> ExportedBundle:
    print_step(f"export {target}")
    return export(
        calibrated,
        target=target,
        output_dir=output_dir / bundle_name(target),
        data=options.data,
        precision=options.precision,
        max_drop=options.max_drop,
        task=options.task,
        allow_worse_than_constant=options.allow_worse_than_constant,
    )


def _measure(
    paths: Sequence[Path], output_dir: Path, options: PipelineRecipe
) -> tuple[tuple[Evaluation, ...], tuple[BenchRecord, ...]]:
    """Evaluate the teacher and every bundle on the test split, and measure them. Return the records."""
    print_step("evaluate and bench")
    folder, teacher = output_dir / MEASUREMENTS, output_dir / "teacher"
    inputs = {path.name: file_sha256(path / MANIFEST_NAME) for path in paths}
    request = Request("measure", {"split": "test"}, 0, inputs | {"teacher": load_run(teacher).digest})
    has_records = is_current(folder, request.cache_key)
    report_lookup(folder, request, is_current=has_records)
    if has_records:
        print_up_to_date(folder)
        records = load_records([folder / name for name in _RECORD_FILES])
        return records.evaluations, records.benches
    started = time.monotonic()
    bundles = [open_bundle(path) for path in paths]
    dataset = open_and_report(options.data, options.task, labeled=SPLITS)
    evaluations, benches = _evaluate(teacher, bundles, dataset, options.data), bench_bundles(bundles, plan=_PLAN)
    run, source = load_run(teacher), evaluations[0].source
    benches += bench_teacher(run, source, run.spec.select_inputs(dataset).split("test"))
    if any(record.reference for record in benches):
        evaluations.insert(1, dataclasses.replace(evaluations[0], source=onnxruntime_source(source)))
    evaluation_file, bench_file = (folder / name for name in _RECORD_FILES)
    write_records(evaluation_file, *evaluations)
    write_records(bench_file, *benches)
    mark_current(folder, request.cache_key)
    record_seconds(folder, request.command, request.recipe, time.monotonic() - started)
    return tuple(evaluations), tuple(benches)


def _evaluate(teacher: Path, bundles: Sequence[Bundle], dataset: Dataset, data: str) -> list[Evaluation]:
    """Evaluate the teacher, and every bundle at every precision. Identical graphs on a backend are evaluated once."""
    with open_predictor(teacher, dataset, backend="auto", precision=None) as model:
        dataset = model.dataset
        optimum = find_bayes_optimum(data, dataset, "test")
        evaluations = [evaluate(model.predict, dataset, "test", model.source, bayes_optimum=optimum)[0]]
    by_graphs: dict[tuple[str, ...], Evaluation] = {}
    variants = [
        (bundle, backend, precision)
        for bundle in bundles
        for backend in bundle.manifest.backends
        for precision in bundle.precisions(backend)
    ]
    for bundle, backend, precision in variants:
        with open_session(bundle, backend, precision) as session:
            digests = (bundle.manifest.files[file] for file in bundle.needed_files(backend, precision))
            graphs = (session.backend, *sorted(digests))
            source = session_source(session, backend)
            if graphs not in by_graphs:
                predict = session_predictor(session)
                by_graphs[graphs], _ = evaluate(
                    predict, dataset, "test", source, bayes_optimum=optimum, stated=session_intervals(session)
                )
            evaluations.append(dataclasses.replace(by_graphs[graphs], source=source))
    return evaluations
