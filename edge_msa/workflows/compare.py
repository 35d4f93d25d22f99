"""`edge-msa compare`: distill variants of a student with several seeds and compare them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_choice, check_count, optional_source, paths_of, sources_of
from edge_msa.artifacts.dry_run import declare_steps, end_dry_run, independent_step, is_dry_run
from edge_msa.artifacts.runs import Run
from edge_msa.config.recipes import load_tables, student_recipe
from edge_msa.config.section import merge_tables
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
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import ABSENT, text_table
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.distill import check_teacher_weights, distill_on_setup
from edge_msa.workflows.hardware import start_hardware
from edge_msa.workflows.outputs import output_container


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


@dataclass(frozen=True, repr=False)
class StudentComparison(Table):
    """Variants of a student recipe, each trained with several seeds, and their teachers."""

    variants: tuple[ComparedVariant, ...]
    """The teachers, then the variants in the order of the recipe."""
    teachers: int
    """Number of teachers among them."""
    metric: str
    """Name of the metric."""

    def __repr__(self) -> str:
        """Return the names of the variants."""
        return f"<StudentComparison of {', '.join(item.name for item in self.variants[self.teachers :])}>"

    def __str__(self) -> str:
        """Return the table for people."""
        return format_comparison(self.variants, self.metric, self.teachers)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per variant, subset and seed."""
        return tuple(
            {
                "name": item.name,
                "kind": "teacher" if index < self.teachers else "variant",
                "parameters": item.parameters,
                "available": subset,
                "seed": seed,
                self.metric: value,
            }
            for index, item in enumerate(self.variants)
            for subset, values in item.scores.items()
            for seed, value in enumerate(values)
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"compare": [asdict(item) for item in self.variants]}


@api
def compare(
    recipe: AnyPath | Mapping[str, Any],
    *,
    teachers: AnyPath | Sequence[AnyPath],
    output_dir: AnyPath,
    data: AnyPath | None = None,
    transfer: AnyPath | Sequence[AnyPath] = (),
    seeds: int = 3,
    split: SplitName = "valid",
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> StudentComparison:
    """Distill variants of a student recipe with several seeds, and compare each with the first variant.

    Runs that are up to date are reused. An interrupted comparison continues where it stopped.

    Args:
        recipe: TOML file or mapping. The table `student` has the settings that all variants share, and each table in
            `variants` those of one variant.
        teachers: One run or several, as in `distill`.
        output_dir: Folder of the runs, one per variant and seed.
        data: Feature file, as in `distill`.
        transfer: Transfer files, as in `distill`.
        seeds: Number of seeds per variant: 0, 1, ...
        split: Split to measure on: `"valid"` or `"test"`.
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace runs of other inputs or recipes in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch.

    Returns:
        The comparison, as a table with one row per variant, subset and seed.

    Raises:
        UsageError: An argument is invalid, or the recipe has no variants.

    Examples:
        >>> variants = {"labels": {"teacher_share": 0.0}, "teacher": {"teacher_share": 1.0}}
        >>> print(em.compare({"variants": variants}, teachers="teacher", output_dir="variants"))
    """
    require_single_process("compare")
    teacher_paths = paths_of(teachers, "teachers", "a run, or a list of runs")
    source, transfer_files = optional_source(data), sources_of(transfer, "transfer")
    check_count(seeds, "seeds", most=100)
    check_choice(split, "split", SplitName)
    tables = load_tables(recipe)
    inputs = [*teacher_paths, source, *transfer_files, recipe]
    folder = output_container(output_dir, "output_dir", inputs)
    variants = _variants(tables, "The recipe" if isinstance(recipe, Mapping) else str(recipe))
    context = start_hardware()
    setup = prepare_distillation(source, teacher_paths, transfer_files, task)
    common = tables.get("student", {})
    recipes = {
        name: student_recipe(merge_tables(common, item), setup.spec.data_source) for name, item in variants.items()
    }
    for chosen in recipes.values():
        check_teacher_weights(chosen, setup)
    outputs = {(name, seed): folder / f"{name}-seed{seed}" for name in recipes for seed in range(seeds)}
    declare_steps([(f"distill {name}, seed {seed}", output) for (name, seed), output in outputs.items()])
    if is_dry_run():
        for (name, seed), output in outputs.items():
            with independent_step():
                distill_on_setup(setup, recipes[name], output, seed=seed, context=context)
        declare_steps([(f"evaluate on {split}", None)])
        end_dry_run()
    results = [_compare(run.path.name, [run], _evaluate([run], setup, split), []) for run in setup.teachers]
    first: list[Evaluation] = []
    for name, chosen in recipes.items():
        runs = [
            distill_on_setup(setup, chosen, outputs[name, seed], seed=seed, context=context) for seed in range(seeds)
        ]
        evaluations = _evaluate(runs, setup, split)
        results.append(_compare(name, runs, evaluations, first))
        first = first or evaluations
    return StudentComparison(tuple(results), len(setup.teachers), _metric(setup.dataset.task))


def _variants(tables: Mapping[str, Any], recipe: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of the variants by name.

    Args:
        tables: Tables of the recipe.
        recipe: What error messages call it.

    Raises:
        UsageError: There are none, or a name cannot be the name of a folder.
    """
    variants: Mapping[str, Any] = tables.get("variants", {})
    if not variants or not all(isinstance(item, Mapping) for item in variants.values()):
        raise UsageError(f"{recipe} has no variants. Add tables such as [variants.labels] with teacher_share = 0.")
    for name in variants:
        if Path(name).name != name or name.startswith("."):
            raise UsageError(f"{recipe}: the variant {name!r} must be a folder name. Remove slashes and leading dots.")
    return variants


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
