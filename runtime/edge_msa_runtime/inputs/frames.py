"""The frames of many samples, as a file stores them (`RawFrames`) and with their mask (`MaskedFrames`).

The toolkit and the command line of the device read feature files through this module, so both use the same frames:

- **Padding.** Lengths or masks in the file are used. Without them, the all-zero frames before the first and after the
  last frame that is not all zero are padding: MMSA and ICT-MMMO pad on the right, MulT on the left, some files on both
  sides. All-zero frames in between stay valid, e.g. frames in which no face was detected. Lengths do not tell on which
  side the padding is, so every sample is checked: if its frames do not begin at the first frame, the mask is moved.
- **Non-finite values** become 0, with a note that says where and how many. MMSA's audio features contain -inf.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import DataError, first_line
from edge_msa_runtime.inputs.gaps import trim_mask
from edge_msa_runtime.wording import format_count, format_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    BoolArray = NDArray[np.bool_]
    FloatArray = NDArray[np.float32]
    IntArray = NDArray[np.integer[Any]]

_CHUNK = 256  # samples per step: limits the size of masks of a large array


@dataclasses.dataclass(frozen=True)
class RawFrames:
    """One modality of one split as stored in a file: either `values`, or `ids` into `table`.

    Attributes:
        values: (N, T, d).
        ids: (N, T).
        table: (V, d).
        lengths: (N,): number of valid frames of each sample, if the file states it.
        valid: (N, T): validity mask, if the file states it; takes precedence over `lengths`.
    """

    values: NDArray[Any] | None = None
    ids: NDArray[Any] | None = None
    table: FloatArray | None = None
    lengths: NDArray[Any] | None = None
    valid: NDArray[Any] | None = None


@dataclasses.dataclass(frozen=True)
class RawSplit:
    """One split as stored in a file.

    Attributes:
        ids: one per sample; may repeat.
        labels: None if the file has no labels; NaN for samples without one.
        modalities: the modalities that the file has.
        groups: the video of each sample; None to derive it from the ids.
        texts: transcripts, if the file has them. None and NaN stand for a missing one.
        positions: number or start in seconds of each sample inside its video, NaN where unknown; None to derive it from
            the ids.
        class_names: names of the classes that numbers in labels stand for, or of the columns of labels; empty if the
            file does not state them.
    """

    ids: Sequence[str]
    labels: NDArray[Any] | None
    modalities: Mapping[str, RawFrames]
    groups: Sequence[str] | None = None
    texts: Sequence[Any] = ()
    positions: Sequence[float] | None = None
    class_names: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class MaskedFrames:
    """One modality of one split with its mask: either `values`, or `ids` into an embedding `table`.

    Attributes:
        valid: (N, T): False for padding and missing frames. A sample without a valid frame lacks the modality.
        values: (N, T, d) float32.
        ids: (N, T): rows of `table`.
        table: (V, d) float32.
    """

    valid: BoolArray
    values: FloatArray | None = None
    ids: IntArray | None = None
    table: FloatArray | None = None

    def sample(self, row: int) -> tuple[FloatArray, BoolArray | None]:
        """Return the frames of one sample from its first to its last valid one, (T, d) float32.

        The second result is their mask (T,), or None if all of them are valid.
        """
        part, mask = trim_mask(self.valid[row])
        if self.values is not None:
            return self.values[row][part], mask
        assert self.ids is not None and self.table is not None  # noqa: S101, PT018 - set by build_frames
        return self.table[self.ids[row][part]], mask


def build_frames(raw: RawFrames, split: str, modality: str, count: int) -> tuple[MaskedFrames, list[str]]:
    """Return one modality of `count` samples with its mask, and notes about replaced values and moved masks.

    Raises:
        DataError: The values are not numbers (N, T, d), ids are outside the table, or lengths are outside 0..T.
    """
    where = f"{modality} of {split}"
    if raw.ids is not None and raw.table is not None:
        ids = _checked_ids(raw.ids, raw.table, where, count)
        valid, notes = _stated_mask(raw, _used_ids(ids, raw, where), split, modality)
        if valid is None:
            raise DataError(f"{where} consists of ids, so the file must state their lengths or their mask.")
        return MaskedFrames(valid, ids=ids, table=raw.table), notes
    values = _convert_to_float(raw.values, where)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise DataError(f"{where} must be a non-empty array (samples, frames, features), got shape {values.shape}.")
    _check_count(len(values), count, where)
    values, notes = _replace_non_finite(values, split, modality)
    nonzero = _nonzero_frames(values)
    valid, more = _stated_mask(raw, nonzero, split, modality)
    return MaskedFrames(_mask_zero_ends(nonzero) if valid is None else valid, values=values), notes + more


def _checked_ids(ids: NDArray[Any], table: FloatArray, where: str, count: int) -> IntArray:
    if ids.ndim != 2 or not np.issubdtype(ids.dtype, np.integer):
        raise DataError(f"The ids of {where} must be integers (samples, frames), got {ids.dtype} {ids.shape}.")
    _check_count(len(ids), count, where)
    if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        raise DataError(
            f"The ids of {where} must be rows 0 to {len(table) - 1} of the table, got {ids.min()} to {ids.max()}."
        )
    return ids


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
        raise DataError(f"{where} must be an array of numbers ({first_line(error)}).") from None


def _replace_non_finite(values: FloatArray, split: str, modality: str) -> tuple[FloatArray, list[str]]:
    """Return the values with 0 for those that are not finite, and a note for each kind that occurred."""
    counts: dict[str, int] = {}
    for start in range(0, len(values), _CHUNK):
        rows = values[start : start + _CHUNK]
        bad = ~np.isfinite(rows)
        if bad.any():
            if not values.flags.writeable:
                values = values.copy()
                rows = values[start : start + _CHUNK]
            for kind in map(str, rows[bad]):
                counts[kind] = counts.get(kind, 0) + 1
            rows[bad] = 0
    notes = [
        f"{modality}: {format_count(count, 'value')} in {split} {'was' if count == 1 else 'were'} {kind}, set to 0"
        for kind, count in sorted(counts.items())
    ]
    return values, notes


def _nonzero_frames(values: FloatArray) -> BoolArray:
    """Return (N, T): whether a frame has a value other than 0."""
    if not len(values):
        return np.zeros(values.shape[:2], np.bool_)
    return np.concatenate(
        [(values[start : start + _CHUNK] != 0).any(axis=2) for start in range(0, len(values), _CHUNK)]
    )


def _used_ids(ids: IntArray, raw: RawFrames, where: str) -> BoolArray:
    """Return (N, T): False for the id that fills the padding, which is the most frequent one outside the lengths."""
    if raw.valid is not None or raw.lengths is None or not ids.size:
        return np.ones(ids.shape, np.bool_)
    lengths = _checked_lengths(raw.lengths, ids.shape, where)
    at = np.arange(ids.shape[1])
    outside = np.concatenate([ids[at >= lengths[:, None]], ids[at < ids.shape[1] - lengths[:, None]]])
    used: BoolArray = ids != (np.bincount(outside).argmax() if outside.size else -1)
    return used


def _stated_mask(raw: RawFrames, nonzero: BoolArray, split: str, modality: str) -> tuple[BoolArray | None, list[str]]:
    """Return the mask that the file states, on the side on which each sample has its frames, and notes."""
    where, shape = f"{modality} of {split}", nonzero.shape
    at = np.arange(shape[1])
    if raw.valid is not None:
        if raw.valid.shape != shape:
            raise DataError(f"The mask of {where} must have the shape {shape} of the frames, got {raw.valid.shape}.")
        mask: BoolArray = raw.valid.astype(bool)
        lengths = mask.sum(axis=1)
        starts, outside = _find_starts(lengths, nonzero)
        one_side = (mask == (at < lengths[:, None])) | (mask == (at >= shape[1] - lengths[:, None]))
        # A mask with gaps, or one that covers all frames that are not zero, is meant as it is.
        moved = one_side.all(axis=1) & (nonzero & ~mask).any(axis=1) & ~outside
    elif raw.lengths is not None:
        lengths = _checked_lengths(raw.lengths, shape, where)
        mask = at < lengths[:, None]
        starts, outside = _find_starts(lengths, nonzero)
        moved = starts > 0
    else:
        return None, []
    mask[moved] = (at >= starts[moved, None]) & (at < (starts + lengths)[moved, None])
    notes = []
    if moved.any():
        notes.append(
            f"{modality}: in {split}, {format_part(int(moved.sum()), len(mask), 'sample', 'is', 'are')} not padded "
            "where the lengths or the mask say (e.g. on the left), so the frames are read from where they begin"
        )
    if raw.valid is None and raw.ids is None and outside.any():
        notes.append(
            f"{modality}: in {split}, {format_part(int(outside.sum()), len(mask), 'sample', 'has', 'have')} frames "
            "that are not zero beyond the length, which are ignored"
        )
    return mask, notes


def _checked_lengths(stated: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[np.int64]:
    lengths = np.asarray(stated).reshape(-1)
    _check_count(len(lengths), shape[0], f"lengths of {where}")
    numbers = lengths.dtype.kind in "iuf"
    if not numbers or not ((lengths >= 0) & (lengths <= shape[1]) & (lengths == np.trunc(lengths))).all():
        actual = f"{lengths.min():g} to {lengths.max():g}" if numbers else f"{lengths.dtype} values"
        raise DataError(f"The lengths of {where} must be whole numbers from 0 to {shape[1]} frames, got {actual}.")
    return lengths.astype(np.int64)


def _find_starts(lengths: NDArray[np.int64], nonzero: BoolArray) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the index of the first frame of each sample, and whether it has more frames than its length.

    A sample begins at frame 0 if all its frames that are not zero are within its length from there. Otherwise it is
    padded on the left, or on both sides, if they are within its length from a later frame. Where both is possible, e.g.
    for a sample whose last frames are zero, the other samples decide.
    """
    total = nonzero.shape[1]
    has_any = nonzero.any(axis=1)
    first = np.where(has_any, nonzero.argmax(axis=1), 0)
    last = np.where(has_any, total - 1 - nonzero[:, ::-1].argmax(axis=1), -1)
    right, left = last < lengths, ~has_any | (first >= total - lengths)
    starts = np.zeros(len(lengths), np.int64)
    starts[left & ~right] = (total - lengths)[left & ~right]
    if (left & ~right).any() and not (right & ~left).any():
        starts[left & right] = (total - lengths)[left & right]
    inside = ~left & ~right & (last - first < lengths)
    starts[inside] = first[inside]
    return starts, ~left & ~right & ~inside


def _mask_zero_ends(nonzero: BoolArray) -> BoolArray:
    """Return (N, T): True from the first to the last frame that is not all zero."""
    after_first = np.logical_or.accumulate(nonzero, axis=1)
    before_last = np.logical_or.accumulate(nonzero[:, ::-1], axis=1)[:, ::-1]
    mask: BoolArray = after_first & before_last
    return mask
