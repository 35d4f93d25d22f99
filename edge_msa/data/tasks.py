"""Tasks: what labels mean, and which family of metrics measures them.

A task belongs to a dataset. Commands can override it with `--task`; it is never guessed silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from edge_msa.errors import UsageError

TaskKind = Literal["mosi", "sims", "regression", "emotions", "none"]


@dataclass(frozen=True)
class Task:
    """The meaning of labels.

    Score tasks have one float label per sample. The task `emotions` has one label, 0 or 1, for each emotion.
    """

    kind: TaskKind
    """Selects the family of metrics, see `edge_msa.evaluation.metrics.families`."""
    labels: tuple[str, ...] = ()
    """Emotions, or names of score ranges: `labels[i]` is the range `edges[i-1] <= score < edges[i]`."""
    edges: tuple[float, ...] = ()
    """Bounds between the named score ranges."""
    low: float | None = None
    """The lowest score; None if unbounded."""
    high: float | None = None
    """The highest score; None if unbounded."""

    @property
    def outputs(self) -> int:
        """Number of model outputs: 1 for a score, one logit per emotion otherwise."""
        return len(self.labels) if self.kind == "emotions" else 1

    @property
    def is_score(self) -> bool:
        """Whether labels are scores, not emotions."""
        return self.kind != "emotions"


MOSI = Task("mosi", ("negative", "neutral", "positive"), (-0.5, 0.5), -3.0, 3.0)
SIMS = Task("sims", ("negative", "neutral", "positive"), (-0.1, 0.1), -1.0, 1.0)
REGRESSION = Task("regression")
EMOTIONS = Task("emotions", ("neutral", "happy", "sad", "angry"))
NO_TASK = Task("none")
"""The task of unlabeled data that states none. Such data can be inspected, converted and predicted."""

TASKS: dict[str, Task] = {"mosi": MOSI, "sims": SIMS, "regression": REGRESSION, "emotions": EMOTIONS}


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        UsageError: No task has that name. The message lists all names.
    """
    if name in TASKS:
        return TASKS[name]
    close = get_close_matches(name, TASKS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"Unknown task {name!r}.{hint} Available: {', '.join(TASKS)}.")


def parse_task(name: str | None) -> Task | None:
    """Return the task that `--task` names, or None if the option was not used. Raises the errors of `find_task`."""
    return None if name is None else find_task(name)
