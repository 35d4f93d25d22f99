"""Warn if a model does not beat a constant prediction on validation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edge_msa.artifacts.runs import Run
from edge_msa.console import print_note
from edge_msa.data.dataset import Dataset
from edge_msa.evaluation.baseline_check import (
    baseline_warning,
    check_predictions,
    count_units,
    is_ahead,
    needs_more_samples,
    too_few_warning,
    unproven_note,
)
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.training.context import TrainingContext
from edge_msa.training.run_data import encode_texts_for_run


@dataclass(frozen=True)
class ConstantCheck:
    """Whether a run beats a constant on the validation split."""

    warning: str | None
    """A warning if it does not, or if this cannot be decided, else None."""
    note: str | None = None
    """A note about a metric in which it is not shown to be better, else None."""
    samples_to_add: str | None = None
    """What to add to the split if it is too small to decide, else None."""
    lacks_only_samples: bool = False
    """Whether there are too few samples to compare, or the run is better in every metric and only that is not shown."""


def check_against_constants(
    run: Run, dataset: Dataset, context: TrainingContext | None = None, *, labels: Dataset | None = None
) -> ConstantCheck:
    """Return whether a run beats a constant on the validation split.

    Args:
        run: A finished run.
        dataset: Dataset with the run's inputs, not normalized.
        context: Hardware that predicts (default: the CPU).
        labels: Dataset whose training labels have the median (default: `dataset`).
    """
    name, result = str(run.path), check_predictions(dataset, "valid", run_predictor(run, context), labels=labels)
    valid = dataset.split("valid")
    if result is None:
        missing = needs_more_samples(valid, None)
        warning = too_few_warning(name, "valid", *count_units(valid))
        return ConstantCheck(warning, samples_to_add=missing, lacks_only_samples=True)
    return ConstantCheck(
        baseline_warning(name, "valid", *result),
        unproven_note(name, "valid", *result),
        needs_more_samples(valid, result[1]),
        is_ahead(result[1]),
    )


def warn_if_no_better_than_constant(run: Run, dataset: Dataset, context: TrainingContext) -> None:
    """Print a warning if a run does not beat a constant on the validation split.

    Args:
        run: A finished run.
        dataset: Its training data, not normalized.
        context: Hardware that predicts.
    """
    valid = encode_texts_for_run(run, dataclasses.replace(dataset, splits={"valid": dataset.split("valid")}))
    if warning := check_against_constants(run, run.spec.select_inputs(valid), context, labels=dataset).warning:
        print_note(warning)
