"""Importance of words and frames: how the prediction of a sample changes if some of its frames are removed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, Split

MAX_CELLS = 80
"""A modality with more frames is divided into this many segments of consecutive frames."""
Segments = tuple[tuple[int, int], ...]
"""First frame and the one after the last of each segment."""


@dataclass(frozen=True)
class NoiseCells:
    """The noise experiment on the frame of a modality with the most attention.

    Attributes:
        cell: The cell with the replaced frame.
        frame: That frame, counted from 1.
        attention: Attention with noise by cell.
        prediction: Prediction with noise, of the explained output.
    """

    cell: int
    frame: int
    attention: Sequence[float | None]
    prediction: float


@dataclass(frozen=True)
class ModalityCells:
    """What is known about the frames of one modality of a sample. A cell is a frame, or a segment of frames.

    Attributes:
        frames: Number of frames, from the first to the last valid one.
        segments: The frames of each cell.
        words: The word of each cell. Empty if they are not known.
        attention: Mean attention by cell, 1 is uniform. None where no frame is valid.
        effect: Prediction minus that without the frames of a cell. None where no frame is valid.
        note: Where attention goes besides frames. Empty if nowhere.
        noise: The noise experiment. None with less than two frames.
    """

    frames: int
    segments: Segments
    words: Sequence[str]
    attention: Sequence[float | None]
    effect: Sequence[float | None]
    note: str
    noise: NoiseCells | None


@dataclass(frozen=True)
class SampleExplanation:
    """The explanation of one sample.

    Attributes:
        name: Its id.
        text: Its transcript. Empty if unknown.
        output: Which output is explained. Empty for a score.
        label: Labels of all outputs. None where unknown.
        prediction: Predictions of all outputs.
        explained: Number of the explained output.
        modalities: The modalities that the sample has.
    """

    name: str
    text: str
    output: str
    label: Sequence[float | None]
    prediction: Sequence[float]
    explained: int
    modalities: Mapping[str, ModalityCells]


def average_cells(values: FloatArray, segments: Segments) -> list[float | None]:
    """Return the mean over the frames of each segment, without those that are NaN. None if all of them are."""
    means: list[float | None] = []
    for first, last in segments:
        part = values[first:last]
        known = part[np.isfinite(part)]
        means.append(round(float(known.mean()), 4) if len(known) else None)
    return means


def segment_frames(count: int) -> Segments:
    """Return at most `MAX_CELLS` segments of nearly equal length that cover `count` frames."""
    edges = np.linspace(0, count, min(count, MAX_CELLS) + 1).round().astype(int)
    return tuple((int(first), int(last)) for first, last in itertools.pairwise(edges))


def segment_effects(
    split: Split,
    row: int,
    modality: str,
    segments: Segments,
    predict: Callable[[Split], FloatArray],
) -> NDArray[np.float32]:
    """Return the prediction from all frames minus the prediction without those of a segment, (segments, outputs).

    A removed word or frame is missing in the sense of the model: it is not valid, and a text encoder reads the unknown
    word in its place.

    Args:
        split: The split before normalization.
        row: The sample.
        modality: The modality.
        segments: Segments of its frames.
        predict: Returns predictions for a split before normalization, (N, outputs).
    """
    copies = split.select(np.full(len(segments) + 1, row))
    kept = np.ones(copies.modalities[modality].valid.shape, np.bool_)
    for number, (first, last) in enumerate(segments, 1):
        kept[number, first:last] = False
    frames = copies.modalities[modality].keep(kept)
    predictions = predict(replace(copies, modalities={**copies.modalities, modality: frames}))
    return np.asarray(predictions[0] - predictions[1:], np.float32)
