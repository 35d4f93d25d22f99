"""`edge-msa compare`: distill variants of a student with several seeds and compare them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_msa.artifacts.runs import Run
from edge_msa.config.recipes import load_recipe_file, student_recipe
from edge_msa.config.section import merge_tables
from edge_msa.console import print_json, print_result
from edge_msa.data.dataset import SplitName
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.evaluation.baseline_check import complete_subset
from edge_msa.evaluation.evaluate import MISSING_AVERAGE, Evaluation, Source, evaluate
from edge_msa.evaluation.metrics import (
    Comparison,
    Estimate,
    Method,
    compare_methods,
    describe,
    describe_coverage,
    gate_metric,
)
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.text_tables import ABSENT, text_table
from edge_msa.training.context import Hardware
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.distill import check_teacher_weights, distill_on_setup


@dataclass(frozen=True)
class ComparedVariant:
    """The metric of one variant, or of one teacher."""

    name: str
    parameters: int
    """Number of parameters of the network."""
    scores: Mapping[str, tuple[float, ...]]
    """The metric in its own unit, one value per seed, by subset or `MISSING_AVERAGE`."""
    differences: Mapping[str, Comparison]
    """The variant minus the first variant, by subset or `MISSING_AVERAGE`. Empty for the first variant and teachers."""


def compare_students(
    recipe: Path,
    teachers: Sequence[Path],
    output_dir: Path,
    *,
    data: str | None = None,
    transfer: Sequence[str] = (),
    seeds: int = 3,
    split: SplitName = "valid",
    task: str | None = None,
    json: bool = False,
) -> tuple[ComparedVariant, ...]:
    """Distill each variant of a recipe with each seed, and compare it with the first variant and the teachers.

    Args:
        recipe: Recipe file. The table `student` holds the common settings, and each table in `variants` the settings of
            one variant.
        teachers: Runs of the teachers, as in `distill_student`.
        output_dir: Folder of the runs, one per variant and seed. Runs that are up to date are reused.
        data: Feature file, as in `distill_student`.
        transfer: Transfer files, as in `distill_student`.
        seeds: Number of seeds per variant: 0, 1, ...
        split: Split to measure on.
        task: Name of the task (default: the task that the data states).
        json: Whether to print the result as a line of JSON.

    Raises:
        UsageError: The recipe has no valid variants.
    """
    require_single_process("compare")
    tables = load_recipe_file(recipe)
    variants = tables.get("variants", {})
    if not variants or not all(isinstance(item, Mapping) for item in variants.values()):
        raise UsageError(f"{recipe} has no variants. Add tables such as [variants.labels] with teacher_share = 0.")
    for name in variants:
        if Path(name).name != name or name.startswith("."):
            raise UsageError(f"{recipe}: the variant {name!r} must be a folder name. Remove slashes and leading dots.")
    context = Hardware().start()
    setup = prepare_distillation(data, teachers, transfer, task)
    common = tables.get("student", {})
    recipes = {
        name: student_recipe(merge_tables(common, item), setup.spec.data_source) for name, item in variants.items()
    }
    for chosen in recipes.values():
        check_teacher_weights(chosen, setup)
    results = [_compare(run.path.name, [run], _evaluate([run], setup, split), []) for run in setup.teachers]
    first: list[Evaluation] = []
    for name, chosen in recipes.items():
        runs = [
            distill_on_setup(setup, chosen, output_dir / f"{name}-seed{seed}", seed=seed, context=context)
            for seed in range(seeds)
        ]
        evaluations = _evaluate(runs, setup, split)
        results.append(_compare(name, runs, evaluations, first))
        first = first or evaluations
    print_result(format_comparison(results, _metric(setup.dataset.task), len(setup.teachers)))
    if json:
        print_json({"compare": [asdict(item) for item in results]})
    return tuple(results)


def format_comparison(results: Sequence[ComparedVariant], metric: str, teachers: int) -> str:
    """Return a table of means and standard deviations over seeds, and differences from the first variant.

    Args:
        results: Results of the teachers, then of the variants.
        metric: Name of the metric.
        teachers: Number of teachers.
    """
    complete = complete_subset([name for item in results for name in item.scores if name != MISSING_AVERAGE])
    columns = [name for name in (complete, MISSING_AVERAGE) if any(name in item.scores for item in results)]
    title = describe(metric).title
    header = [
        "",
        "parameters",
        *(f"{title} {column.replace('_', '-')}{end}" for column in columns for end in ("", " - first")),
    ]
    rows = []
    for item in results:
        row = [item.name, f"{item.parameters:,}"]
        for column in columns:
            row.append(_format_mean(item.scores.get(column, ())))
            row.append(item.differences[column].format(metric) if column in item.differences else "")
        rows.append(row)
    table = text_table(header, rows)
    comparisons = [comparison for item in results for comparison in item.differences.values()]
    if not comparisons:
        return table
    first = results[teachers].name
    return f"{table}\n\nDifferences from {first}: {describe_coverage(comparisons)}"


def _evaluate(runs: Sequence[Run], setup: DistillationSetup, split: SplitName) -> list[Evaluation]:
    """Evaluate the runs of one variant, one per seed."""
    evaluations = []
    for run in runs:
        dataset = run.spec.select_inputs(setup.dataset_for(run))
        evaluation, _ = evaluate(run_predictor(run), dataset, split, Source(run.path.name, "run"), resamples=0)
        evaluations.append(evaluation)
    return evaluations


def _compare(
    name: str, runs: Sequence[Run], evaluations: Sequence[Evaluation], first: Sequence[Evaluation]
) -> ComparedVariant:
    """Return the result of a variant. `first` are the evaluations of the first variant, if this is another one."""
    metric = "mae" if "mae" in next(iter(evaluations[0].by_subset.values())) else evaluations[0].gate_metric
    estimates = _estimates(evaluations, metric)
    others = _estimates(first, metric)
    differences = {
        column: compare_methods(Method(others[column]), Method(items))
        for column, items in estimates.items()
        if column in others and items[0].has_variance
    }
    scores = {column: tuple(item.value for item in items) for column, items in estimates.items()}
    return ComparedVariant(name, sum(value.size for value in runs[0].weights.values()), scores, differences)


def _estimates(evaluations: Sequence[Evaluation], metric: str) -> dict[str, list[Estimate]]:
    """Return the estimates of all seeds by subset or `MISSING_AVERAGE`."""
    columns = (*evaluations[0].by_subset, MISSING_AVERAGE) if evaluations else ()
    by_seed = {column: [item.estimate(column, metric) for item in evaluations] for column in columns}
    return {
        column: [item for item in items if item is not None] for column, items in by_seed.items() if None not in items
    }


def _metric(task: Task) -> str:
    return "mae" if task.is_score else gate_metric(task)


def _format_mean(values: Sequence[float]) -> str:
    """Format the mean and, for several values, the standard deviation."""
    if not values:
        return ABSENT
    mean = f"{statistics.mean(values):.4f}"
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean
