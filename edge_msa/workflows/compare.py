"""`edge-msa compare`: students that differ in one thing, several seeds each, and what each thing is baseline check."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_msa.artifacts.runs import Run
from edge_msa.config.recipes import merged, read_recipe, student_recipe
from edge_msa.console import print_json, print_result, shows_progress
from edge_msa.data.dataset import SplitName
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.evaluation.evaluate import Source, evaluate
from edge_msa.evaluation.metrics import gate_metric
from edge_msa.evaluation.predictors import by_run
from edge_msa.text_tables import ABSENT, text_table
from edge_msa.training.context import Hardware
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.distill import check_weights, student_run
from edge_msa_runtime.modalities import Subset

MISSING = "missing"


@dataclass(frozen=True)
class Measured:
    """One variant: `scores` by what was read (a subset's value, or `missing` for the mean of the incomplete ones).

    A number a seed, in the metric's own unit; `parameters` of the student.
    """

    name: str
    parameters: int
    scores: Mapping[str, tuple[float, ...]]


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
) -> tuple[Measured, ...]:
    """Distill every variant of a recipe with every seed, and print them beside the first one and the teachers.

    Args:
        recipe: TOML; `student` is what all have in common, each table of `variants` what one of them has instead.
        teachers: as `distill` takes them.
        output_dir: a run each variant and seed; one that is there already is not made again.
        data: as `distill` takes it.
        transfer: likewise.
        seeds: trainings a variant, seeds 0, 1, ...
        split: what to measure on.
        task: of the data.
        json: whether a line of JSON ends it.

    Raises:
        UsageError: the recipe has no variants, or one that is no table.
    """
    require_single_process("compare")
    tables = read_recipe(recipe)
    variants = tables.get("variants", {})
    if not variants or not all(isinstance(item, Mapping) for item in variants.values()):
        raise UsageError(f"{recipe} has no variants: give tables, as [variants.labels] with from_teacher = 0 below it")
    for name in variants:
        if Path(name).name != name or name.startswith("."):
            raise UsageError(f"{recipe}: the variant {name!r} cannot be a folder's name: leave out slashes and dots")
    context = Hardware().start(progress=shows_progress())
    setup = prepare_distillation(data, teachers, transfer, task)
    common = tables.get("student", {})
    recipes = {name: student_recipe(merged(common, item), setup.spec.data_source) for name, item in variants.items()}
    for chosen in recipes.values():
        check_weights(chosen, setup)
    measured = [_measured(run.path.name, [run], setup, split) for run in setup.runs]
    for name, chosen in recipes.items():
        runs = [
            student_run(setup, chosen, output_dir / f"{name}-seed{seed}", seed=seed, context=context)
            for seed in range(seeds)
        ]
        measured.append(_measured(name, runs, setup, split))
    print_result(format_comparison(measured, _metric(setup.dataset.task), len(setup.runs)))
    if json:
        print_json({"compare": [asdict(item) for item in measured]})
    return tuple(measured)


def format_comparison(measured: Sequence[Measured], metric: str, teachers: int) -> str:
    """A row a variant: mean and standard deviation over seeds, and the paired difference from the first variant."""
    columns = [name for name in (Subset.LAV.value, MISSING) if any(name in item.scores for item in measured)]
    header = ["", "parameters", *(f"{metric} {column}{end}" for column in columns for end in ("", " - first"))]
    rows = []
    for place, item in enumerate(measured):
        row = [item.name, f"{item.parameters:,}"]
        for column in columns:
            own, first = (one.scores.get(column, ()) for one in (item, measured[teachers]))
            row.append(_spread(own, ".4f"))
            row.append("" if place <= teachers else _spread([a - b for a, b in zip(own, first, strict=True)], "+.4f"))
        rows.append(row)
    return text_table(header, rows)


def _measured(name: str, runs: Sequence[Run], setup: DistillationSetup, split: SplitName) -> Measured:
    scores: dict[str, list[float]] = {}
    metric = _metric(setup.dataset.task)
    for run in runs:
        readable = run.spec.select_inputs(setup.shown_to(run))
        found, _ = evaluate(by_run(run), readable, split, Source(name, "run"), draws=0)
        for subset, values in found.by_subset.items():
            scores.setdefault(subset, []).append(values[metric])
        if found.missing_average:
            scores.setdefault(MISSING, []).append(found.missing_average[metric])
    parameters = sum(value.size for value in runs[0].weights.values())
    return Measured(name, parameters, {column: tuple(values) for column, values in scores.items()})


def _metric(task: Task) -> str:
    return "mae" if task.is_score else gate_metric(task)


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return ABSENT
    mean = format(statistics.mean(values), form)
    return f"{mean} ± {statistics.stdev(values):.4f}" if len(values) > 1 else mean
