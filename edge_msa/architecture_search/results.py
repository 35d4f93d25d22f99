"""Finish a search: export the Pareto front, time its bundles together, confirm the answer, write the page."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from edge_msa.architecture_search.answer import candidates, deviation
from edge_msa.architecture_search.context import SearchContext
from edge_msa.architecture_search.page import render_page
from edge_msa.architecture_search.record import RECORD_NAME, SearchRecord
from edge_msa.architecture_search.trial_runner import (
    TRIAL_ERRORS,
    SearchSteps,
    TrialRunner,
    error_name,
    measure_latency,
)
from edge_msa.architecture_search.trials import ClaimedTrial, TrialResult
from edge_msa.artifacts.cache import compute_cache_key, load_cached, save_cached
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.benchmark.machine import describe_machine
from edge_msa.config.students import StudentRecipe, TextRecipe
from edge_msa.console import print_note, print_result, print_step
from edge_msa.errors import EdgeMsaError
from edge_msa.evaluation.predictors import open_session
from edge_msa_export.bundle.write import is_bundle
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.modalities import subsets_of

PARETO_FOLDER, PAGE_NAME = "pareto", "search.html"


def finish_search(
    context: SearchContext, runner: TrialRunner, steps: SearchSteps, trials: Sequence[TrialResult]
) -> SearchRecord:
    """Return the record of finished trials, and write it together with its bundles and its page.

    If the folder already has the record of these trials, only the page is written.

    Raises:
        EdgeMsaError: All trials failed.
    """
    if not any(trial.is_measured for trial in trials):
        raise EdgeMsaError(f"All {len(trials)} trials failed. The first failure: {trials[0].failure}")
    folder = context.config.output_dir
    record_path = folder / RECORD_NAME
    with wait_for_turn(record_path, "the results"):
        recipe = {"trials": [trial.to_json() for trial in trials], "seeds": context.config.seeds}
        cache_key = compute_cache_key("search", recipe, context.config.seed, context.inputs)
        record = _load_record(record_path, cache_key)
        if record is None:
            record = _Finisher(context, runner, steps).make_record(trials)
            save_cached(record_path, cache_key, record.to_json())
        write_text(folder / PAGE_NAME, render_page(record))
    return record


class _Finisher:
    """Makes the record of a finished search."""

    def __init__(self, context: SearchContext, runner: TrialRunner, steps: SearchSteps) -> None:
        self._context, self._runner, self._steps = context, runner, steps

    def make_record(self, trials: Sequence[TrialResult]) -> SearchRecord:
        print_step("results")
        context = self._context
        record = SearchRecord(
            data=context.dataset.name,
            target=context.profile.name,
            backend=context.backend,
            error_name=error_name(context.dataset.task),
            subset=subsets_of(["language"] if context.text_layers else context.dataset.dims)[-1].value,
            trials=tuple(trials),
            provenance=_provenance(context),
        )
        default = record.default
        selected = {trial.number: trial for trial in (*record.pareto, *([default] if default else []))}
        _remove_other_bundles(
            context.config.output_dir / PARETO_FOLDER, {trial.bundle_name for trial in selected.values()}
        )
        bundles = {number: str(self._export(trial)) for number, trial in selected.items()}
        record = dataclasses.replace(record, bundles=bundles, final_ms=self._final_latencies(selected, bundles))
        return self._with_errors_over_seeds(record)

    def _export(self, trial: TrialResult) -> Path:
        """Export the trial's bundle with all backends of the target, and return its folder."""
        config = self._context.config
        run = self._runner.calibrated_run(trial.params, config.seed)
        path = config.output_dir / PARETO_FOLDER / trial.bundle_name
        return self._steps.export_bundle(self._context, run, path, precision=trial.precision)

    def _final_latencies(self, selected: Mapping[int, TrialResult], bundles: Mapping[int, str]) -> dict[int, float]:
        """Return p50 in milliseconds by trial number, with all bundles interleaved."""
        with ExitStack() as stack:
            sessions = [
                stack.enter_context(open_session(open_bundle(bundles[number]), self._context.backend, trial.precision))
                for number, trial in selected.items()
            ]
            results = measure_latency(sessions)
        return {number: result.latencies[0].p50_ms for number, result in zip(selected, results, strict=True)}

    def _with_errors_over_seeds(self, record: SearchRecord) -> SearchRecord:
        """Add the errors over seeds of the default recipe, and of candidates until one is confirmed."""
        default, config = record.default, self._context.config
        seeds = range(config.seed + 1, config.seed + config.seeds)
        if default is None or not seeds:
            return record
        default_errors = self._errors_over_seeds(default, seeds)
        record = dataclasses.replace(record, errors={default.number: default_errors})
        max_error = sum(default_errors) / len(default_errors) + deviation(default_errors)
        for trial in candidates(record):
            errors = default_errors if trial.number == default.number else self._errors_over_seeds(trial, seeds)
            record = dataclasses.replace(record, errors={**record.errors, trial.number: errors})
            if len(errors) == len(default_errors) and sum(errors) / len(errors) <= max_error:
                break
        return record

    def _errors_over_seeds(self, trial: TrialResult, seeds: range) -> list[float]:
        """Return the trial's error, followed by its errors with further seeds. Seeds that fail are left out."""
        errors = [trial.costs[0]]
        for seed in seeds:
            print_step(f"trial {trial.number} with seed {seed}")
            try:
                result = self._runner.run(ClaimedTrial(trial.number, trial.params, trial.is_default), seed)
            except TRIAL_ERRORS as error:
                print_note(f"trial {trial.number} with seed {seed} failed: {error}")
                continue
            print_result(f"{error_name(self._context.dataset.task)} {result.costs[0]:.4f}")
            errors.append(result.costs[0])
        return errors


def _remove_other_bundles(folder: Path, names: set[str]) -> None:
    """Remove bundles of trials that later trials dominate."""
    for path in sorted(folder.glob("trial-*")):
        if path.name not in names and is_bundle(path):
            shutil.rmtree(path)


def _provenance(context: SearchContext) -> dict[str, str]:
    config, dataset = context.config, context.dataset
    samples = f"{len(dataset.split('train'))} training and {len(dataset.split('valid'))} validation samples"
    return describe_machine() | {
        "data": f"{dataset.name}, {samples}, SHA-256 {dataset.digest}",
        "seed": f"{config.seed}, and {config.seeds - 1} more for the answer",
        "epochs per trial": _describe_epochs(context.default_recipe),
        "teacher": str(context.teacher),
        "inputs": ", ".join(f"{name} {digest}" for name, digest in context.inputs.items()),
    }


def _describe_epochs(recipe: StudentRecipe | TextRecipe) -> str:
    if isinstance(recipe, StudentRecipe):
        return str(recipe.epochs)
    return f"{recipe.transfer.epochs} and {recipe.final.epochs}, in the two stages"


def _load_record(path: Path, cache_key: str) -> SearchRecord | None:
    """Return the stored record if it has this cache key and its bundles exist."""
    value = load_cached(path, cache_key)
    if value is None:
        return None
    record = SearchRecord.from_json(value)
    return record if all(is_bundle(Path(bundle)) for bundle in record.bundles.values()) else None
