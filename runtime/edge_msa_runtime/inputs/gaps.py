"""The gap frame: one frame of a modality that takes the place of masked or missing frames between two valid ones.

Graphs get only valid frames. Without a gap frame, the words around a lost one look adjacent. Frames that are missing
before the first valid frame or after the last one leave nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = NDArray[np.float32]
    Mask = NDArray[np.bool_]


def find_gaps(valid: Mask) -> NDArray[np.intp]:
    """Return the gaps of a mask (T,): each valid frame after masked ones that follow a valid one.

    A gap is the number of that frame among the valid ones, at least 1.
    """
    return np.flatnonzero(np.diff(np.flatnonzero(valid)) > 1) + 1


def fill_gaps(rows: Frames, gaps: NDArray[np.intp] | list[int], gap_frame: Frames) -> Frames:
    """Return valid frames (n, d) with the gap frame (d,) before those with the numbers `gaps` (k,), (n + k, d)."""
    filled: Frames = np.insert(rows, gaps, gap_frame, axis=0)
    return filled


def pack_frames(frames: Frames, valid: Mask, gap_frame: Frames | None) -> Frames:
    """Return the rows for a graph (n, d) of frames (T, d): the valid ones, with the gap frame (d,) in gaps, if any."""
    rows, gaps = frames[valid], find_gaps(valid)
    return rows if gap_frame is None or not len(gaps) else fill_gaps(rows, gaps, gap_frame)


def trim_mask(valid: Mask) -> tuple[slice, Mask | None]:
    """Return the part of a sample from its first to its last valid frame, and the mask of that part; None if all are.

    Masked frames before and after are padding.
    """
    used: Any = np.flatnonzero(valid)
    if not len(used):
        return slice(0, 0), None
    part = slice(int(used[0]), int(used[-1]) + 1)
    return part, None if len(used) == part.stop - part.start else valid[part]
