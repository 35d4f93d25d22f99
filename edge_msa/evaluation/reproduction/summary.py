"""Summarize the test predictions of all trainings: metrics over seeds, baselines, differences and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_msa.data.dataset import SPLITS, Dataset, Split
from edge_msa.data.tasks import TaskKind
from edge_msa.evaluation.metrics import (
    baseline_constants,
    constant_predictions,
    measure,
    metric_functions,
    missing_average,
)
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.evaluation.reproduction.conditions import Condition, all_conditions, plain_conditions
from edge_msa.evaluation.reproduction.published import AVERAGE, ModelName, PaperName
from edge_msa.evaluation.reproduction.record import Difference, Metrics, Reproduction, SeedSummary, VariantResult
from edge_msa.evaluation.reproduction.significance import (
    SeedPredictions,
    compare_with_baselines,
    compare_with_variant,
    estimate_conditions,
)
from edge_msa.evaluation.reproduction.variants import FULL, Variant
from edge_msa_runtime.modalities import MODALITIES, Subset

HEADLINE: dict[TaskKind, str] = {
    "mosi": "f1_non0",
    "sims": "f1",
    "emotions": "f1_average",
    "classes": "weighted_f1",
    "regression": "corr",
}
"""The metric of the papers' tables, or the closest one."""


@dataclass(frozen=True)
class TrainedVariant:
    """The trainings of a variant."""

    variant: Variant
    """The variant."""
    runs: tuple[str, ...]
    """Names of the run folders, one per seed."""
    predictions: SeedPredictions
    """Test predictions, one per seed."""


@dataclass(frozen=True)
class ReproductionConfig:
    """What to reproduce. `Reproduction` has fields of the same names."""

    model: ModelName
    """The method."""
    paper: PaperName
    """The corpus whose published table is shown, or `none`."""
    recipe: Mapping[str, Any]
    """Recipe of the full method."""
    seeds: tuple[int, ...]
    """Seeds of the trainings."""
    noise: bool
    """Whether to show noise."""
    notes: tuple[str, ...] = ()
    """Notes about the data."""


def variant_conditions(variant: Variant, split: Split) -> tuple[Condition, ...]:
    """Return the conditions of a variant: all for the full method, the plain subsets for an ablation."""
    return all_conditions(split) if variant.name == FULL else plain_conditions(split)


def summarize(config: ReproductionConfig, dataset: Dataset, trained: Sequence[TrainedVariant]) -> Reproduction:
    """Return the result. The first item of `trained` is the full method."""
    split, task = dataset.split("test"), dataset.task
    plain = plain_conditions(split)
    labels = dataset.split("train").labels
    constants = baseline_constants(task, labels, split.labels)
    tested = tuple(name for name in (HEADLINE[task.kind], "mae") if name in metric_functions(task))
    full, *ablations = (
        (item.variant.name, estimate_conditions(task, split, plain, item.predictions, tested)) for item in trained
    )
    differences = list(compare_with_baselines(task, split, plain, full, constants))
    for other in ablations:
        differences += compare_with_variant(full, other)
    counts = {condition.subset: len(condition.rows(split)) for condition in plain}
    return Reproduction(
        model=config.model,
        paper=config.paper,
        dataset=dataset.name,
        digest=dataset.digest,
        task=task.option,
        recipe=config.recipe,
        seeds=config.seeds,
        samples={name: len(dataset.split(name)) for name in SPLITS},
        subsets=tuple(counts),
        counts=counts,
        headline=HEADLINE[task.kind],
        noise=config.noise,
        variants=tuple(_result(dataset, item) for item in trained),
        baselines={name: _measure_constant(dataset, constant) for name, constant in constants.items()},
        baseline_constants={name: tuple(float(number) for number in value) for name, value in constants.items()},
        differences=tuple(differences),
        notes=(*config.notes, *_notes(dataset, counts, differences)),
    )


def _result(dataset: Dataset, trained: TrainedVariant) -> VariantResult:
    split = dataset.split("test")
    conditions = variant_conditions(trained.variant, split)
    by_seed = [
        {
            condition.key: measure(dataset.task, split.labels[condition.rows(split)], predictions[condition.key])
            for condition in conditions
        }
        for predictions in trained.predictions
    ]
    averages = [
        missing_average({condition.key: metrics[condition.key] for condition in plain_conditions(split)})
        for metrics in by_seed
    ]
    return VariantResult(
        trained.variant.name,
        trained.variant.title,
        trained.variant.changes,
        trained.runs,
        {condition.key: _summarize_seeds([metrics[condition.key] for metrics in by_seed]) for condition in conditions},
        _summarize_seeds(averages),
    )


def _summarize_seeds(metrics: Sequence[Metrics]) -> dict[str, SeedSummary]:
    return {name: SeedSummary.from_values([by_name[name] for by_name in metrics]) for name in metrics[0]}


def _measure_constant(dataset: Dataset, constant: Any) -> dict[str, dict[str, float]]:
    """Return the metrics of a constant on the samples of each subset, and their average."""
    split = dataset.split("test")
    by_subset = {}
    for condition in plain_conditions(split):
        rows = condition.rows(split)
        predictions = constant_predictions(dataset.task, constant, len(rows))
        by_subset[condition.subset] = measure(dataset.task, split.labels[rows], predictions)
    average = missing_average(by_subset)
    return by_subset | ({AVERAGE: average} if average else {})


def _notes(dataset: Dataset, counts: Mapping[str, int], differences: Sequence[Difference]) -> Iterator[str]:
    yield "each training predicted the test split once; its epoch was chosen on validation"
    yield "the best constant was chosen with the test labels, so nobody could know it in advance"
    absent = [subset.value for subset in Subset if subset.value not in counts]
    if absent:
        incomplete = ", ".join(subset for subset in counts if subset != Subset.LAV.value)
        yield (
            f"the test split lacks a modality, so {', '.join(absent)} cannot be measured; the average is over "
            f"{incomplete}, not over the six subsets of the paper"
        )
    total = len(dataset.split("test"))
    for subset, count in counts.items():
        if count < total:
            yield f"{subset}: {total - count} of {total} test samples without a valid frame excluded"
    train_modalities = dataset.split("train").modalities
    for name in MODALITIES:
        if name[0] in counts and (name not in train_modalities or not train_modalities[name].valid.any()):
            yield f"{name}: the train split has no valid frame, so the model could not learn to use it"
    units = " and ".join(describe_unit(unit) for unit in dict.fromkeys(item.unit for item in differences))
    if any(item.covers_seeds for item in differences):
        significant = sum(item.is_significant for item in differences)
        yield (
            f"{len(differences)} differences were tested and {significant} intervals exclude 0. An interval covers the "
            f"choice of seeds and {units}. For equally good methods, about 1 of 20 excludes 0 by chance"
        )
    else:
        yield (
            f"with one seed, the intervals cover the choice of {units} only: they compare these trainings, not the "
            "methods; pass more --seeds"
        )
