"""Validate frames and drop masked ones before a graph runs on them, or put the gap frame in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.arrays import as_array, as_float32
from edge_msa_runtime.inputs.gaps import fill_gaps, find_gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = NDArray[np.float32]


# Real features are much smaller. Larger values could overflow float32 in a graph that does not clip them.
MAX_ABSOLUTE_VALUE = 1e30
MAX_NORM_RATIO = 1.5
"""Frames are far out of range if the root mean square of their norms exceeds the largest norm of a clipped training
frame by this factor.

In held-out utterances of CMU-MOSI and ICT-MMMO it is .08 to 1.07 times the largest norm. If their values are multiplied
by 10, all of them are far out of range (of the vision features of ICT-MMMO, 67 %); multiplied by 100, all are.
"""
_FLOAT32 = np.dtype(np.float32)
_INFINITY = float("inf")


class InputValidator:
    """Validate the frames of a bundle's modalities.

    Args:
        dims: features per frame, by modality.
        max_norms: the largest Euclidean norm of a clipped training frame, by modality; others have no limit.
        gap_frames: the raw frame (d,) that takes the place of masked ones, by modality; others have none.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        max_norms: Mapping[str, float] | None = None,
        gap_frames: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self._dims = dict(dims)
        self.gap_frames = {name: np.array(frame, np.float32) for name, frame in (gap_frames or {}).items()}
        self._limits = {name: (MAX_NORM_RATIO * norm) ** 2 for name, norm in (max_norms or {}).items()}

    def validate(
        self, *, language: Any, audio: Any, vision: Any, valid: Mapping[str, Any] | None
    ) -> tuple[dict[str, Frames], tuple[str, ...], dict[str, int]]:
        """Return the rows (n, d) for a graph of each modality that has a valid frame, n > 0, in float32.

        They are the valid frames, and a gap frame wherever masked frames are between two of them. The second result
        names the modalities whose frames are far out of the range seen in training (`MAX_NORM_RATIO`). The third is the
        number of gap frames of each modality that has any.

        Frames and masks may be NumPy arrays, tensors of torch or of any library with DLPack, buffers or nested lists. A
        frame of a NumPy masked array is valid if none of its values is masked.

        Args:
            language: None or an array (T, d) of real numbers.
            audio: the same. T may differ between modalities.
            vision: the same.
            valid: boolean masks (T,) by modality. All frames of a modality without a mask are valid.

        Raises:
            UsageError: an array or a mask does not fit the bundle, or a valid frame has a value that is not finite or
                exceeds `MAX_ABSOLUTE_VALUE`.
        """
        validated = {}
        far: tuple[str, ...] = ()
        gaps: dict[str, int] = {}
        inputs = (("language", language), ("audio", audio), ("vision", vision))
        if valid is not None:
            _check_masks(valid, dict(inputs))
        for name, frames in inputs:
            if frames is not None:
                rows, mask, energy = self._valid_frames(name, frames, None if valid is None else valid.get(name))
                if len(rows):
                    validated[name] = rows
                    if energy > self._limits.get(name, _INFINITY) * len(rows):
                        far += (name,)
                    if mask is not None and name in self.gap_frames and len(found := find_gaps(mask)):
                        validated[name] = fill_gaps(rows, found, self.gap_frames[name])
                        gaps[name] = len(found)
        return validated, far, gaps

    def validate_chunk(
        self, name: str, frames: Any, mask: Any, mask_bad: bool = False
    ) -> tuple[Frames, NDArray[np.bool_] | None, bool]:
        """Return the valid frames (n, d) of a modality as an array of their own, so that the caller may reuse his.

        The second result says which frames are valid, (T,), or is None if all are. The third says whether the frames
        are far out of the range seen in training.

        Args:
            name: a modality of the bundle.
            frames: as in `validate`.
            mask: boolean mask (T,); None if all frames are valid.
            mask_bad: whether to mask frames with bad values instead of raising an error.

        Raises:
            UsageError: as in `validate`.
        """
        is_exact = type(frames) is np.ndarray and frames.dtype is _FLOAT32
        array: Frames = frames.copy() if is_exact else as_float32(name, frames)
        shape = array.shape
        if len(shape) != 2 or shape[1] != self._dims[name]:
            if shape != (0,):  # an empty list says nothing about the width
                raise self._shape_error(name, array)
            array = np.zeros((0, self._dims[name]), np.float32)
            shape = array.shape
        if is_exact and mask is None:  # what sensors send most of the time
            power: Any = np.vdot(array, array)
            if power < _INFINITY:
                return array, None, power > self._limits.get(name, _INFINITY) * shape[0]
        valid = _valid_mask(name, array, mask)
        if not is_exact:
            array = np.array(array, np.float32)
        rows = array if valid is None else array[valid]
        energy: Any = np.vdot(rows, rows)
        if not energy < _INFINITY:
            if mask_bad:
                good = np.asarray((np.abs(array) <= MAX_ABSOLUTE_VALUE).all(axis=1))
                valid = good if valid is None else np.logical_and(valid, good)
                rows = array[valid]
                energy = np.vdot(rows, rows)
            else:
                _check_values(name, array, valid, as_array(name, frames))
        if valid is not None and valid.all():
            valid = None
        return rows, valid, bool(energy > self._limits.get(name, _INFINITY) * len(rows))

    def _valid_frames(self, name: str, frames: Any, mask: Any) -> tuple[Frames, NDArray[np.bool_] | None, float]:
        """Return the valid frames of a modality, which ones they are, and the sum of the squares of their values.

        The second result is None if all frames are valid.
        """
        is_exact = type(frames) is np.ndarray and frames.dtype == _FLOAT32
        array: Frames = frames if is_exact else as_float32(name, frames)
        shape = array.shape
        if len(shape) != 2 or shape[1] != self._dims.get(name):
            raise self._shape_error(name, array)
        if is_exact and mask is None:
            valid, rows = None, array
        else:
            valid = _valid_mask(name, array, mask)
            rows = np.asarray(array) if valid is None else np.asarray(array)[valid]
        # The sum of squares is finite only if all values are finite and below 1.8e19. Unlike other functions, vdot
        # needs no copy and gives no warning if it overflows.
        energy: Any = np.vdot(rows, rows)
        if not energy < _INFINITY:
            _check_values(name, np.asarray(array), valid, as_array(name, frames))
        return rows, valid, energy

    def _shape_error(self, name: str, array: Frames) -> UsageError:
        if name not in self._dims:
            return UsageError(f"This bundle has no modality {name}. Available: {', '.join(self._dims)}.")
        return UsageError(
            f"{name} must be an array of shape (frames, {self._dims[name]}), got {array.shape}. "
            "Pass the same features as in training."
        )


