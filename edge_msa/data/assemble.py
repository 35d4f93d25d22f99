"""From arrays as a file has them to a Dataset: one place for masks, non-finite values, labels, ids and widths.

Every reader ends here, so the same policy holds for every format:

- **Padding.** Where the file states lengths or a mask, those; otherwise the all-zero frames before the first and after
  the last frame that is not all zero (MMSA and ICT-MMMO pad on the right, MulT on the left, some do both). All-zero
  frames in between stay valid: a face that is not found is an observation in time.
- **Non-finite values** (MMSA's audio holds -inf) become 0, with a note that says where and how many.
- **Repeated ids** within a split become `id#2`, `id#3`, with a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import SPLITS, BoolArray, Dataset, FloatArray, Frames, Split, SplitName
from edge_msa.data.labels import settle_labels
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES

_ROWS = 256  # samples looked at together: keeps masks of a 2 GB array small


@dataclass(frozen=True)
class RawFrames:
    """One modality of one split as the file has it.

    Either `values` (N, T, d), or `ids` (N, T) into `table` (V, d); `lengths` (N,) or `valid` (N, T) where the file
    states them (`valid` goes first).
    """

    values: NDArray[Any] | None = None
    ids: NDArray[Any] | None = None
    table: FloatArray | None = None
    lengths: NDArray[Any] | None = None
    valid: NDArray[Any] | None = None


@dataclass(frozen=True)
class RawSplit:
    """One split as the file has it; `labels` None: it has none (a single sample); `groups` None: from the ids.

    `texts` are what was said, for people to read, where the file has them.
    """

    ids: Sequence[str]
    labels: NDArray[Any] | None
    modalities: Mapping[str, RawFrames]
    groups: Sequence[str] | None = None
    texts: Sequence[str] = ()


def video_of(sample: str) -> str:
    """The video of a sample's id: `video$_$clip` (MMSA), `video[k]` (CMU-MultimodalSDK), otherwise the id itself."""
    mark = "$_$" if "$_$" in sample else "["
    return sample.split(mark, maxsplit=1)[0] or sample


def assemble(
    name: str,
    task: Task,
    raw: Mapping[SplitName, RawSplit],
    *,
    digest: str,
    frame_rates: Mapping[str, float] | None = None,
    notes: Iterable[str] = (),
) -> Dataset:
    """The dataset of those splits, checked; `notes` come first in its own.

    Raises:
        DataError: a split is empty, widths disagree, a label is NaN or outside the task's range, a shape is wrong.
        UsageError: the labels are of another kind than the task.
    """
    if not raw:
        raise DataError(f"{name} has none of the splits {', '.join(SPLITS)}: there is nothing to read")
    said = list(notes)
    splits = {split: _assemble_split(split, raw[split], task, said) for split in SPLITS if split in raw}
    _check_widths(splits)
    said += _shared_groups(splits)
    return Dataset(name, task, splits, digest, dict(frame_rates or {}), tuple(said))


def _assemble_split(split: SplitName, raw: RawSplit, task: Task, said: list[str]) -> Split:
    if not len(raw.ids):
        raise DataError(f"the {split} split is empty: give a file that has samples in it")
    ids, notes = _unique(raw.ids, split)
    said += notes
    groups = [video_of(sample) for sample in raw.ids] if raw.groups is None else raw.groups
    labels = settle_labels(raw.labels, task, split, ids)
    if raw.labels is None:
        said.append(f"{split} has no labels: it can be predicted, not trained on or evaluated")
    modalities: dict[str, Frames] = {}
    for modality in MODALITIES:
        if modality in raw.modalities:
            modalities[modality], notes = settle_frames(raw.modalities[modality], split, modality, len(ids))
            said += notes
    if not modalities:
        raise DataError(f"the {split} split has none of {', '.join(MODALITIES)}: there are no features to read")
    silent = len(ids) - int(np.any([frames.valid.any(axis=1) for frames in modalities.values()], axis=0).sum())
    if silent:
        said.append(f"{split}: {silent} of {len(ids)} samples have no valid frame of any modality")
    return Split(ids, tuple(groups), labels, modalities, tuple(raw.texts))


def settle_frames(raw: RawFrames, split: str, modality: str, count: int) -> tuple[Frames, list[str]]:
    """One modality with its mask, and the notes about what was replaced.

    Raises:
        DataError: not (N, T, d) numbers, ids outside the table, lengths outside 0..T.
    """
    where = f"{modality} of {split}"
    if raw.ids is not None and raw.table is not None:
        return _from_table(raw.ids, raw.table, raw, where, count), []
    values = _numbers(raw.values, where)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise DataError(f"{where} has shape {values.shape}; features are (samples, frames, width), none of them 0")
    _check_count(len(values), count, where)
    values, notes = _replace_non_finite(values, split, modality)
    valid = _stated_mask(raw, values.shape[:2], where)
    return Frames(_inside_zero_ends(values) if valid is None else valid, values=values), notes


