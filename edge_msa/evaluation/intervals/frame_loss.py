"""Utterances of which frames are missing, as a live stream has them: unfinished, interrupted, or with lost frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, Split

_BURSTS = 3
"""Largest number of bursts of missing frames in a modality."""
_BURST_SHARE = (0.05, 0.6)
"""Length of a burst as a share of the utterance."""
_LAG = 0.3
"""Largest difference of a modality's progress from that of the utterance, as a share of it."""
_PREFIX, _BURST, _PREFIX_AND_BURST, _LOSS = range(4)


def lose_frames(split: Split, rng: np.random.Generator, *, words: bool = False) -> Split:
    """Return a split of which every sample has lost frames, in one of four ways drawn with equal probability.

    - Only a beginning of the utterance has arrived, up to a uniformly drawn moment.
    - Each modality lacks up to three bursts of frames.
    - Both, and modalities lag behind each other.
    - Each frame of a modality is missing with a drawn probability of at most .9.

    A modality of a sample keeps at least one frame. Words that a text encoder would encode are hidden before.

    Args:
        split: The split.
        rng: Draws what is missing.
        words: Whether language is the texts of the split, which then lose words instead of frames.
    """
    valid = {name: frames.valid for name, frames in split.modalities.items()}
    if not words or "language" not in valid:
        kept = draw_kept(valid, rng)
        return replace(split, modalities={name: frames.keep(kept[name]) for name, frames in split.modalities.items()})
    lists = [text.split() for text in split.texts]
    longest = max(map(len, lists), default=0)
    kept = draw_kept({**valid, "language": np.arange(longest) < np.array([[len(item)] for item in lists])}, rng)
    texts = (
        " ".join(word for word, is_kept in zip(item, mask, strict=False) if is_kept)
        for item, mask in zip(lists, kept.pop("language"), strict=True)
    )
    others = {name: frames.keep(kept[name]) for name, frames in split.modalities.items() if name in kept}
    return replace(split, texts=tuple(texts), modalities={**split.modalities, **others})


def draw_kept(valid: Mapping[str, BoolArray], rng: np.random.Generator) -> dict[str, BoolArray]:
    """Return the frames that remain, (N, T) bool by modality, given the valid ones."""
    count = len(next(iter(valid.values())))
    kind = rng.integers(4, size=(count, 1))
    moment = rng.uniform(size=(count, 1))
    return {name: _draw_modality(mask, kind, moment, rng) for name, mask in valid.items()}


def _draw_modality(
    valid: BoolArray, kind: NDArray[np.int64], moment: NDArray[np.float64], rng: np.random.Generator
) -> BoolArray:
    count = (len(valid), 1)
    position = np.cumsum(valid, axis=1) - 1  # of each valid frame among the valid frames
    length = valid.sum(axis=1, keepdims=True)
    lag = np.where(kind == _PREFIX_AND_BURST, rng.uniform(1 - _LAG, 1 + _LAG, size=count), 1.0)
    has_end = (kind == _PREFIX) | (kind == _PREFIX_AND_BURST)
    missing: BoolArray = has_end & (position >= moment * lag * length)
    has_bursts = (kind == _BURST) | (kind == _PREFIX_AND_BURST)
    for _ in range(_BURSTS):
        start = rng.uniform(size=count) * length
        end = start + rng.uniform(*_BURST_SHARE, size=count) * length
        drawn = has_bursts & (rng.uniform(size=count) < 0.5)
        missing |= drawn & (position >= start) & (position < end)
    missing |= (kind == _LOSS) & (rng.uniform(size=valid.shape) < rng.uniform(0.0, 0.9, size=count))
    kept: BoolArray = valid & ~missing
    without = ~kept.any(axis=1)
    kept[without] = valid[without] & (position[without] == 0)
    return kept
