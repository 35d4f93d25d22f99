"""Choose the column of a table that has the labels of a task.

A table can have several: MELD states the emotion and the sentiment of an utterance as text, MMSA's corpora a score and
its annotation as text. Scores are in the first column of `edge_msa_runtime.inputs.transcripts.SCORE`. Classes are in
the column whose cells are the names that the task states; without names, in the only column of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_msa.data.classes import has_text_labels, is_name, is_unlabeled
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import NAMES_HINT, Task
from edge_msa.errors import UsageError
from edge_msa_runtime.inputs.frames import RawSplit
from edge_msa_runtime.inputs.transcripts import SCORE

_SHOWN = 20


def choose_label_column(columns: Mapping[str, Sequence[str]], options: LoadOptions, source: object) -> str | None:
    """Return the column with the labels, or None if no column has labels.

    Args:
        columns: The cells of each column of labels, of all splits.
        options: What the caller wants.
        source: Name of the file, for messages.

    Raises:
        UsageError: Several columns may have the classes.
    """
    score = next((name for name in SCORE if name in columns), None)
    texts = {name: sorted(set(filter(is_name, cells))) for name, cells in columns.items() if is_text_column(cells)}
    if options.task is not None and options.task.kind != "classes":
        return score
    if options.task is not None and options.task.labels:
        return _find_named(columns, texts, options.task, source)
    if options.task is None and (score is not None and score not in texts and _known(columns[score])):
        return score
    if len(texts) < 2:
        return next(iter(texts), score)
    choices = "; ".join(
        f"--task {Task('classes', tuple(names)).option} for {column}"
        for column, names in texts.items()
        if 1 < len(names) <= _SHOWN
    )
    raise UsageError(
        f"{source} has labels in {len(texts)} columns, {', '.join(texts)}. Pass the names of one: "
        f"{choices or '--task ' + NAMES_HINT}."
    )


def _find_named(
    columns: Mapping[str, Sequence[str]], texts: Mapping[str, Sequence[str]], task: Task, source: object
) -> str | None:
    """Return the column whose cells are names of classes, or else the only one that can have them."""
    fitting = [name for name, cells in columns.items() if _known(cells) and _known(cells) <= task.text_labels.keys()]
    candidates = fitting or list(texts) or [name for name, cells in columns.items() if _known(cells)]
    if len(candidates) > 1 and fitting:
        raise UsageError(
            f"{source} has the classes {', '.join(task.labels)} in {len(candidates)} columns, {', '.join(candidates)}. "
            "Remove or rename all but one."
        )
    if len(candidates) > 1:
        others = {name: min(_known(columns[name]) - task.text_labels.keys()) for name in candidates}
        found = "; ".join(f"{name} has {other!r}" for name, other in others.items())
        raise UsageError(
            f"No column of {source} has only the classes {', '.join(task.labels)}: {found}. Name all classes of one "
            f"column: --task {NAMES_HINT}."
        )
    return candidates[0] if candidates else None


def _known(cells: Sequence[str]) -> set[str]:
    return {cell for cell in cells if not is_unlabeled(cell)}


def is_text_column(cells: Sequence[str]) -> bool:
    """Return whether most cells that are not missing have text, not numbers."""
    return has_text_labels([RawSplit((), np.array(cells, object), {})])
