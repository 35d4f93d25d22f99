"""Removal in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.reporting.explain.plots import Line
from edge_msa.reporting.explain.removal import Predictions, Removal, nothing_left, without
from edge_msa.reporting.explain.samples import Rows, present
from edge_msa.reporting.templates import Table
from edge_msa.text_tables import ABSENT
from edge_msa_runtime.modalities import MODALITIES, Subset

NOTHING = "°"


def sentences(removals: Sequence[Removal], split: Split, task: Task) -> Iterator[str]:
    """What each removal does, the largest first; then what the split lacks."""
    of = "a prediction moves" if task.is_score else "a probability moves"
    for item in sorted(removals, key=lambda removal: -removal.change.value):
        text = f"Without {item.modality} {of} by {item.change.value:.{2 if task.is_score else 3}f} on average"
        if item.worse is not None:
            low, high = item.worse.low, item.worse.high
            text += f"; its mean distance from the label goes from {item.error:.3f} to {item.error_without:.3f}"
            text += f", by {_difference(item.worse.value)} (95 % interval {_difference(low)} to {_difference(high)}"
            text += ", over samples: too few videos" if item.worse.unit == "samples" else ""
            text += "), which this split cannot tell from no change" if low <= 0 <= high else ")"
        yield f"{text}."
    lacking = [name for name in MODALITIES if not present(split, name).any()]
    if lacking:
        yield f"The split has no {' and no '.join(lacking)}."


def removal_table(removals: Sequence[Removal], task: Task) -> Table:
    """The whole split, one removed modality a row."""
    error = "MAE" if task.is_score else "mean |label - probability|"
    header = ("removed", "samples that have it", "mean |change|", f"{error} with", "without", "difference", "95 %")
    rows = []
    for item in removals:
        row = [item.modality, str(item.samples), f"{item.change.value:.3f}"]
        if item.worse is None or item.error is None or item.error_without is None:
            row += [ABSENT] * 4
        else:
            row += [f"{item.error:.3f}", f"{item.error_without:.3f}", _difference(item.worse.value)]
            row.append(f"{_difference(item.worse.low)} to {_difference(item.worse.high)}")
        rows.append(row)
    units = {item.change.unit for item in removals}
    unit = "videos" if units == {"groups"} else "samples, for there are too few videos"
    return Table(header, rows, notes=[f"95 % intervals of the difference: bootstrap over {unit}."])


def samples_table(split: Split, rows: Rows, predictions: Predictions, task: Task) -> Table:
    """The shown samples: label, and the prediction of everything, without each modality, and of each alone."""
    names = [name for name in MODALITIES if present(split, name).any()]
    header = ["sample", *([] if task.is_score else ["emotion"]), "label", "all"]
    header += [f"without {name}" for name in names] + [f"{name} alone" for name in names]
    subsets = [Subset.LAV, *(without(name) for name in names), *(Subset.of([name]) for name in names)]
    of_column = [None, *names, *names]
    empty = {subset: nothing_left(split, subset) for subset in subsets}
    lines = []
    for row in rows:
        for column, emotion in enumerate(task.labels if not task.is_score else ("",)):
            cells = [split.ids[row], *([emotion] if emotion else []), _number(_label(split, row, column), task)]
            for subset, name in zip(subsets, of_column, strict=True):
                value = _number(float(predictions[subset][row, column]), task)
                lacks = name is not None and not present(split, name)[row]
                cells.append("lacks it" if lacks else value + NOTHING * bool(empty[subset][row]))
            lines.append(cells)
    marked = any(cell.endswith(NOTHING) for line in lines for cell in line)
    notes = [f"{NOTHING} nothing is left: what the model says having seen nothing."] if marked else []
    return Table(header, lines, left=1 if task.is_score else 2, notes=notes)


def picture_lines(split: Split, rows: Rows, predictions: Predictions, task: Task) -> list[Line]:
    """The same for the picture: everything, and without each modality that the sample has."""
    lines = []
    for row in rows:
        for column, emotion in enumerate(task.labels if not task.is_score else ("",)):
            found = {"all": float(predictions[Subset.LAV][row, column])}
            for name in MODALITIES:
                if present(split, name)[row]:
                    found[f"without {name}"] = float(predictions[without(name)][row, column])
            label = _label(split, row, column)
            name = f"{short(split.ids[row])}{f', {emotion}' if emotion else ''}"
            lines.append(Line(name, label if np.isfinite(label) else None, found))
    return lines


def unit_of(task: Task) -> str:
    """What an axis of predictions is called."""
    if not task.is_score:
        return "probability (0 to 1)"
    return "prediction (score)" if task.low is None else f"prediction (score, {task.low:g} to {task.high:g})"


def short(name: str, most: int = 28) -> str:
    """A long id without its middle."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-(most // 2 - 1) :]}"


def shown_number(value: float, task: Task) -> str:
    """A prediction or a label as the page prints it."""
    return _number(value, task)


def _difference(value: float) -> str:
    """Signed, and a zero after rounding without a sign that means nothing."""
    told = f"{value:+.3f}"
    return "0.000" if told[1:] == "0.000" else told


def _label(split: Split, row: int, column: int) -> float:
    return float(np.ravel(split.labels[row])[column])


def _number(value: float, task: Task) -> str:
    if not np.isfinite(value):
        return ABSENT
    return f"{value:+.2f}" if task.is_score and task.low is not None else f"{value:.2f}"
