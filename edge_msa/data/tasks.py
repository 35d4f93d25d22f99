"""What a dataset's labels mean, and which family of metrics they are measured by.

The task belongs to the dataset; a command may override it by name, and nothing is guessed in silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from edge_msa.errors import UsageError

TaskKind = Literal["mosi", "sims", "regression", "emotions"]


@dataclass(frozen=True)
class Task:
    """A label's meaning.

    `kind` selects the metric family (reference: MMSA's metrics). Score kinds have one float label a sample within
    [low, high] (None: unbounded); `emotions` has a 0/1 label for each of `labels`, shape (N, len(labels)).
    `labels` and `edges` name ranges of the score: labels[i] is that of
    edges[i-1] <= score < edges[i].
    """

    kind: TaskKind
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def outputs(self) -> int:
        """Numbers that a model gives for one sample: 1 score, or a logit an emotion."""
        return len(self.labels) if self.kind == "emotions" else 1

    @property
    def is_score(self) -> bool:
        """Whether labels are scores rather than emotions."""
        return self.kind != "emotions"


MOSI = Task("mosi", ("negative", "neutral", "positive"), (-0.5, 0.5), -3.0, 3.0)
SIMS = Task("sims", ("negative", "neutral", "positive"), (-0.1, 0.1), -1.0, 1.0)
REGRESSION = Task("regression")
EMOTIONS = Task("emotions", ("neutral", "happy", "sad", "angry"))

TASKS: dict[str, Task] = {"mosi": MOSI, "sims": SIMS, "regression": REGRESSION, "emotions": EMOTIONS}


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        UsageError: No task has that name. The message lists all names.
    """
    if name in TASKS:
        return TASKS[name]
    close = get_close_matches(name, TASKS, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise UsageError(f"unknown task {name!r}{hint}; --task takes one of: {', '.join(TASKS)}")


def parse_task(name: str | None) -> Task | None:
    """Return the task that `--task` names, or None if the option was not used. Raises what `find_task` raises."""
    return None if name is None else find_task(name)