def range_warnings(far: Iterable[str]) -> tuple[str, ...]:
    """Return the warnings of a prediction from modalities with frames far out of range."""
    return tuple(f"{name}: values far out of the range seen in training were clipped" for name in far)


def _check_masks(valid: Any, inputs: Mapping[str, Any]) -> None:
    if not isinstance(valid, Mapping):
        raise UsageError(
            f"valid must be a mapping of masks by modality, got {type(valid).__name__}. "
            "Pass it as valid={'audio': mask}."
        )
    for name in valid:
        if inputs.get(name) is None:
            raise UsageError(f"valid has a mask for {name!r}, which has no frames. Pass the frames or drop the mask.")


def _valid_mask(name: str, array: Frames, mask: Any) -> NDArray[np.bool_] | None:
    """Return which frames are valid, (T,), or None if all are."""
    valid = None if mask is None else _checked_mask(name, mask, len(array))
    if not isinstance(array, np.ma.MaskedArray):
        return valid
    unmasked: NDArray[np.bool_] = np.logical_not(np.asarray(np.ma.getmaskarray(array)).any(axis=1))
    return unmasked if valid is None else unmasked & valid


def _checked_mask(name: str, mask: Any, length: int) -> NDArray[np.bool_]:
    array = as_array(f"The mask of {name}", mask)
    if array.shape == (0,) == (length,):  # an empty list has no type
        return np.zeros(0, np.bool_)
    if array.dtype != np.bool_ or array.shape != (length,):
        raise UsageError(
            f"The mask of {name} must be bool of shape ({length},), one value per frame, "
            f"got {array.dtype} of shape {array.shape}. Pass one True or False per frame."
        )
    # A masked value of the mask says nothing about its frame.
    return array.filled(fill_value=False) if isinstance(array, np.ma.MaskedArray) else array


def _check_values(name: str, array: Frames, valid: NDArray[np.bool_] | None, original: NDArray[Any]) -> None:
    """Raise a UsageError that names the first bad value of a valid frame, if there is one.

    Args:
        name: the modality.
        array: its frames in float32, in which large values of float64 are infinite.
        valid: which frames are valid; None if all are.
        original: the frames as they were passed, for the message.
    """
    bad = ~(np.abs(array) <= MAX_ABSOLUTE_VALUE)
    if valid is not None:
        bad[~valid] = False
    if bad.any():
        frame, feature = np.argwhere(bad)[0]
        raise UsageError(
            f"{name} must have finite values within {MAX_ABSOLUTE_VALUE:g}, got {float(original[frame, feature]):g} "
            f"at frame {frame}, feature {feature}. Correct the value, or mask the frame."
        )
