"""`edge-msa compare`: distill variants of a student with several seeds and compare them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_msa.artifacts.runs import Run
from edge_msa.config.recipes import load_recipe_file, student_recipe
from edge_msa.config.section import merge_tables
from edge_msa.console import print_json, print_result, shows_progress
from edge_msa.data.dataset import SplitName
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.evaluation.evaluate import Source, evaluate
from edge_msa.evaluation.metrics import describe, gate_metric
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.text_tables import ABSENT, text_table
from edge_msa.training.context import Hardware
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.distill import check_teacher_weights, distill_on_setup
from edge_msa_runtime.modalities import Subset

MISSING = "missing_average"
"""The key of the mean over all incomplete subsets, among the names of subsets."""


@dataclass(frozen=True)
class ComparedVariant:
    """The metric of one variant, or of one teacher."""

    name: str
    parameters: int
    """Number of parameters of the network."""
    scores: Mapping[str, tuple[float, ...]]
    """The metric in its own unit, one value per seed, by subset or `MISSING`."""


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
    context = Hardware().start(progress=shows_progress())
    setup = prepare_distillation(data, teachers, transfer, task)
    common = tables.get("student", {})
    recipes = {
        name: student_recipe(merge_tables(common, item), setup.spec.data_source) for name, item in variants.items()
    }
    for chosen in recipes.values():
        check_teacher_weights(chosen, setup)
    results = [_evaluate(run.path.name, [run], setup, split) for run in setup.teachers]
    for name, chosen in recipes.items():
        runs = [
            distill_on_setup(setup, chosen, output_dir / f"{name}-seed{seed}", seed=seed, context=context)
            for seed in range(seeds)
        ]
        results.append(_evaluate(name, runs, setup, split))
    print_result(format_comparison(results, _metric(setup.dataset.task), len(setup.teachers)))
    if json:
        print_json({"compare": [asdict(item) for item in results]})
    return tuple(results)


def format_comparison(results: Sequence[ComparedVariant], metric: str, teachers: int) -> str:
    """Return a table of means and standard deviations over seeds, and paired differences from the first variant.

    Args:
        results: Results of the teachers, then of the variants.
        metric: Name of the metric.
        teachers: Number of teachers.
    """
    columns = [name for name in (Subset.LAV.value, MISSING) if any(name in item.scores for item in results)]
    title = describe(metric).title
    header = [
        "",
        "parameters",
        *(f"{title} {column.replace('_', '-')}{end}" for column in columns for end in ("", " - first")),
    ]
    rows = []
    for index, item in enumerate(results):
        row = [item.name, f"{item.parameters:,}"]
        for column in columns:
            scores, first = (one.scores.get(column, ()) for one in (item, results[teachers]))
            row.append(_format_mean(scores, ".4f"))
            differences = [] if index <= teachers else [a - b for a, b in zip(scores, first, strict=True)]
            row.append("" if index <= teachers else _format_mean(differences, "+.4f"))
        rows.append(row)
    return text_table(header, rows)


def _evaluate(name: str, runs: Sequence[Run], setup: DistillationSetup, split: SplitName) -> ComparedVariant:
    """Evaluate the runs of one variant, one per seed."""
    scores: dict[str, list[float]] = {}
    metric = _metric(setup.dataset.task)
    for run in runs:
        dataset = run.spec.select_inputs(setup.dataset_for(run))
        evaluation, _ = evaluate(run_predictor(run), dataset, split, Source(name, "run"), resamples=0)
        for subset, values in evaluation.by_subset.items():
            scores.setdefault(subset, []).append(values[metric])
        if evaluation.missing_average:
            scores.setdefault(MISSING, []).append(evaluation.missing_average[metric])
    parameters = sum(value.size for value in runs[0].weights.values())
    return ComparedVariant(name, parameters, {column: tuple(values) for column, values in scores.items()})


def _metric(task: Task) -> str:
    return "mae" if task.is_score else gate_metric(task)


def _format_mean(values: Sequence[float], form: str) -> str:
    """Format the mean and, for several values, the standard deviation."""
    if not values:
        return ABSENT
    mean = format(statistics.mean(values), form)
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean
