"""Validate frames and drop masked ones before a graph runs on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import MODALITIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Frames = NDArray[np.float32]


# Normalizing larger values would overflow float32. Real features are much smaller.
MAX_ABSOLUTE_VALUE = 1e30


class InputValidator:
    """Validate the frames of a bundle's modalities.

    Args:
        dims: features per frame, by modality.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        self._dims = dict(dims)

    def validate(self, *, language: Any, audio: Any, vision: Any, valid: Mapping[str, Any] | None) -> dict[str, Frames]:
        """Return the valid frames (n, d) of each modality that has any, n > 0, in float32.

        Args:
            language: None or an array (T, d) of real numbers.
            audio: the same. T may differ between modalities.
            vision: the same.
            valid: boolean masks (T,) by modality. All frames of a modality without a mask are valid.

        Raises:
            UsageError: an array or a mask does not fit the bundle, or a valid frame has a value that is not finite or
                exceeds `MAX_ABSOLUTE_VALUE`.
        """
        inputs = dict(zip(MODALITIES, (language, audio, vision)))
        validated = {}
        for name, frames in inputs.items():
            if frames is not None:
                rows = self._valid_frames(name, frames, valid.get(name) if valid is not None else None)
                if len(rows):
                    validated[name] = rows
        for name in valid or ():
            if inputs.get(name) is None:
                raise UsageError(
                    f"valid has a mask for {name!r}, which has no frames. Pass the frames or drop the mask."
                )
        return validated

    def _valid_frames(self, name: str, frames: Any, mask: Any) -> Frames:
        array = frames if type(frames) is np.ndarray and frames.dtype == np.float32 else _float32(name, frames)
        dim = self._dims.get(name)
        if dim is None:
            raise UsageError(f"This bundle has no modality {name}. Available: {', '.join(self._dims)}.")
        if array.ndim != 2 or array.shape[1] != dim:
            raise UsageError(
                f"{name} must be an array of shape (frames, {dim}), got {array.shape}. "
                "Pass the same features as in training."
            )
        rows = array if mask is None else array[_checked_mask(name, mask, len(array))]
        # One comparison covers both checks: the maximum is NaN if any value is, and every comparison with NaN fails.
        if not np.abs(rows).max(initial=0) <= MAX_ABSOLUTE_VALUE:
            raise _bad_value(name, array, mask)
        return rows


def _float32(name: str, frames: Any) -> Frames:
    if isinstance(frames, (str, bytes)):
        raise UsageError(f"{name} must be an array (frames, features), got a string. Pass words as text=.")
    try:
        array = np.asarray(frames)
    except ValueError as error:
        raise UsageError(f"{name} must be an array (frames, features): {error}.") from error
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} must have real numbers, preferably float32, got {array.dtype}.")
    with np.errstate(over="ignore"):  # values that exceed float32 become infinite and are refused later
        return array.astype(np.float32)


def _checked_mask(name: str, mask: Any, length: int) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != (length,):
        raise UsageError(
            f"The mask of {name} must be bool of shape ({length},), one value per frame, "
            f"got {array.dtype} of shape {array.shape}."
        )
    return array


def _bad_value(name: str, array: Frames, mask: Any) -> UsageError:
    bad = ~(np.abs(array) <= MAX_ABSOLUTE_VALUE)
    if mask is not None:
        bad[~np.asarray(mask)] = False
    frame, feature = np.argwhere(bad)[0]
    return UsageError(
        f"{name} must have finite values within {MAX_ABSOLUTE_VALUE:g}, got {array[frame, feature]:g} "
        f"at frame {frame}, feature {feature}. Correct the value, or mask the frame with valid={{{name!r}: mask}}."
    )
