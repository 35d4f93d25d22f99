"""From predictions of every training to the record: metrics over seeds, baselines, differences, what a reader must know."""

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
    metrics_of,
    missing_average,
)
from edge_msa.evaluation.metrics.bootstrap import DRAWS
from edge_msa.evaluation.reproduction.conditions import Condition, all_conditions, plain_conditions, rows_of
from edge_msa.evaluation.reproduction.published import AVERAGE, ModelName, PaperName
from edge_msa.evaluation.reproduction.record import Difference, Metrics, OverSeeds, Reproduction, VariantResult
from edge_msa.evaluation.reproduction.significance import SeedPredictions, against_baseline, against_variant
from edge_msa.evaluation.reproduction.variants import FULL, Variant
from edge_msa_runtime.modalities import MODALITIES, Subset

HEADLINE: dict[TaskKind, str] = {"mosi": "f1_non0", "sims": "f1", "emotions": "f1_average", "regression": "corr"}
"""What the papers' tables are in, or closest to it."""


@dataclass(frozen=True)
class Trained:
    """A variant's trainings: the names of its runs, and the test predictions of each, in the order of the seeds."""

    variant: Variant
    runs: tuple[str, ...]
    predictions: SeedPredictions


@dataclass(frozen=True)
class Asked:
    """What was asked for: see the fields of `Reproduction`."""

    model: ModelName
    paper: PaperName
    recipe: Mapping[str, Any]
    seeds: tuple[int, ...]
    noise: bool
    notes: tuple[str, ...] = ()


def conditions_of(variant: Variant, split: Split) -> tuple[Condition, ...]:
    """What a variant is asked on test: everything of the method itself, the plain subsets of an ablation."""
    return all_conditions(split) if variant.name == FULL else plain_conditions(split)


def summarize(asked: Asked, dataset: Dataset, trained: Sequence[Trained], *, draws: int = DRAWS) -> Reproduction:
    """The record; `trained` begins with the method itself, `draws` are of the bootstrap."""
    split, task = dataset.split("test"), dataset.task
    plain = plain_conditions(split)
    labels = dataset.split("train").labels
    constants = baseline_constants(task, labels, split.labels)
    tested = tuple(name for name in (HEADLINE[task.kind], "mae") if name in metrics_of(task))
    whole = (FULL, trained[0].predictions)
    found = list(against_baseline(task, split, plain, whole, constants, tested, draws=draws))
    for other in trained[1:]:
        found += against_variant(
            task, split, plain, whole, (other.variant.name, other.predictions), tested, draws=draws
        )
    counts = {condition.subset: len(rows_of(split, condition.subset)) for condition in plain}
    return Reproduction(
        model=asked.model,
        paper=asked.paper,
        dataset=dataset.name,
        digest=dataset.digest,
        task=task.kind,
        recipe=asked.recipe,
        seeds=asked.seeds,
        samples={name: len(dataset.split(name)) for name in SPLITS},
        subsets=tuple(counts),
        counts=counts,
        headline=HEADLINE[task.kind],
        noise=asked.noise,
        variants=tuple(_result(dataset, item) for item in trained),
        baselines={name: _baseline(dataset, constant_of) for name, constant_of in constants.items()},
        baseline_constants={name: tuple(float(number) for number in value) for name, value in constants.items()},
        differences=tuple(difference for difference, _ in found),
        interval_unit=found[0][1],
        notes=(*asked.notes, *_notes(dataset, counts, [difference for difference, _ in found], len(asked.seeds))),
    )


def _result(dataset: Dataset, trained: Trained) -> VariantResult:
    split = dataset.split("test")
    conditions = conditions_of(trained.variant, split)
    by_seed = [
        {
            condition.key: measure(
                dataset.task, split.labels[rows_of(split, condition.subset)], predictions[condition.key]
            )
            for condition in conditions
        }
        for predictions in trained.predictions
    ]
    averages = [
        missing_average({condition.key: one[condition.key] for condition in plain_conditions(split)}) for one in by_seed
    ]
    return VariantResult(
        trained.variant.name,
        trained.variant.title,
        trained.variant.changes,
        trained.runs,
        {condition.key: _over_seeds([one[condition.key] for one in by_seed]) for condition in conditions},
        _over_seeds(averages),
    )


def _over_seeds(metrics: Sequence[Metrics]) -> dict[str, OverSeeds]:
    return {name: OverSeeds.of([one[name] for one in metrics]) for name in metrics[0]}


def _baseline(dataset: Dataset, constant: Any) -> dict[str, dict[str, float]]:
    """The constant's metrics on the samples of each subset, and their average."""
    split = dataset.split("test")
    found = {}
    for condition in plain_conditions(split):
        rows = rows_of(split, condition.subset)
        predictions = constant_predictions(dataset.task, constant, len(rows))
        found[condition.subset] = measure(dataset.task, split.labels[rows], predictions)
    average = missing_average(found)
    return found | ({AVERAGE: average} if average else {})


def _notes(dataset: Dataset, counts: Mapping[str, int], differences: Sequence[Difference], seeds: int) -> Iterator[str]:
    yield "test was read once by every training, whose epoch was chosen on validation"
    yield "the best constant is chosen with this test split's own labels: a baseline, which nobody could have known"
    absent = [subset.value for subset in Subset if subset.value not in counts]
    if absent:
        incomplete = ", ".join(subset for subset in counts if subset != Subset.LAV.value)
        yield (
            f"the test split lacks a modality, so {', '.join(absent)} cannot be measured; our average is over "
            f"{incomplete} and is not the paper's average of six"
        )
    total = len(dataset.split("test"))
    for subset, count in counts.items():
        if count < total:
            yield f"{subset}: {total - count} of {total} test samples have no valid frame of it and are left out there"
    learned = dataset.split("train").modalities
    for name in MODALITIES:
        if name[0] in counts and (name not in learned or not learned[name].valid.any()):
            yield f"{name}: the training split has no frame of it, so what is read from it was never learned"
    told_apart = sum(not item.holds_zero for item in differences)
    yield (
        f"{len(differences)} differences were tested, {told_apart} are told apart; at 95 % about one in twenty would "
        "be by chance alone"
    )
    if seeds == 1:
        yield "one training of each: what differs may be the seed's doing and not the method's; give more --seeds"
