"""Two precisions of one model side by side: what the lower one changes, subset by subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_msa.evaluation.evaluate import Evaluation, SubsetPredictions
from edge_msa.evaluation.metrics import describe, prediction_correlation
from edge_msa.text_tables import text_table


@dataclass(frozen=True)
class Agreement:
    """One subset. `metrics`: of the reference and of the other, by name. `correlation`: of their predictions."""

    subset: str
    metrics: dict[str, tuple[float, float]]
    correlation: float


@dataclass(frozen=True)
class Agreements:
    """All subsets, and the two precisions' names, the reference's first."""

    names: tuple[str, str]
    subsets: tuple[Agreement, ...]


def agreements(
    reference: Evaluation,
    reference_predictions: Sequence[SubsetPredictions],
    other: Evaluation,
    other_predictions: Sequence[SubsetPredictions],
) -> Agreements:
    """Compare two evaluations of the same split, and the predictions behind them."""
    gate = other.gate_metric
    names = [gate, "mae"] if all("mae" in metrics for metrics in other.by_subset.values()) else [gate]
    found = []
    for first, second in zip(reference_predictions, other_predictions, strict=True):
        subset = first.subset.value
        metrics = {name: (reference.by_subset[subset][name], other.by_subset[subset][name]) for name in names}
        found.append(Agreement(subset, metrics, prediction_correlation(first.scores, second.scores)))
    return Agreements((reference.source.precision, other.source.precision), tuple(found))


def format_agreement(found: Agreements) -> str:
    """A row a subset, the mean over them, and the largest difference."""
    first, second = found.names
    names = list(found.subsets[0].metrics)
    header = ["available"]
    for name in names:
        title = describe(name).title
        header += [f"{title} {first}", f"{title} {second}", "difference"]
    rows = [
        [
            item.subset,
            *(cell for name in names for cell in _cells(name, *item.metrics[name])),
            f"{item.correlation:.5f}",
        ]
        for item in found.subsets
    ]
    apart = {name: [abs(item.metrics[name][1] - item.metrics[name][0]) for item in found.subsets] for name in names}
    told = (
        f"{describe(name).title} by {describe(name).format(float(np.mean(values)))} on the average and "
        f"{describe(name).format(max(values))} at most"
        for name, values in apart.items()
    )
    least = min(item.correlation for item in found.subsets)
    closing = f"{second} differs from {first} in {', in '.join(told)}; predictions correlate by at least {least:.5f}"
    return "\n".join([text_table([*header, "correlation of predictions"], rows), "", closing])


def _cells(name: str, first: float, second: float) -> list[str]:
    what = describe(name)
    gap = what.format(abs(second - first))
    return [what.format(first), what.format(second), f"-{gap}" if second < first else f"+{gap}"]
