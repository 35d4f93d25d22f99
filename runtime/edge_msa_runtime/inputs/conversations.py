"""The order of utterances inside their conversation, i.e. their video, and the texts before each of them."""

from __future__ import annotations

import math
from collections import deque
from typing import Sequence

MAX_CONTEXT = 8
"""The largest number of earlier utterances that a text encoder can read."""


def order_videos(videos: Sequence[str], positions: Sequence[float]) -> list[list[int]]:
    """Return the rows of each video in the order of its utterances.

    A video of which a position is unknown has no order, so each of its utterances is a conversation of its own.
    Utterances with the same position keep their order.

    Args:
        videos: the video of each utterance, (n,).
        positions: number or start in seconds of each utterance inside its video, (n,); NaN where unknown.
    """
    members: dict[str, list[int]] = {}
    for row, video in enumerate(videos):
        members.setdefault(video, []).append(row)
    conversations: list[list[int]] = []
    for rows in members.values():
        if all(math.isfinite(positions[row]) for row in rows):
            conversations.append(sorted(rows, key=positions.__getitem__))
        else:
            conversations += [[row] for row in rows]
    return conversations


def earlier_texts(
    texts: Sequence[str], videos: Sequence[str], positions: Sequence[float]
) -> tuple[tuple[str, ...], ...]:
    """Return the texts before each utterance in its video, (n,): at most `MAX_CONTEXT`, the newest last.

    Texts without a letter or digit are left out. The arguments are those of `order_videos`, and the texts (n,).
    """
    earlier: list[tuple[str, ...]] = [()] * len(texts)
    for rows in order_videos(videos, positions):
        newest: deque[str] = deque(maxlen=MAX_CONTEXT)
        for row in rows:
            earlier[row] = tuple(newest)
            if any(map(str.isalnum, texts[row])):
                newest.append(texts[row])
    return tuple(earlier)
