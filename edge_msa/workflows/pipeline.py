"""`edge-msa pipeline`: run all steps. Steps that are up to date are skipped, so an interrupted pipeline resumes."""

from __future__ import annotations

import dataclasses
import json as json_module
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_msa.artifacts.cache import compute_cache_key, is_current, mark_current
from edge_msa.artifacts.requests import allow_replacing
from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.bundles import bench_bundles
from edge_msa.benchmark.records import write_records
from edge_msa.config.settings import PipelineRecipe, load_settings
from edge_msa.console import print_json, print_result, print_step, print_up_to_date
from edge_msa.data.dataset import SPLITS
from edge_msa.data.opening import open_and_report
from edge_msa.evaluation.evaluate import Evaluation, evaluate
from edge_msa.evaluation.predictors import open_session, session_predictor, session_source
from edge_msa.workflows.evaluate import find_bayes_optimum, open_predictor
from edge_msa.workflows.export import export_model, train_calibrated_student
from edge_msa.workflows.report import write_report
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME

MEASUREMENTS = "measurements"
REPORT_NAME = "report.html"
_RECORD_FILES = ("evaluations.json", "bench.json")
"""Records of the test split, in the order in which `--json` prints them."""


def run_pipeline(
    recipe: Path | None, data: str | None, output_dir: Path, *, task: str | None = None, json: bool = False
) -> None:
    """Train, distill, calibrate and export a student, measure it on the test split, and write a report.

    Args:
        recipe: TOML file with settings; None for the built-in settings.
        data: Feature file; None for the recipe's.
        output_dir: Folder for the runs, the bundles, the measurements and the report.
        task: Name of the task; None for the recipe's, or else the file's.
        json: Also print the measurements as one line of JSON.

    Raises:
        UsageError: The recipe is invalid.
    """
    started = time.monotonic()
    settings = load_settings(recipe)
    options = settings.pipeline
    options = options.updated({"data": data or options.data, "task": task or options.task}, where="pipeline")
    with allow_replacing("upstream"):
        calibrated = train_calibrated_student(output_dir, dataclasses.replace(settings, pipeline=options))
        bundles = [_export(target, calibrated, output_dir, options) for target in options.targets]
    records = _measure(bundles, output_dir, options)
    print_step("report")
    report = output_dir / REPORT_NAME
    write_report([output_dir], report, in_pipeline=True)
    print_result(f"Finished in {time.monotonic() - started:.0f} s.")
    if json:
        print_json({"report": str(report), "records": records})


def _export(target: str, calibrated: Path, output_dir: Path, options: PipelineRecipe) -> Path:
    print_step(f"export {target}")
    name = Path(target).stem if target.endswith(".toml") else target
    return export_model(
        target,
        output_dir / f"bundle-{name}",
        model=calibrated,
        data=options.data,
        precision=options.precision,
        max_drop=options.max_drop,
        task=options.task,
        in_pipeline=True,
        allow_worse_than_constant=options.allow_worse_than_constant,
    )


def _measure(paths: Sequence[Path], output_dir: Path, options: PipelineRecipe) -> list[dict[str, Any]]:
    """Evaluate the teacher and every bundle on the test split, measure the bundles together, and return the records."""
    print_step("evaluate and bench")
    folder, teacher = output_dir / MEASUREMENTS, output_dir / "teacher"
    inputs = {path.name: file_sha256(path / MANIFEST_NAME) for path in paths}
    cache_key = compute_cache_key("measure", {"split": "test"}, 0, inputs | {"teacher": load_run(teacher).digest})
    if is_current(folder, cache_key):
        print_up_to_date(folder)
        return [record for name in _RECORD_FILES for record in json_module.loads((folder / name).read_text())]
    bundles = [open_bundle(path) for path in paths]
    evaluations = _evaluate(teacher, bundles, options)
    benches = bench_bundles(bundles)
    evaluation_file, bench_file = (folder / name for name in _RECORD_FILES)
    write_records(evaluation_file, *evaluations)
    write_records(bench_file, *benches)
    mark_current(folder, cache_key)
    return [*(record.to_json() for record in evaluations), *(record.to_json() for record in benches)]


def _evaluate(teacher: Path, bundles: Sequence[Bundle], options: PipelineRecipe) -> list[Evaluation]:
    """Evaluate the teacher, and every bundle at every precision. Identical graphs on a backend are evaluated once."""
    dataset = open_and_report(options.data, options.task, labeled=SPLITS)
    with open_predictor(teacher, dataset, backend="auto", precision=None) as (predict, source, selected):
        dataset = selected
        optimum = find_bayes_optimum(options.data, dataset, "test")
        evaluations = [evaluate(predict, dataset, "test", source, bayes_optimum=optimum)[0]]
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
                by_graphs[graphs], _ = evaluate(predict, dataset, "test", source, bayes_optimum=optimum)
            evaluations.append(dataclasses.replace(by_graphs[graphs], source=source))
    return evaluations
