"""Datasets from arrays in memory: one `Utterance` per sample, with frames of any length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.classes import name_classes
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.splitting import draw_splits
from edge_msa.data.tasks import CLASSES, Task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit
from edge_msa_runtime.inputs.sample_ids import position_from_id, video_from_id
from edge_msa_runtime.modalities import MODALITIES


@dataclass(frozen=True, eq=False)
class Utterance:
    """One sample, as you have it in memory. Everything but the id is optional; a modality that is None is absent."""

    id: str
    """Name of the sample, unique within its split."""
    label: float | Sequence[float] | str | None = None
    """Score, one value, 0 or 1, per emotion, or the name or number of the class. None for an unlabeled sample."""
    language: ArrayLike | None = None
    """Frames (T, d), not normalized. T may differ between samples and modalities."""
    audio: ArrayLike | None = None
    """Frames (T, d)."""
    vision: ArrayLike | None = None
    """Frames (T, d)."""
    text: str | None = None
    """Transcript."""
    video: str | None = None
    """The recording, or the speaker, that the sample is from. Samples of one video are not independent, so they belong
    into one split (default: the id, up to the first `[` or `$_$`)."""
    position: float | None = None
    """Its number inside the video, or its start in seconds. The conversation memory needs the order of utterances
    (default: what the id states, as in `video[3]`)."""

    @property
    def group(self) -> str:
        """The video, or what the id says about it."""
        return video_from_id(self.id) if self.video is None else self.video


def split_by_video(utterances: Sequence[Utterance], *, seed: int = 0) -> dict[SplitName, list[Utterance]]:
    """Split utterances at random into about 70 % for training, 15 % for validation and 15 % for test.

    All utterances of a video are in the same split.

    Raises:
        UsageError: There are fewer than three videos.
    """
    videos = {utterance.group for utterance in utterances}
    if len(videos) < 3:
        raise UsageError(
            f"utterances must be from at least 3 videos, one per split, got {len(videos)}. "
            "State `video`, or pass {'train': ..., 'valid': ..., 'test': ...}."
        )
    split_of = draw_splits(videos, seed=seed)
    return {name: [item for item in utterances if split_of[item.group] == name] for name in SPLITS}


def build_dataset(name: str, task: Task, splits: Mapping[SplitName, Sequence[Utterance]]) -> Dataset:
    """Return utterances as a dataset, padded and with masks. Its digest is empty.

    Raises:
        UsageError: A split has an unknown name, or the labels do not fit the task.
        DataError: There is no utterance or no frame, a shape is wrong, or a label is outside the task's range.
    """
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise UsageError(f"Splits must be named {', '.join(SPLITS)}, got {unknown[0]!r}.")
    for split, utterances in splits.items():
        for item in utterances:
            if not isinstance(item, Utterance):
                raise UsageError(f"The {split} split must have items of type Utterance, got {type(item).__name__}.")
    raw = {split: _raw_split(utterances, task) for split, utterances in splits.items()}
    if task == CLASSES:
        task = name_classes(raw, "utterances")
    return assemble(name, task, raw, digest="")


def _raw_split(utterances: Sequence[Utterance], task: Task) -> RawSplit:
    has_texts = any(item.text is not None for item in utterances)
    modalities = {name: _pad(name, utterances) for name in MODALITIES}
    return RawSplit(
        ids=[item.id for item in utterances],
        labels=_labels(utterances, task) if utterances else None,
        modalities={name: frames for name, frames in modalities.items() if frames is not None},
        groups=[item.group for item in utterances],
        texts=[item.text for item in utterances] if has_texts else (),
        positions=[_position(item) for item in utterances],
    )


def _position(utterance: Utterance) -> float:
    position = utterance.position
    if position is None:
        return position_from_id(utterance.id, utterance.group)
    if isinstance(position, bool) or not isinstance(position, (int, float)) or not math.isfinite(position):
        raise UsageError(f"position of {utterance.id!r} must be a finite number, got {position!r:.60}.")
    return float(position)


def _labels(utterances: Sequence[Utterance], task: Task) -> NDArray[Any]:
    """Return the labels: scores (N,), emotions (N, E), or names or numbers of classes (N,)."""
    if task.kind != "classes":
        return np.stack([_label(item, task) for item in utterances])
    for item in utterances:
        if item.label is not None and not isinstance(item.label, (str, int, float)):
            raise UsageError(f"label of {item.id!r} must be the name of a class, got {item.label!r:.60}.")
    return np.array([item.label for item in utterances], object)


def _label(utterance: Utterance, task: Task) -> NDArray[np.float32]:
    """Return the label, (E,) for emotions and () for scores, or NaN."""
    shape = task.label_shape
    if utterance.label is None:
        return np.full(shape, np.nan, np.float32)
    try:
        label = np.asarray(utterance.label, np.float32)
    except (TypeError, ValueError):
        label = None
    if label is None or label.shape != shape:
        expected = "one number" if task.is_score else f"{task.outputs} numbers ({', '.join(task.labels)})"
        raise UsageError(f"label of {utterance.id!r} must be {expected}, got {utterance.label!r:.60}.")
    return label


def _pad(modality: str, utterances: Sequence[Utterance]) -> RawFrames | None:
    """Return the frames of a modality, padded at the end, with their mask; None if no utterance has the modality."""
    frames = [_frames(modality, item) for item in utterances]
    present = [item for item in frames if item is not None and len(item)]
    if not present:
        return None
    values = np.zeros((len(frames), max(map(len, present)), present[0].shape[1]), np.float32)
    valid = np.zeros(values.shape[:2], np.bool_)
    for row, item in enumerate(frames):
        if item is None or not len(item):
            continue
        if item.shape[1] != values.shape[2]:
            raise DataError(
                f"{modality} of {utterances[row].id!r} must have {values.shape[2]} features per frame, as others have, "
                f"got {item.shape[1]}."
            )
        values[row, : len(item)] = item
        valid[row, : len(item)] = True
    return RawFrames(values, valid=valid)


def _frames(modality: str, utterance: Utterance) -> NDArray[np.float32] | None:
    value: ArrayLike | None = getattr(utterance, modality)
    if value is None:
        return None
    try:
        frames = np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{modality} of {utterance.id!r} must be numbers (frames, features).") from None
    if frames.ndim != 2 or not frames.shape[1]:
        raise DataError(
            f"{modality} of {utterance.id!r} must be an array of shape (frames, features), got {frames.shape}."
        )
    if not np.isfinite(frames).all():
        frame, feature = np.argwhere(~np.isfinite(frames))[0]
        raise DataError(
            f"{modality} of {utterance.id!r} must be finite, got {frames[frame, feature]:g} at frame {frame}, feature "
            f"{feature}. Correct the value, or leave the frame out."
        )
    return frames
