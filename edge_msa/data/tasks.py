"""Tasks: what labels mean, and which family of metrics measures them.

A task belongs to a dataset. Commands can override it with `--task`; it is never guessed silently.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

from edge_msa.errors import UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import TaskSpec

TaskKind = Literal["mosi", "sims", "regression", "emotions", "classes", "none"]


NAMES_HINT = "classes:NAME,NAME,..."
"""How `--task` states the names of classes, for messages."""
LABELS_HINT = "classes:LABEL=NAME,LABEL=NAME,..."
"""How `--task` states the names of classes and the label of each in the data, which is a text or a number."""


_NUMBER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Task:
    """The meaning of labels.

    Score tasks have one float label per sample. The task `emotions` has one label, 0 or 1, for each emotion; models
    predict one logit per emotion, each with a sigmoid. The task `classes` has one label per sample, the index of its
    class; models predict one logit per class, with a softmax over all. Without names, the task `classes` is a request:
    the data must state them.

    Raises:
        UsageError: Names of classes repeat, are fewer than two, or contain characters that `--task` cannot state.
    """

    kind: TaskKind
    """Selects the family of metrics, see `edge_msa.evaluation.metrics.families`."""
    labels: tuple[str, ...] = ()
    """Classes, emotions, or names of score ranges: `labels[i]` is the range `edges[i-1] <= score < edges[i]`."""
    edges: tuple[float, ...] = ()
    """Bounds between the named score ranges."""
    low: float | None = None
    """The lowest score; None if unbounded."""
    high: float | None = None
    """The highest score; None if unbounded."""
    values: tuple[float, ...] = field(default=(), compare=False)
    """Numbers by which the original data state the classes, e.g. -1, 0, 1; empty for 0, 1, 2 and so on."""
    spellings: tuple[str, ...] = field(default=(), compare=False)
    """Texts by which the original data state the classes; empty for their names."""

    def __post_init__(self) -> None:
        if self.kind == "classes" and self.labels:
            _check_names(self.labels)
            for what, stated in (("number", self.values), ("label", self.spellings)):
                if len(set(stated)) not in {0, len(self.labels)}:
                    raise UsageError(f"Each class must have its own {what}, got {self.option!r}. Correct --task.")

    @property
    def outputs(self) -> int:
        """Number of model outputs: 1 for a score, one logit per emotion or class otherwise."""
        return 1 if self.is_score else len(self.labels)

    @property
    def is_score(self) -> bool:
        """Whether labels are scores, not emotions or classes."""
        return self.kind not in {"emotions", "classes"}

    def fits(self, other: Task) -> bool:
        """Return whether a model of this task can be evaluated on data of the other one.

        Scores fit scores, emotions as many emotions, and classes the same classes in the same order.
        """
        if self.is_score or other.is_score:
            return self.is_score and other.is_score
        if self.kind == other.kind == "emotions":
            return self.outputs == other.outputs
        return (self.kind, self.labels) == (other.kind, other.labels)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of the label of one sample: (E,) for emotions, () for scores and classes."""
        return (self.outputs,) if self.kind == "emotions" else ()

    @property
    def text_labels(self) -> dict[str, int]:
        """The index of the class that each text label of the data states: its name, or its spelling in the data."""
        names = {name: index for index, name in enumerate(self.labels)}
        return {**names, **{text: index for index, text in enumerate(self.spellings)}}

    @property
    def option(self) -> str:
        """The value of `--task` that states this task: the kind, and the names of classes."""
        if self.kind != "classes" or not self.labels:
            return self.kind
        labels = self.spellings or [f"{value:g}" for value in self.values]
        stated = [f"{label}={name}" for label, name in zip(labels, self.labels, strict=False)]
        return f"classes:{','.join(stated or self.labels)}"


MOSI = Task("mosi", ("negative", "neutral", "positive"), (-0.5, 0.5), -3.0, 3.0)
SIMS = Task("sims", ("negative", "neutral", "positive"), (-0.1, 0.1), -1.0, 1.0)
REGRESSION = Task("regression")
EMOTIONS = Task("emotions", ("neutral", "happy", "sad", "angry"))
CLASSES = Task("classes")
"""A request for the task `classes` with the names that the data states."""
NO_TASK = Task("none")
"""The task of unlabeled data that states none. Such data can be inspected, converted and predicted."""

