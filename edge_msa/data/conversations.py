"""The order of utterances inside their conversation, i.e. their video."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Split

Rows = NDArray[np.int64]


def order_conversations(split: Split, rows: Rows | None = None) -> list[Rows]:
    """Return the rows of each video in the order of its utterances.

    A video of which a position is unknown has no order, so each of its samples is a conversation of its own. Samples
    with the same position keep the order of the file.

    Args:
        split: The split.
        rows: Rows of the samples that count (default: all).
    """
    positions = split.positions or (math.nan,) * len(split)
    videos: dict[str, list[int]] = {}
    for row in range(len(split)) if rows is None else rows.tolist():
        videos.setdefault(split.groups[row], []).append(row)
    conversations: list[Rows] = []
    for members in videos.values():
        if all(math.isfinite(positions[row]) for row in members):
            conversations.append(np.array(sorted(members, key=positions.__getitem__), np.int64))
        else:
            conversations += [np.array([row], np.int64) for row in members]
    return conversations


def why_no_conversations(name: str, split_name: str, split: Split) -> str | None:
    """Return why no sample of a split has an earlier utterance; None if one has.

    Args:
        name: Name of the dataset.
        split_name: Name of the split.
        split: The split.
    """
    if any(len(rows) > 1 for rows in order_conversations(split)):
        return None
    if len(set(split.groups)) == len(split):
        return f"each sample of the {split_name} split of {name} is a video of its own: there is no conversation memory"
    return (
        f"the {split_name} split of {name} does not state the order of utterances in their videos: there is no "
        "conversation memory"
    )
