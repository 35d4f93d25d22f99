"""`edge-msa sensitivity`: which layers of a calibrated student must stay float on a target, found within a budget."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.runs import (
    INFO_NAME,
    LOG_NAME,
    WEIGHTS_NAME,
    Run,
    find_current_run,
    load_run,
    new_run,
    write_run,
)
from edge_msa.console import made, print_up_to_date, remark, say
from edge_msa.data.dataset import Dataset
from edge_msa.deployment.export_request import export_request
from edge_msa.deployment.graphs import graphs_of, with_text_encoders
from edge_msa.errors import UsageError
from edge_msa.quantization.calibration_files import explained, write_fp32_weights
from edge_msa.quantization.plan_scorer import PlanScorer
from edge_msa.reporting.sensitivity import LayerBar, SensitivityPage, SensitivityPart, render_sensitivity
from edge_msa.training.run_data import open_dataset_for_run
from edge_msa_calibrate.sensitivity import LayerSensitivity, MixedPrecisionPlan, PlanLimits, search_mixed_precision
from edge_msa_export.profiles import BackendProfile, profile_named
from edge_msa_export.request import ExportRequest

PAGE_NAME = "sensitivity.html"
SAMPLES = 256
"""Validation samples that a plan is read on."""


def find_mixed_precision(
    target: str,
    model: Path,
    output_dir: Path,
    *,
    data: str | None = None,
    budget: float = 120.0,
    max_drop: float = 1.0,
    max_distance: float = 0.05,
    seed: int = 0,
    task: str | None = None,
) -> Run:
    """Search the plan of every quantization scheme of a target, and write it with the calibration as a run for export.

    A search that was killed goes on where it stopped, and one that its budget ended does when it is started again.

    Raises:
        UsageError: the run was not calibrated, or the target has no int8.
    """
    limits = PlanLimits(max_drop, max_distance)
    source = load_run(model, "calibration")
    profile = profile_named(target)
    backends = [backend for backend in profile.backends if backend.scheme is not None]
    if not backends:
        raise UsageError(f"{profile.name} has no backend with int8: there is nothing to place; see edge-msa devices")
    spec = source.spec
    dataset = open_dataset_for_run(source, data, task)
    recipe = {**source.info.recipe, "target": profile.name, "limits": dataclasses.asdict(limits), "samples": SAMPLES}
    inputs = {"data": dataset.digest, "calibration": source.digest}
    cache_key = compute_cache_key("sensitivity", recipe, seed, inputs)
    before = find_current_run(output_dir, cache_key)
    if before and before.info.is_complete:
        print_up_to_date(output_dir)
        return before
    request = export_request(source, spec, spec.select_inputs(dataset), profile, "auto", output_dir.name)
    with new_run(output_dir, cache_key) as work:
        _start_from(work, source, before)
        asked = _Asked(source, request, limits, seed)
        plans = {
            backend.scheme: _search(asked, backend, spec.normalize(dataset), work, budget / len(backends))
            for backend in backends
            if backend.scheme
        }
        _write(work, asked, plans, output_dir.name)
        info = dataclasses.replace(
            source.info,
            command="sensitivity",
            cache_key=cache_key,
            seed=seed,
            recipe=recipe,
            inputs=inputs,
            metrics={"complete": all(plan.complete for plan in plans.values())},
        )
        write_run(work, info, source.weights, [])
    _tell(plans, output_dir)
    following = f"edge-msa export --target {profile.name} --model {output_dir} --output-dir bundle"
    made("calibration with a plan", output_dir, following)
    return load_run(output_dir)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is searched for."""

    source: Run
    request: ExportRequest
    limits: PlanLimits
    seed: int


def _journal(work: Path, scheme: str) -> Path:
    return work / f"evaluations-{scheme}.json"


def _start_from(work: Path, source: Run, before: Run | None) -> None:
    """Copy what the calibration holds, and the answers of an earlier search of the same cache key."""
    own = (INFO_NAME, LOG_NAME, WEIGHTS_NAME)
    for path in source.path.iterdir():
        if path.is_file() and path.name not in own:
            shutil.copyfile(path, work / path.name)
    for path in before.path.glob("evaluations-*.json") if before else ():
        if not (work / path.name).is_file():
            shutil.copyfile(path, work / path.name)


def _search(asked: _Asked, backend: BackendProfile, dataset: Dataset, work: Path, budget: float) -> MixedPrecisionPlan:
    scheme = str(backend.scheme)
    graphs = graphs_of(asked.source)
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        scorer = PlanScorer.of(graphs, asked.request, backend, dataset, Path(scratch), SAMPLES, asked.seed)
        weights = scorer.weights  # without those that calibrate keeps float
        remark(f"{scheme}: {len(weights)} layers, {scorer.samples} validation samples, by {scorer.executes}")
        return search_mixed_precision(
            weights, scorer, _journal(work, scheme), limits=asked.limits, budget=budget, progress=remark
        )


def _write(work: Path, asked: _Asked, plans: Mapping[str, MixedPrecisionPlan], name: str) -> None:
    before = asked.request.fp32_weights
    fp32_weights = {**before} | {rules: {**before.get(rules, {}), **plan.fp32_weights} for rules, plan in plans.items()}
    write_fp32_weights(work, fp32_weights)
    graphs = with_text_encoders(graphs_of(asked.source), asked.request.text)
    told = explained(dataclasses.replace(asked.request, fp32_weights=fp32_weights), graphs)
    parts = [
        SensitivityPart(
            scheme,
            _sentences(plan),
            tuple(_bar(layer, plan) for layer in plan.layers),
            asked.limits.distance,
            tuple(
                (item["node"], item["op"], "int8" if item["int8"] else "float", item["reason"])
                for item in told.provenance["plan"][scheme]
            ),
        )
        for scheme, plan in plans.items()
    ]
    page = SensitivityPage(
        f"Sensitivity of {name}", f"{asked.request.profile.name}, against the gate on validation", parts
    )
    write_text(work / PAGE_NAME, render_sensitivity(page))


def _bar(layer: LayerSensitivity, plan: MixedPrecisionPlan) -> LayerBar:
    return LayerBar(
        layer.weight,
        layer.only_int8.distance if layer.only_int8 else None,
        plan.all_int8.distance - layer.only_fp32.distance if layer.only_fp32 else None,
        is_float=layer.weight in plan.fp32_weights,
    )


def _sentences(plan: MixedPrecisionPlan) -> tuple[str, ...]:
    kept = len(plan.fp32_weights)
    first = f"All {len(plan.layers)} layers in int8 lose {plan.all_int8.drop:.2f} points on the worst subset and lie "
    first += f"{plan.all_int8.distance:.4f} of a standard deviation from fp32."
    second = f"{kept or 'None'} of them kept float: {plan.score.drop:.2f} points, {plan.score.distance:.4f}; "
    second += "within the limits." if plan.passed else "beyond the limits."
    third = () if plan.complete else ("The budget ended first: this is the best so far, the same command goes on.",)
    return (first, second, *third)


def _tell(plans: Mapping[str, MixedPrecisionPlan], output_dir: Path) -> None:
    for scheme, plan in plans.items():
        for sentence in _sentences(plan):
            say(f"{scheme}: {sentence}")
        for weight, reason in plan.fp32_weights.items():
            say(f"  {weight}: {reason}")
    say(f"picture: {output_dir / PAGE_NAME}")
