"""`edge-msa sensitivity`: find the layers of a calibrated student that must stay FP32 on a target."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_msa.arguments import AnyPath, check_seed, optional_source, path_of
from edge_msa.artifacts.dry_run import report_lookup
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import (
    INFO_NAME,
    LOG_NAME,
    STUDENT_EPOCHS,
    WEIGHTS_NAME,
    Run,
    find_current_run,
    load_run,
    new_run,
    write_run,
)
from edge_msa.console import print_output, print_progress, print_result, print_up_to_date
from edge_msa.deployment.graphs import load_all_graphs
from edge_msa.deployment.student import DeployableStudent, load_deployable_student
from edge_msa.errors import RunError, UsageError
from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.plan_scorer import PlanScorer
from edge_msa.quantization.plan_summary import summarize_plan
from edge_msa.quantization.text_encoder_graph import TextEncoderGraph
from edge_msa.reporting.sensitivity import LayerBar, SensitivityPage, SensitivityPart, render_sensitivity
from edge_msa.training.run_data import encode_texts_for_run, open_unencoded_dataset_for_run
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.outputs import output_folder
from edge_msa_calibrate.sensitivity import LayerSensitivity, MixedPrecisionPlan, PlanLimits, search_mixed_precision
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.profiles import find_profile
from edge_msa_export.text import TextGraph

PAGE_NAME = "sensitivity.html"
SCORES_NAME = "plan-scores-{scheme}.json"
NUM_SAMPLES = 256
"""Number of validation samples that a plan is scored on."""

Plans = Mapping[str, MixedPrecisionPlan]
"""Plans by quantization scheme."""


@api
def sensitivity(
    model: AnyPath,
    *,
    target: str,
    output_dir: AnyPath,
    data: AnyPath | None = None,
    budget: float = 120.0,
    max_drop: float = 1.0,
    max_distance: float = 0.05,
    seed: int = 0,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Find the layers of a calibrated student that must stay in fp32 on a target, and write a calibration run.

    A search that was interrupted, or ran out of time, continues where it stopped when you call the function again.

    Args:
        model: Run of `calibrate`.
        target: Name of a device, name of a device family, or a TOML file with a device profile.
        output_dir: Folder of the run. `sensitivity.html` in it shows the search.
        data: Data whose validation split scores the plans (default: the student's training data).
        budget: Seconds for all quantization schemes of the target together.
        max_drop: Largest loss, in percentage points, on the worst subset.
        max_distance: Largest distance from the fp32 predictions, in standard deviations of those predictions.
        seed: Seed of the validation samples, 0 to 2**32 - 1.
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace a run of other inputs or options in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Not called yet; with `verbose`, a line per scored plan is printed.

    Returns:
        The calibration run with a mixed-precision plan per quantization scheme, which `export` takes.

    Raises:
        UsageError: An argument or the data cannot be used, or the target does not support int8.
        RunUsageError: `model` is no calibration run, or `output_dir` contains something else.

    Examples:
        >>> calibrated = em.sensitivity(calibrated, target="laptop-x86", output_dir="mixed")
    """
    model_path, data_path = path_of(model, "model", "a run of calibrate"), optional_source(data)
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [model_path, data_path])
    profile = find_profile(target)
    backends = {backend.scheme: backend.name for backend in profile.backends if backend.scheme is not None}
    if not backends:
        raise UsageError(
            f"No backend of {profile.name} supports int8, so there is nothing to search. "
            "`edge-msa devices` lists the devices."
        )
    limits = PlanLimits(max_drop, max_distance)
    source = load_run(model_path, "calibration")
    unencoded = open_unencoded_dataset_for_run(source, data_path, task)
    recipe = {
        **source.info.recipe,
        "target": profile.name,
        "limits": dataclasses.asdict(limits),
        "samples": NUM_SAMPLES,
    }
    inputs = {"data": unencoded.digest, "calibration": source.digest}
    request = Request("sensitivity", recipe, seed, inputs)
    previous = find_current_run(run_dir, request)
    if previous and previous.info.is_complete:
        print_up_to_date(run_dir)
        return previous
    report_lookup(run_dir, request, is_current=False, resumes=previous is not None)
    student = load_deployable_student(source, encode_texts_for_run(source, unencoded))
    graphs = load_all_graphs(student)
    with new_run(run_dir, request.cache_key) as work:
        _copy_files(source, previous, work)
        plans: dict[str, MixedPrecisionPlan] = {
            scheme: _search(
                student, graphs, backend, scheme, work, limits=limits, budget=budget / len(backends), seed=seed
            )
            for scheme, backend in backends.items()
        }
        calibration = _with_plans(_calibration(student), plans)
        calibration.save(work)
        page = SensitivityPage(
            f"Sensitivity of {run_dir.name}",
            f"{profile.name}, measured on the validation split",
            tuple(_page_parts(plans, limits, graphs, calibration)),
        )
        write_text(work / PAGE_NAME, render_sensitivity(page))
        info = dataclasses.replace(
            source.info,
            **request.to_json(),
            metrics={
                "complete": all(plan.complete for plan in plans.values()),
                STUDENT_EPOCHS: source.training_epochs,
            },
        )
        write_run(work, info, source.weights, [])
    _print_plans(plans)
    print_result(f"page: {run_dir / PAGE_NAME}")
    next_command = f"edge-msa export {run_dir} --target {profile.name} --output-dir bundle-{profile.name}"
    print_output("calibration with mixed-precision plan", run_dir, next_step(next_command))
    return load_run(run_dir)


