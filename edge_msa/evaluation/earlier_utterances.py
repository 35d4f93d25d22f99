"""What a model gains from the earlier utterances that its text encoder reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_msa.data.dataset import Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.conversation_memory import Change, Scores, compare_scores, format_changes
from edge_msa.evaluation.metrics import measure
from edge_msa_runtime.wording import format_count


@dataclass(frozen=True)
class EarlierUtterances:
    """Metrics without the earlier utterances, and what they change."""

    read: int
    """Number of earlier utterances that the text encoder reads at most."""
    utterances: int
    """Number of utterances that have an earlier one."""
    videos: int
    """Number of videos that they are from."""
    without: Mapping[str, Mapping[str, float]]
    """Metrics without the earlier utterances, by subset with language."""
    changes: Mapping[str, Mapping[str, Change]]
    """Metrics with them minus those without, by subset and metric, paired by video: the gate metric and MAE."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EarlierUtterances:
        """Return the result from its fields as plain JSON values.

        Raises:
            TypeError: A field is missing or unknown.
        """
        changes = {
            subset: {name: Change(**item) for name, item in items.items()} for subset, items in value["changes"].items()
        }
        return cls(**{**value, "changes": changes})


def measure_earlier(
    task: Task, split: Split, read: int, scores: Scores, without: Scores, metrics: Sequence[str]
) -> EarlierUtterances | None:
    """Compare predictions with and without earlier utterances.

    Args:
        task: The task.
        split: The split.
        read: Number of earlier utterances that the text encoder reads at most.
        scores: Predictions with them.
        without: Predictions without them, of the subsets with language.
        metrics: Metrics whose change has an interval.

    Returns:
        The result; None if no sample has an earlier utterance.
    """
    rows = [row for row, texts in enumerate(split.earlier) if texts]
    if not rows:
        return None
    return EarlierUtterances(
        read,
        len(rows),
        len({split.groups[row] for row in rows}),
        {subset.value: dict(measure(task, split.labels[rows], values)) for subset, (rows, values) in without.items()},
        {
            subset.value: compare_scores(task, split, rows, values, scores[subset][1], metrics)
            for subset, (rows, values) in without.items()
        },
    )


def format_earlier(result: EarlierUtterances) -> str:
    """Return a table of the metrics without earlier utterances and of the changes, with a title."""
    title = (
        f"Without the earlier utterances, of which the text encoder reads up to {result.read}: "
        f"{format_count(result.utterances, 'utterance')} of {format_count(result.videos, 'video')} have one. "
        "The changes are what they add, paired by video"
    )
    return f"{title}:\n{format_changes(result.without, result.changes)}"
