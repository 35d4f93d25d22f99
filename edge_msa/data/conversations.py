"""The order of utterances inside their conversation, i.e. their video."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Split
from edge_msa_runtime.inputs.conversations import order_videos

Rows = NDArray[np.int64]


def order_conversations(split: Split, rows: Rows | None = None) -> list[Rows]:
    """Return the rows of each video in the order of its utterances, as `order_videos` does.

    Args:
        split: The split.
        rows: Rows of the samples that count (default: all).
    """
    chosen = np.arange(len(split), dtype=np.int64) if rows is None else rows
    positions = split.positions or (math.nan,) * len(split)
    videos = [split.groups[row] for row in chosen]
    return [chosen[members] for members in order_videos(videos, [positions[row] for row in chosen])]


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
