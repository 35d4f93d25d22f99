"""Attention weights made into what a person can look at: rows over frames, and where the rest went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class AttendedFrames:
    """How rows (language tokens, or heads) spread their attention over one sample's modality.

    `weights` (rows, frames up to the last valid one), in multiples of an even share: 1 is what every position would
    get if none mattered more. `frames`, `learned`, `padding`: the shares of all attention, adding up to 1, that go to
    valid frames, to the embedding's learned tokens, and to positions without a valid frame.
    """

    weights: FloatArray
    frames: float
    learned: float
    padding: float


def guided_spreads(
    guided: NDArray[np.float32], embedding: NDArray[np.float32], valid: BoolArray
) -> list[AttendedFrames]:
    """Language over the frames of audio or vision, scale by scale, composed of AHL and the embedding.

    Args:
        guided: AHL's weights (scales, heads, tokens, tokens) of one sample and modality.
        embedding: (heads, tokens, tokens + T) of the same.
        valid: (T,).
    """
    over_positions = embedding.mean(axis=0)
    return [_spread(scale.mean(axis=0) @ over_positions, len(over_positions), valid) for scale in guided]


def embedding_spread(embedding: NDArray[np.float32], valid: BoolArray) -> AttendedFrames:
    """A modality's own tokens over its frames; arguments as in `guided_spreads`."""
    over_positions = embedding.mean(axis=0)
    return _spread(over_positions, len(over_positions), valid)


def frame_spread(rows: NDArray[np.float32], valid: BoolArray, *, gaps: bool) -> AttendedFrames:
    """Rows over frames (rows, T) where padding is not attended: HRLF's heads, or a student's tokens.

    `gaps`: whether frames missing in between are attended (HRLF's are, as zeros); their share is called `padding`.
    """
    places = np.flatnonzero(valid)
    attended = int(places[-1] + 1 - places[0]) if gaps else len(places)
    spread = _spread(rows, 0, valid)
    return AttendedFrames(
        (spread.weights / len(valid) * attended).astype(np.float32), spread.frames, 0.0, spread.padding
    )


def fitted_mask(valid: BoolArray, length: int) -> BoolArray:
    """A sample's mask (T,) at a network's number of positions: cut behind, or filled up with False."""
    mask = np.zeros(length, np.bool_)
    mask[: min(length, len(valid))] = valid[:length]
    return mask


@dataclass(frozen=True)
class Share:
    """Where a modality's embedding attention maps on average: shares that add up to 1, and what an even spread would give."""

    modality: str
    frames: float
    learned: float
    padding: float
    even: tuple[float, float, float]


def mean_shares(embedding: Arrays, frames: Mapping[str, Frames], rows: Sequence[int]) -> list[Share]:
    """Of ALMT's embeddings (N, heads, tokens, tokens + T), over those of the rows that have the modality."""
    found = []
    for name, weights in embedding.items():
        if name not in frames:
            continue
        tokens = weights.shape[2]
        masks = [fitted_mask(frames[name].valid[row], weights.shape[3] - tokens) for row in rows]
        spreads = [
            (embedding_spread(one, mask), int(mask.sum()))
            for one, mask in zip(weights, masks, strict=True)
            if mask.any()
        ]
        if not spreads:
            continue
        seen, learned, padding = (
            float(np.mean([getattr(spread, part) for spread, _ in spreads]))
            for part in ("frames", "learned", "padding")
        )
        there = float(np.mean([count for _, count in spreads])) / weights.shape[3]
        own = tokens / weights.shape[3]
        found.append(Share(name, seen, learned, padding, (there, own, 1.0 - there - own)))
    return found


def _spread(rows: NDArray[np.float32], tokens: int, valid: BoolArray) -> AttendedFrames:
    """Rows over `tokens` learned tokens, then T positions."""
    over_frames = rows[:, tokens:]
    total = float(rows.sum())
    seen = float(over_frames[:, valid].sum()) / total
    own = float(rows[:, :tokens].sum()) / total
    until = int(np.flatnonzero(valid)[-1]) + 1 if valid.any() else 0
    return AttendedFrames(over_frames[:, :until] * rows.shape[1], seen, own, max(0.0, 1.0 - seen - own))
