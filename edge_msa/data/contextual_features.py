"""Recognize language features that a contextual encoder such as BERT computed before they were stored in a file.

Each of these features depends on all words of its text. If frames are dropped, the remaining ones still contain the
dropped words. Training and evaluation with dropped frames then overstate how well a model does without these words.
"""

from __future__ import annotations

import numpy as np

from edge_msa.data.dataset import Dataset, Frames

_COMPARED_SAMPLES = 200
"""Number of samples whose frames are compared: some thousand words."""
_MIN_COMPARED = 500
"""With fewer frames, words may be distinct by chance."""
_MAX_REPEATED = 0.02
"""Largest share of repeated frames in features of a contextual encoder. A file may contain a text twice."""

NOTE = (
    "language: frames are dropped after encoding, because the data has the features of a contextual encoder. The other "
    "frames still contain the dropped words, so robustness to missing words is overstated"
)
_REMEDY = "; with --text-model, words are dropped before encoding"


def contains_context(frames: Frames) -> bool:
    """Return whether language frames are stored and each of them depends on all words of its text.

    Word vectors are equal wherever a word repeats. Features of a contextual encoder do not repeat. Frames of an
    `encoder` are not stored, so words are dropped before they are computed. If every text has a single frame, there are
    no other frames that could contain its words. With too few frames to tell, the result is False.
    """
    if frames.values is None or frames.lengths.max(initial=0) < 2:
        return False
    rows = np.flatnonzero(frames.valid.any(axis=1))[:_COMPARED_SAMPLES]
    compared = frames.values[rows][frames.valid[rows]]
    if len(compared) < _MIN_COMPARED:
        return False
    distinct = len({frame.tobytes() for frame in compared})
    return len(compared) - distinct <= _MAX_REPEATED * len(compared)


def dropped_frames_notes(dataset: Dataset) -> tuple[str, ...]:
    """Return a note if dropping language frames of a dataset does not drop all information about their words."""
    for split in dataset.splits.values():
        frames = split.modalities.get("language")
        if frames is not None and frames.valid.any() and contains_context(frames):
            return (f"{NOTE}{_REMEDY if split.texts else ''}",)
    return ()
