"""Compare two precisions of one model, subset by subset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edge_msa.evaluation.metrics import (
    Comparison,
    describe,
)
from edge_msa.evaluation.metrics.units import describe_unit
from edge_msa.text_tables import text_table


@dataclass(frozen=True)
class SubsetAgreement:
    """Comparison on one subset."""

    subset: str
    """The subset's value."""
    metrics: dict[str, tuple[float, float]]
    """By metric: the values of the reference and of the other precision."""
    differences: Mapping[str, Comparison]
    """By metric: the other precision minus the reference, with an interval over videos."""
    correlation: float
    """Correlation of their predictions."""


@dataclass(frozen=True)
class Agreement:
    """Comparison on all subsets."""

    precisions: tuple[str, str]
    """The reference and the other precision."""
    subsets: tuple[SubsetAgreement, ...]
    """One per evaluated subset."""


def format_agreement(agreement: Agreement) -> str:
    """Return a table with one row per subset, and a sentence with the mean and the largest difference."""
    first, second = agreement.precisions
    names = list(agreement.subsets[0].metrics)
    header = ["available"]
    for name in names:
        title = describe(name).title
        header += [f"{title} {first}", f"{title} {second}", "difference (95 % interval)"]
    rows = [
        [
            item.subset,
            *(cell for name in names for cell in _cells(name, item)),
            f"{item.correlation:.5f}",
        ]
        for item in agreement.subsets
    ]
    differences = {
        name: [abs(item.metrics[name][1] - item.metrics[name][0]) for item in agreement.subsets] for name in names
    }
    parts = (
        f"{describe(name).title} by {describe(name).format(float(np.mean(values)))} on average "
        f"(at most {describe(name).format(max(values))})"
        for name, values in differences.items()
    )
    lowest = min(item.correlation for item in agreement.subsets)
    sentence = (
        f"{second} differs from {first} in {', in '.join(parts)}. The predictions correlate by at least {lowest:.5f}."
    )
    return "\n".join([text_table([*header, "correlation of predictions"], rows), "", sentence, *_conclusion(agreement)])


def _conclusion(agreement: Agreement) -> Iterator[str]:
    """Yield what the intervals say about the two precisions of this model."""
    differences = [(item, name, result) for item in agreement.subsets for name, result in item.differences.items()]
    if not differences:
        return
    found = [
        f"{describe(name).title} on {item.subset}" for item, name, result in differences if not result.includes_zero
    ]
    unit = describe_unit(differences[0][2].unit)
    text = f"The intervals compare these two precisions of one model. They cover the choice of {unit}."
    verdict = f"{len(found)} of {len(differences)} exclude 0: {', '.join(found)}" if found else "None excludes 0"
    yield f"{text} {verdict}."


def _cells(name: str, item: SubsetAgreement) -> list[str]:
    metric = describe(name)
    first, second = item.metrics[name]
    difference = metric.format_signed(second - first)
    if name in item.differences:
        difference += f" ({metric.format_interval(item.differences[name].low, item.differences[name].high)})"
    return [metric.format(first), metric.format(second), difference]
