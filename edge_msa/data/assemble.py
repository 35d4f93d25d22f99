"""Build a Dataset from the arrays of a file: masks, non-finite values, labels, ids and sizes.

The loaders of feature files end here, so every format follows the same rules:

- **Padding.** Lengths or masks in the file are used. Without them, the all-zero frames before the first and after the
  last frame that is not all zero are padding: MMSA and ICT-MMMO pad on the right, MulT on the left, some files on both
  sides. All-zero frames in between stay valid, e.g. frames in which no face was detected.
- **Non-finite values** become 0, with a note that says where and how many. MMSA's audio features contain -inf.
- **Repeated ids** within a split become `id#2`, `id#3` and so on, with a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import SPLITS, BoolArray, Dataset, FloatArray, Frames, Split, SplitName
from edge_msa.data.identifiers import video_from_id
from edge_msa.data.labels import convert_labels
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES

_CHUNK = 256  # samples per step: limits the size of masks of a large array


@dataclass(frozen=True)
class RawFrames:
    """One modality of one split as stored in a file: either `values`, or `ids` into `table`."""

    values: NDArray[Any] | None = None
    """(N, T, d)."""
    ids: NDArray[Any] | None = None
    """(N, T)."""
    table: FloatArray | None = None
    """(V, d)."""
    lengths: NDArray[Any] | None = None
    """(N,): number of valid frames, counted from the first frame, if the file states it."""
    valid: NDArray[Any] | None = None
    """(N, T): validity mask, if the file states it; takes precedence over `lengths`."""


@dataclass(frozen=True)
class RawSplit:
    """One split as stored in a file."""

    ids: Sequence[str]
    """One per sample; may repeat."""
    labels: NDArray[Any] | None
    """None if the file has no labels."""
    modalities: Mapping[str, RawFrames]
    """The modalities that the file has."""
    groups: Sequence[str] | None = None
    """The video of each sample; None to derive it from the ids."""
    texts: Sequence[str] = ()
    """Transcripts, if the file has them."""


def assemble(
    name: str,
    task: Task,
    raw: Mapping[SplitName, RawSplit],
    *,
    digest: str,
    frame_rates: Mapping[str, float] | None = None,
    notes: Iterable[str] = (),
) -> Dataset:
    """Check the splits and return them as a dataset. Its notes start with `notes`.

    Raises:
        DataError: A split is empty, sizes disagree, a label is NaN or outside the task's range, or a shape is wrong.
        UsageError: The labels do not fit the task.
    """
    if not raw:
        raise DataError(f"{name} must have at least one of the splits {', '.join(SPLITS)}, got none.")
    all_notes = list(notes)
    splits = {split: _assemble_split(split, raw[split], task, all_notes) for split in SPLITS if split in raw}
    _check_dims(splits)
    all_notes += _shared_groups(splits)
    return Dataset(name, task, splits, digest, dict(frame_rates or {}), tuple(all_notes))


def _assemble_split(name: SplitName, raw: RawSplit, task: Task, all_notes: list[str]) -> Split:
    if not len(raw.ids):
        raise DataError(f"The {name} split is empty. Pass a file with samples in it.")
    ids, notes = _make_unique(raw.ids, name)
    all_notes += notes
    groups = [video_from_id(sample) for sample in raw.ids] if raw.groups is None else raw.groups
    labels = convert_labels(raw.labels, task, name, ids)
    if raw.labels is None:
        all_notes.append(f"{name}: no labels, so it can be used for predictions but not for training or evaluation")
    modalities: dict[str, Frames] = {}
    for modality in MODALITIES:
        if modality in raw.modalities:
            modalities[modality], notes = build_frames(raw.modalities[modality], name, modality, len(ids))
            all_notes += notes
    if not modalities:
        raise DataError(f"The {name} split must have at least one of {', '.join(MODALITIES)}, got none.")
    empty = len(ids) - int(np.any([frames.valid.any(axis=1) for frames in modalities.values()], axis=0).sum())
    if empty:
        all_notes.append(f"{name}: {empty} of {len(ids)} samples have no valid frame of any modality")
    return Split(ids, tuple(groups), labels, modalities, tuple(raw.texts))


def build_frames(raw: RawFrames, split: str, modality: str, count: int) -> tuple[Frames, list[str]]:
    """Return one modality with its mask, and notes about replaced values.

    Raises:
        DataError: The values are not numbers (N, T, d), ids are outside the table, or lengths are outside 0..T.
    """
    where = f"{modality} of {split}"
    if raw.ids is not None and raw.table is not None:
        return _frames_from_table(raw.ids, raw.table, raw, where, count), []
    values = _convert_to_float(raw.values, where)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise DataError(f"{where} must be a non-empty array (samples, frames, features), got shape {values.shape}.")
    _check_count(len(values), count, where)
    values, notes = _replace_non_finite(values, split, modality)
    valid = _stated_mask(raw, values.shape[:2], where)
    return Frames(_mask_zero_ends(values) if valid is None else valid, values=values), notes


def _frames_from_table(ids: NDArray[Any], table: FloatArray, raw: RawFrames, where: str, count: int) -> Frames:
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise DataError(f"The ids of {where} must be integers (samples, frames), got {ids.dtype} {ids.shape}.")
    _check_count(len(ids), count, where)
    if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        raise DataError(
            f"The ids of {where} must be rows 0 to {len(table) - 1} of the table, got {ids.min()} to {ids.max()}."
        )
    valid = _stated_mask(raw, ids.shape, where)
    if valid is None:
        raise DataError(f"{where} consists of ids, so the file must state their lengths or their mask.")
    return Frames(valid, ids=ids, table=table)


def _check_count(actual: int, expected: int, where: str) -> None:
    if actual != expected:
        raise DataError(f"{where} must have {expected} samples, as labels and ids have, got {actual}.")


def _convert_to_float(values: Any, where: str) -> FloatArray:
    if np.iscomplexobj(values):
        raise DataError(f"{where} must be real numbers, got complex numbers.")
    try:
        with np.errstate(over="ignore"):  # values beyond float32 become inf, which is replaced and noted
            return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} must be an array of numbers ({str(error).splitlines()[0]}).") from None


def _replace_non_finite(values: FloatArray, split: str, modality: str) -> tuple[FloatArray, list[str]]:
    """Return the values with 0 for those that are not finite, and a note for each kind that occurred."""
    counts: Counter[str] = Counter()
    for start in range(0, len(values), _CHUNK):
        rows = values[start : start + _CHUNK]
        bad = ~np.isfinite(rows)
        if bad.any():
            if not values.flags.writeable:
                values = values.copy()
                rows = values[start : start + _CHUNK]
            counts.update(map(str, rows[bad]))
            rows[bad] = 0
    return values, [f"{modality}: {counts[kind]} values in {split} were {kind}, set to 0" for kind in sorted(counts)]


def _stated_mask(raw: RawFrames, shape: tuple[int, ...], where: str) -> BoolArray | None:
    if raw.valid is not None:
        if raw.valid.shape != shape:
            raise DataError(f"The mask of {where} must have the shape {shape} of the frames, got {raw.valid.shape}.")
        return raw.valid.astype(bool)
    if raw.lengths is None:
        return None
    lengths = np.asarray(raw.lengths).reshape(-1)
    _check_count(len(lengths), shape[0], f"lengths of {where}")
    if not np.issubdtype(lengths.dtype, np.number) or not ((lengths >= 0) & (lengths <= shape[1])).all():
        raise DataError(
            f"The lengths of {where} must be 0 to {shape[1]} frames, got {lengths.min()} to {lengths.max()}."
        )
    mask: BoolArray = np.arange(shape[1]) < lengths[:, None]
    return mask


def _mask_zero_ends(values: FloatArray) -> BoolArray:
    """Return (N, T): True from the first to the last frame that is not all zero."""
    nonzero = np.concatenate(
        [(values[start : start + _CHUNK] != 0).any(axis=2) for start in range(0, len(values), _CHUNK)]
    )
    after_first = np.logical_or.accumulate(nonzero, axis=1)
    before_last = np.logical_or.accumulate(nonzero[:, ::-1], axis=1)[:, ::-1]
    mask: BoolArray = after_first & before_last
    return mask


def _make_unique(ids: Sequence[str], split: str) -> tuple[tuple[str, ...], list[str]]:
    taken: set[str] = set()
    counts: Counter[str] = Counter()
    repeats = 0
    unique = []
    for sample in ids:
        name = sample
        repeats += sample in taken
        while name in taken:
            counts[sample] += 1
            name = f"{sample}#{counts[sample] + 1}"
        taken.add(name)
        unique.append(name)
    note = f"{split}: {repeats} samples repeat an id and are renamed to id#2, id#3 and so on"
    return tuple(unique), [note] if repeats else []


def _check_dims(splits: Mapping[SplitName, Split]) -> None:
    first: dict[str, tuple[SplitName, int]] = {}
    for name, split in splits.items():
        for modality, frames in split.modalities.items():
            where, dim = first.setdefault(modality, (name, frames.dim))
            if frames.dim != dim:
                raise DataError(f"{modality} must have {dim} features in {name}, as in {where}, got {frames.dim}.")


def _shared_groups(splits: Mapping[SplitName, Split]) -> list[str]:
    """Return a note for every pair of splits that share videos, because samples of one video are not independent."""
    names = list(splits)
    notes = []
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            shared = set(splits[one].groups) & set(splits[other].groups)
            if shared:
                notes.append(f"{len(shared)} videos are in both {one} and {other}: their samples are not independent")
    return notes
