"""What a search ends with: the Pareto set as bundles, timed together; the answer, checked over seeds; the page."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_msa.artifacts.cache import compute_cache_key, load_cached, save_cached
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.benchmark.machine import describe_machine
from edge_msa.console import remark, say, step
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.predictors import session_of
from edge_msa.search.answer import candidates, spread_of
from edge_msa.search.context import SearchContext
from edge_msa.search.page import render
from edge_msa.search.points import Point
from edge_msa.search.record import NAME, SearchRecord
from edge_msa.search.study import Claimed
from edge_msa.search.trial_runner import FAILURES, TrialRunner, calibrated, error_name, timed
from edge_msa.workflows.export import export_once
from edge_msa_export.bundle.write import is_bundle
from edge_msa_runtime.bundle.reader import open_bundle
from edge_msa_runtime.modalities import subsets_of

PARETO, PAGE = "pareto", "search.html"


def finish(context: SearchContext, runner: TrialRunner, points: Sequence[Point]) -> SearchRecord:
    """The record of these trials, its bundles and its page, made unless they are there.

    Raises:
        EdgeMsaError: no trial was measured.
    """
    if not any(point.done for point in points):
        reasons = list(dict.fromkeys(point.reason for point in points))
        raise EdgeMsaError(f"none of {len(points)} trials could be measured; the first: {reasons[0]}")
    folder = context.asked.output_dir
    with wait_for_turn(folder / NAME, "the results"):
        cache_key = _cache_key(context, points)
        record = _load_record(folder / NAME, cache_key)
        if record is None:
            record = _made(context, runner, points)
            save_cached(folder / NAME, cache_key, record.to_json())
        write_text(folder / PAGE, render(record))
    return record


def _made(context: SearchContext, runner: TrialRunner, points: Sequence[Point]) -> SearchRecord:
    step("results")
    dataset, asked = context.dataset, context.asked
    record = SearchRecord(
        data=dataset.name,
        target=context.profile.name,
        backend=context.backend,
        error_name=error_name(dataset.task),
        subset=subsets_of(dataset.dims)[-1].value,
        points=tuple(points),
        facts=_facts(context),
    )
    base = record.baseline
    chosen = {point.number: point for point in (*record.pareto, *([base] if base else []))}
    _remove_others(asked.output_dir / PARETO, {point.name for point in chosen.values()})
    bundles = {number: str(_exported(context, point)) for number, point in chosen.items()}
    record = dataclasses.replace(record, bundles=bundles, final_ms=_timed(context, chosen, bundles))
    return _checked(context, runner, record)


def _exported(context: SearchContext, point: Point) -> Path:
    """The point's bundle, with all backends of the target, each held against the gate."""
    run = calibrated(context, point.params, context.asked.seed)
    # The gate may fail for another backend than the one that was searched for; the bundle is written all the same.
    return export_once(
        context.asked.target,
        context.asked.output_dir / PARETO / point.name,
        run.path,
        data=context.data,
        precision=point.precision,
        max_drop=context.own.max_drop,
        task=context.asked.task,
        accept_gate_failure=True,
    )


def _remove_others(folder: Path, names: set[str]) -> None:
    """Bundles of a set that is no longer the Pareto set, for there are more trials now."""
    for path in sorted(folder.glob("trial-*")):
        if path.name not in names and is_bundle(path):
            shutil.rmtree(path)


def _timed(context: SearchContext, chosen: Mapping[int, Point], bundles: Mapping[int, str]) -> dict[int, float]:
    """Median milliseconds of the fullest subset, all bundles taking turns."""
    sessions = [
        session_of(open_bundle(bundles[number]), context.backend, point.precision) for number, point in chosen.items()
    ]
    results = timed(sessions)
    for session in sessions:
        session.close()
    return {number: result.latencies[0].p50 for number, result in zip(chosen, results, strict=True)}


def _checked(context: SearchContext, runner: TrialRunner, record: SearchRecord) -> SearchRecord:
    """The record with errors over seeds: of the default recipe, and of candidates until one holds."""
    base = record.baseline
    seeds = range(context.asked.seed + 1, context.asked.seed + context.asked.seeds)
    if base is None or not seeds:
        return record
    own = _over_seeds(context, runner, base, seeds)
    record = dataclasses.replace(record, errors={base.number: own})
    limit = sum(own) / len(own) + spread_of(own)
    for point in candidates(record):
        errors = own if point.number == base.number else _over_seeds(context, runner, point, seeds)
        record = dataclasses.replace(record, errors={**record.errors, point.number: errors})
        if len(errors) == len(own) and sum(errors) / len(errors) <= limit:
            break
    return record


def _over_seeds(context: SearchContext, runner: TrialRunner, point: Point, seeds: range) -> list[float]:
    """The point's own error and those of further seeds."""
    errors = [point.costs[0]]
    for seed in seeds:
        step(f"trial {point.number} with seed {seed}")
        try:
            found = runner.point(Claimed(point.number, point.params, point.default), seed)
        except FAILURES as error:
            remark(f"note: trial {point.number} with seed {seed} failed: {error}")
            continue
        say(f"{error_name(context.dataset.task)} {found.costs[0]:.4f}")
        errors.append(found.costs[0])
    return errors


def _facts(context: SearchContext) -> dict[str, str]:
    asked, parts = context.asked, context.parts
    samples = (
        f"{len(context.dataset.split('train'))} training samples, {len(context.dataset.split('valid'))} of validation"
    )
    return describe_machine() | {
        "data": f"{context.dataset.name}, {samples}, SHA-256 {context.dataset.digest}",
        "seed": f"{asked.seed}, and {asked.seeds - 1} more for the answer",
        "epochs of a trial": str(context.base.epochs),
        "teacher": str(context.teacher),
        "parts of the study": ", ".join(f"{name} {value}" for name, value in parts.items()),
    }


def _cache_key(context: SearchContext, points: Sequence[Point]) -> str:
    recipe = {"points": [point.to_json() for point in points], "seeds": context.asked.seeds}
    return compute_cache_key("search results", recipe, context.asked.seed, context.parts)


def _load_record(path: Path, cache_key: str) -> SearchRecord | None:
    """Return the record of these trials if it exists and so do all of its bundles."""
    cached = load_cached(path, cache_key)
    if cached is None:
        return None
    record = SearchRecord.from_json(cached)
    return record if all(is_bundle(Path(bundle)) for bundle in record.bundles.values()) else None
