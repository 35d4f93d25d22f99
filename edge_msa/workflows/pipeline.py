"""`edge-msa pipeline`: every step in order; a step whose inputs are unchanged is skipped, so a killed run goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json as json_module
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.bundles import bench_bundles
from edge_msa.benchmark.records import BenchRecord, write_records
from edge_msa.config.settings import PipelineRecipe, read_settings
from edge_msa.console import say, say_json, step
from edge_msa.data.opening import open_and_report
from edge_msa.errors import UsageError
from edge_msa.evaluation.evaluate import Evaluation, evaluate
from edge_msa.evaluation.predictors import by_session, session_of, source_of
from edge_msa.workflows.evaluate import limits_of, reader_of
from edge_msa.workflows.export import export_model, make_model
from edge_msa.workflows.report import write_report
from edge_msa_export.profiles import profile_named
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.bundle.reader import Bundle, open_bundle
from edge_msa_runtime.errors import BundleError

MEASUREMENTS = "measurements"
STAMP = "inputs.sha256"


def run_pipeline(
    recipe: Path | None, data: str | None, output_dir: Path, *, task: str | None = None, json: bool = False
) -> None:
    """Train, distill, calibrate, export, measure on test, report."""
    started = time.monotonic()
    if output_dir.exists() and not output_dir.is_dir():
        raise UsageError(f"{output_dir} is a file: give a folder that may hold runs, bundles and the report")
    settings = read_settings(recipe)
    own = settings.pipeline
    chosen = dataclasses.replace(own, data=data or own.data, task=task or own.task)
    make_model(output_dir, dataclasses.replace(settings, pipeline=chosen))
    bundles = [_export(target, output_dir, chosen) for target in chosen.targets]
    measured = _measure(bundles, output_dir, chosen)
    step("report")
    write_report([output_dir], output_dir / "report.html")
    say(f"took {time.monotonic() - started:.0f} s")
    if json:
        say_json({"report": str(output_dir / "report.html"), "records": measured})


def _export(target: str, output_dir: Path, recipe: PipelineRecipe) -> Path:
    step(f"export {target}")
    name = Path(target).stem if target.endswith(".toml") else target
    model, path = output_dir / "calibrated", output_dir / f"bundle-{name}"
    wanted = {
        "model": load_run(model).digest,
        "profile": profile_named(target).to_json(),
        "precision": recipe.precision,
        "max_drop": recipe.max_drop,
    }
    if _manifest_of(path) is not None and _stamp(output_dir, path.name) == _hash(wanted, path):
        say(f"bundle: {path} is up to date, skipped")
        return path
    export_model(
        target,
        path,
        model=model,
        data=recipe.data,
        precision=recipe.precision,
        max_drop=recipe.max_drop,
        task=recipe.task,
        in_pipeline=True,
    )
    write_text(output_dir / MEASUREMENTS / f"{path.name}.{STAMP}", _hash(wanted, path))
    return path


def _measure(paths: Sequence[Path], output_dir: Path, recipe: PipelineRecipe) -> list[dict[str, Any]]:
    """Evaluate every precision of every bundle on test, and bench them all in one run."""
    step("evaluate and bench")
    folder = output_dir / MEASUREMENTS
    stamp = _hash({"split": "test"}, *paths)
    if _stamp(output_dir, MEASUREMENTS) == stamp:
        say(f"measurements: {folder} is up to date, skipped")
        return [item for path in sorted(folder.glob("*.json")) for item in json_module.loads(path.read_text())]
    bundles = [open_bundle(path) for path in paths]
    evaluations = _evaluate(output_dir / "teacher", bundles, recipe)
    benches: list[BenchRecord] = bench_bundles(bundles)
    write_records(folder / "evaluations.json", *evaluations)
    write_records(folder / "bench.json", *benches)
    write_text(folder / f"{MEASUREMENTS}.{STAMP}", stamp)
    return [*(item.to_json() for item in evaluations), *(item.to_json() for item in benches)]


def _evaluate(teacher: Path, bundles: Sequence[Bundle], recipe: PipelineRecipe) -> list[Evaluation]:
    """The teacher, and every bundle at every precision; the same graphs on the same backend are read once."""
    predict, source, dataset = reader_of(
        teacher, open_and_report(recipe.data, recipe.task), backend="auto", precision=None
    )
    limits = limits_of(recipe.data, dataset, "test")
    evaluations = [evaluate(predict, dataset, "test", source, limits=limits)[0]]
    known: dict[tuple[str, ...], Evaluation] = {}
    variants = [
        (b, backend, name) for b in bundles for backend in b.manifest.backends for name in b.precisions(backend)
    ]
    for bundle, backend, precision in variants:
        with session_of(bundle, backend, precision) as session:
            files = (bundle.manifest.files[file] for file in bundle.needed_files(backend, precision))
            key = (session.backend, *sorted(files))
            source = source_of(session, backend)
            if key not in known:
                known[key] = evaluate(by_session(session), dataset, "test", source, limits=limits)[0]
            evaluations.append(dataclasses.replace(known[key], source=source))
    return evaluations


def _manifest_of(path: Path) -> Bundle | None:
    """The bundle, if it is whole."""
    try:
        return open_bundle(path)
    except (BundleError, UsageError):
        return None


def _stamp(output_dir: Path, name: str) -> str:
    path = output_dir / MEASUREMENTS / f"{name}.{STAMP}"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _hash(wanted: Mapping[str, Any], *bundles: Path) -> str:
    """What a result was made from, and the bundles as they lie there now."""
    digest = hashlib.sha256(json_module.dumps(wanted, sort_keys=True).encode())
    for bundle in bundles:
        digest.update((bundle / MANIFEST_NAME).read_bytes())
    return digest.hexdigest()