TASKS: dict[str, Task] = {
    "mosi": MOSI,
    "sims": SIMS,
    "regression": REGRESSION,
    "emotions": EMOTIONS,
    "classes": CLASSES,
}


def find_task(name: str) -> Task:
    """Return the task of that name. `classes:NAME,NAME,...` states the names of classes, in their order.

    `classes:-1=NAME,0=NAME,...` also states the number of each class in the data, `classes:LABEL=NAME,...` its text.

    Raises:
        UsageError: No task has that name, or the names of classes are wrong. The message lists all tasks.
    """
    kind, separator, names = name.partition(":")
    if separator and kind == "classes":
        return _parse_classes(names)
    if name in TASKS:
        return TASKS[name]
    close = get_close_matches(name, TASKS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"Unknown task {name!r}.{hint} Available: {', '.join(TASKS)}, {NAMES_HINT}.")


def task_from_spec(spec: TaskSpec) -> Task:
    """Return the task of a bundle."""
    kind: Any = spec.kind
    return Task(kind, tuple(spec.labels), tuple(spec.edges), spec.low, spec.high)


def parse_task(name: str | None) -> Task | None:
    """Return the task that `--task` names, or None if the option was not used. Raises the errors of `find_task`."""
    return None if name is None else find_task(name)


def suggest_labels(task: Task, texts: Collection[str]) -> str:
    """Return the value of `--task` that states the classes of a task by the text labels of data, as far as they match.

    Classes without a similar text have the placeholder LABEL.
    """
    by_lower = {text.casefold(): text for text in texts}
    found = [get_close_matches(name.casefold(), by_lower, n=1) for name in task.labels]
    if not any(found):
        return LABELS_HINT
    labels = [by_lower[close[0]] if close else "LABEL" for close in found]
    return f"classes:{','.join(f'{label}={name}' for label, name in zip(labels, task.labels, strict=True))}"


def describe_mismatch(expected: Task, actual: Task, source: str) -> str:
    """Return the error for a model of one task and data of another that it does not fit."""
    if expected.kind == actual.kind == "classes":
        is_order = set(expected.labels) == set(actual.labels)
        option = expected.option if is_order else suggest_labels(expected, actual.labels)
        return (
            f"The classes must be those of the model, {', '.join(expected.labels)}, got {', '.join(actual.labels)} in "
            f"{source}. State the label of each class in the data: --task {option}."
        )
    return (
        f"The task must be {expected.option}, which the model was trained for, got {actual.option} in {source}. "
        "Pass the matching --task."
    )


def _parse_classes(names: str) -> Task:
    parts = [part.strip() for part in names.split(",")]
    if not any("=" in part for part in parts):
        return Task("classes", tuple(parts))
    pairs = [tuple(map(str.strip, part.partition("=")))[::2] for part in parts]
    if not all(label and name for label, name in pairs):
        raise UsageError(
            f"Either all classes must have a label in the data or none, got 'classes:{names}'. "
            f"Pass --task {LABELS_HINT}."
        )
    labels, classes = zip(*pairs, strict=True)
    if all(map(_NUMBER.fullmatch, labels)):
        return Task("classes", classes, values=tuple(map(float, labels)))
    return Task("classes", classes, spellings=labels)


def _check_names(names: tuple[str, ...]) -> None:
    stated = ", ".join(map(repr, names))
    if len(names) < 2:
        raise UsageError(f"A task needs at least two classes, got {stated}. Pass --task {NAMES_HINT}.")
    wrong = [
        name for name in names if not name.strip() or name != name.strip() or "," in name or not name.isprintable()
    ]
    if wrong:
        raise UsageError(
            f"Names of classes must be text without commas, line breaks or blanks at the ends, got {wrong[0]!r}. "
            "Rename the class."
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UsageError(f"Names of classes must be unique, got {repeated[0]!r} more than once. Rename one of them.")