def _from_table(ids: NDArray[Any], table: FloatArray, raw: RawFrames, where: str, count: int) -> Frames:
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise DataError(f"ids for {where} are {ids.dtype} {ids.shape}; they must be integers (samples, frames)")
    _check_count(len(ids), count, where)
    if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        raise DataError(f"{where} has ids {ids.min()} to {ids.max()}; the table has rows 0 to {len(table) - 1}")
    valid = _stated_mask(raw, ids.shape, where)
    if valid is None:
        raise DataError(f"{where} is given as ids: the file must state its lengths or its mask")
    return Frames(valid, ids=ids, table=table)


def _check_count(found: int, count: int, where: str) -> None:
    if found != count:
        raise DataError(f"{where} holds {found} samples, the labels and ids hold {count}")


def _numbers(values: Any, where: str) -> FloatArray:
    if np.iscomplexobj(values):
        raise DataError(f"{where} is complex: features are real numbers")
    try:
        with np.errstate(over="ignore"):  # beyond float32 is inf, and inf is replaced and noted
            return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is not an array of numbers ({str(error).splitlines()[0]})") from None


def _replace_non_finite(values: FloatArray, split: str, modality: str) -> tuple[FloatArray, list[str]]:
    """The same values with 0 where they were not finite, and a note for each kind that was found."""
    counts: Counter[str] = Counter()
    for start in range(0, len(values), _ROWS):
        rows = values[start : start + _ROWS]
        bad = ~np.isfinite(rows)
        if bad.any():
            if not values.flags.writeable:
                values = values.copy()
                rows = values[start : start + _ROWS]
            counts.update(map(str, rows[bad]))
            rows[bad] = 0
    return values, [f"{modality}: {counts[kind]} values in {split} were {kind}, set to 0" for kind in sorted(counts)]


def _stated_mask(raw: RawFrames, shape: tuple[int, ...], where: str) -> BoolArray | None:
    if raw.valid is not None:
        if raw.valid.shape != shape:
            raise DataError(f"the mask of {where} has shape {raw.valid.shape}, its frames have {shape}")
        return raw.valid.astype(bool)
    if raw.lengths is None:
        return None
    lengths = np.asarray(raw.lengths).reshape(-1)
    _check_count(len(lengths), shape[0], f"lengths of {where}")
    if not np.issubdtype(lengths.dtype, np.number) or not ((lengths >= 0) & (lengths <= shape[1])).all():
        raise DataError(f"lengths of {where} must be 0 to {shape[1]} frames, found {lengths.min()} to {lengths.max()}")
    mask: BoolArray = np.arange(shape[1]) < lengths[:, None]
    return mask


def _inside_zero_ends(values: FloatArray) -> BoolArray:
    """True from the first to the last frame that is not all zero, (N, T)."""
    some = np.concatenate([(values[at : at + _ROWS] != 0).any(axis=2) for at in range(0, len(values), _ROWS)])
    after_first = np.logical_or.accumulate(some, axis=1)
    before_last = np.logical_or.accumulate(some[:, ::-1], axis=1)[:, ::-1]
    inside: BoolArray = after_first & before_last
    return inside


def _unique(ids: Sequence[str], split: str) -> tuple[tuple[str, ...], list[str]]:
    taken: set[str] = set()
    seen: Counter[str] = Counter()
    repeats = 0
    unique = []
    for sample in ids:
        name = sample
        repeats += sample in taken
        while name in taken:
            seen[sample] += 1
            name = f"{sample}#{seen[sample] + 1}"
        taken.add(name)
        unique.append(name)
    note = f"{split}: {repeats} samples repeat an id; they are named id#2, id#3 and so on"
    return tuple(unique), [note] if repeats else []


def _check_widths(splits: Mapping[SplitName, Split]) -> None:
    first: dict[str, tuple[SplitName, int]] = {}
    for split, content in splits.items():
        for modality, frames in content.modalities.items():
            where, width = first.setdefault(modality, (split, frames.dim))
            if frames.dim != width:
                raise DataError(f"{modality} has {width} features in {where} but {frames.dim} in {split}")


def _shared_groups(splits: Mapping[SplitName, Split]) -> list[str]:
    """A note for every two splits that share videos: samples of one video are not independent."""
    names = list(splits)
    notes = []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            shared = set(splits[one].groups) & set(splits[other].groups)
            if shared:
                notes.append(f"{len(shared)} videos are in both {one} and {other}: their samples are not independent")
    return notes