def _calibration(student: DeployableStudent) -> Calibration:
    if student.calibration is None:
        raise RunError(f"{student.run.path} is not calibrated. Run `edge-msa calibrate` first.")
    return student.calibration


def _copy_files(source: Run, previous: Run | None, work: Path) -> None:
    """Copy the files of the calibration, and the scores of an earlier search with the same cache key."""
    for path in source.path.iterdir():
        if path.is_file() and path.name not in (INFO_NAME, LOG_NAME, WEIGHTS_NAME):
            shutil.copyfile(path, work / path.name)
    for path in previous.path.glob(SCORES_NAME.format(scheme="*")) if previous else ():
        if not (work / path.name).is_file():
            shutil.copyfile(path, work / path.name)


def _search(
    student: DeployableStudent,
    graphs: GraphsByKey,
    backend: str,
    scheme: str,
    work: Path,
    *,
    limits: PlanLimits,
    budget: float,
    seed: int,
) -> MixedPrecisionPlan:
    """Search the plan of one quantization scheme. Layers that calibration keeps in FP32 are not part of the search."""
    text_encoder = None
    if isinstance(student.text, TextGraph):
        text_encoder = TextEncoderGraph.export(student.text, student.spec.encoder_tokens)
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        scorer = PlanScorer(
            graphs,
            _calibration(student),
            backend,
            scheme,
            student.dataset,
            student.gap_frames,
            text_encoder,
            Path(scratch),
            num_samples=NUM_SAMPLES,
            seed=seed,
        )
        weights = scorer.weights
        print_progress(
            f"{scheme}: {len(weights)} layers, scored on {scorer.num_samples} validation samples "
            f"with {scorer.backend_name}"
        )
        scores_path = work / SCORES_NAME.format(scheme=scheme)
        return search_mixed_precision(
            weights, scorer, scores_path, limits=limits, budget=budget, progress=print_progress
        )


def _with_plans(calibration: Calibration, plans: Plans) -> Calibration:
    """Return the calibration with the FP32 weights of the plans added."""
    before = calibration.fp32_weights
    added = {scheme: {**before.get(scheme, {}), **plan.fp32_weights} for scheme, plan in plans.items()}
    return dataclasses.replace(calibration, fp32_weights={**before, **added})


def _page_parts(
    plans: Plans, limits: PlanLimits, graphs: GraphsByKey, calibration: Calibration
) -> Iterator[SensitivityPart]:
    for scheme, plan in plans.items():
        rows = tuple(
            (node.node, node.op, "int8" if node.int8 else "float", node.reason)
            for node in summarize_plan(graphs, scheme, calibration)
        )
        bars = tuple(_layer_bar(layer, plan) for layer in plan.layers)
        yield SensitivityPart(scheme, _summary(plan), bars, limits.distance, rows)


def _layer_bar(layer: LayerSensitivity, plan: MixedPrecisionPlan) -> LayerBar:
    return LayerBar(
        layer.weight,
        layer.only_int8.distance if layer.only_int8 else None,
        plan.all_int8.distance - layer.only_fp32.distance if layer.only_fp32 else None,
        is_float=layer.weight in plan.fp32_weights,
    )


def _print_plans(plans: Plans) -> None:
    for scheme, plan in plans.items():
        for sentence in _summary(plan):
            print_result(f"{scheme}: {sentence}")
        for weight, reason in plan.fp32_weights.items():
            print_result(f"  {weight}: {reason}")


def _summary(plan: MixedPrecisionPlan) -> tuple[str, ...]:
    """Return the result of a search in two or three sentences."""
    count = len(plan.fp32_weights)
    all_int8 = (
        f"With all {len(plan.layers)} layers in int8, the worst subset loses {plan.all_int8.drop:.2f} points and the "
        f"distance from fp32 is {plan.all_int8.distance:.4f} standard deviations."
    )
    chosen = (
        f"With {count or 'no'} {'layer' if count == 1 else 'layers'} in fp32, it loses {plan.score.drop:.2f} points, "
        f"and the distance is {plan.score.distance:.4f}, which is {'within' if plan.passed else 'beyond'} the limits."
    )
    incomplete = "The time budget ended first: this is the best plan so far. Run the same command again to continue."
    return (all_int8, chosen) if plan.complete else (all_int8, chosen, incomplete)
