"""The baselines beside which the README of a bundle states the accuracy."""

from __future__ import annotations

from edge_msa.data.dataset import Dataset
from edge_msa.evaluation.baseline_check import checked_metrics, known_constants
from edge_msa.evaluation.metrics import describe, measure_constants
from edge_msa.evaluation.subsets import available_subsets
from edge_msa_export.provenance import Validation, ValidationMetric


def measure_baselines(dataset: Dataset) -> Validation | None:
    """Return the baselines on the samples of the validation split with the largest subset of modalities.

    Returns:
        None if no sample has a valid frame.
    """
    split, task = dataset.split("valid"), dataset.task
    subsets = list(available_subsets(split))
    if not subsets:
        return None
    subset, rows = max(subsets, key=lambda item: len(item[0].modalities))
    part = split.select(rows)
    baselines = measure_constants(task, known_constants(dataset, part), part.labels)
    metrics = tuple(
        ValidationMetric(
            key,
            describe(key).title,
            describe(key).percent,
            {name: metrics[key] for name, metrics in baselines.items()},
        )
        for key in checked_metrics(task)
    )
    return Validation(subset.value, len(rows), metrics)
