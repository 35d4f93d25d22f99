"""Tables of an evaluation of classes: metrics of each class, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_msa.evaluation.baseline_check import complete_subset
from edge_msa.evaluation.metrics import describe
from edge_msa.text_tables import text_table

Confusion = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Number of samples by subset, class of the label and predicted class."""

_PER_CLASS = ("precision", "recall", "f1")


def is_per_class(metric: str, confusion: Confusion) -> bool:
    """Return whether a metric is that of one class. There are no classes without a confusion matrix."""
    classes = next(iter(confusion.values()), {})
    return metric in {f"{key}_{label}" for key in _PER_CLASS for label in classes}


def class_rows(metrics: Mapping[str, float], counts: Mapping[str, Mapping[str, int]]) -> Iterator[list[str]]:
    """Yield the cells of each class: its name, its metrics, its samples, and how often each class was predicted."""
    for label, predicted in counts.items():
        values = (describe(f"{key}_{label}").format(metrics[f"{key}_{label}"]) for key in _PER_CLASS)
        yield [label, *values, str(sum(predicted.values())), *map(str, predicted.values())]


def class_header(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return the header of the table of `class_rows`."""
    return ["class", "precision", "recall", "F1", "samples", *(f"-> {label}" for label in counts)]


def format_classes(by_subset: Mapping[str, Mapping[str, float]], confusion: Confusion) -> Iterator[str]:
    """Yield the table of classes for the subset with the most modalities; nothing for other tasks."""
    if not confusion:
        return
    subset = complete_subset(by_subset)
    counts = confusion[subset]
    yield f"\nClasses from {subset}, and the number of samples of each that were predicted as each class:\n"
    yield text_table(class_header(counts), list(class_rows(by_subset[subset], counts)))
