"""Warn if a model does not beat a constant prediction on validation."""

from __future__ import annotations

import dataclasses

from edge_msa.artifacts.runs import Run
from edge_msa.console import print_note
from edge_msa.data.dataset import Dataset
from edge_msa.evaluation.baseline_check import baseline_warning, check_predictions
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.training.context import TrainingContext
from edge_msa.training.run_data import encode_texts_for_run


def find_baseline_warning(
    run: Run, dataset: Dataset, context: TrainingContext | None = None, *, labels: Dataset | None = None
) -> str | None:
    """Return a warning if a run does not beat a constant on the validation split, else None.

    Args:
        run: A finished run.
        dataset: Dataset with the run's inputs, not normalized.
        context: Hardware that predicts (default: the CPU).
        labels: Dataset whose training labels have the median (default: `dataset`).
    """
    result = check_predictions(dataset, "valid", run_predictor(run, context), labels=labels)
    return baseline_warning(str(run.path), "valid", *result) if result else None


def warn_if_no_better_than_constant(run: Run, dataset: Dataset, context: TrainingContext) -> None:
    """Print a warning if a run does not beat a constant on the validation split.

    Args:
        run: A finished run.
        dataset: Its training data, not normalized.
        context: Hardware that predicts.
    """
    valid = encode_texts_for_run(run, dataclasses.replace(dataset, splits={"valid": dataset.split("valid")}))
    warning = find_baseline_warning(run, run.spec.select_inputs(valid), context, labels=dataset)
    if warning:
        print_note(warning)
