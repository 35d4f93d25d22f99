"""What comes in: frames are checked, and masked ones dropped, before anything else sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.text.words import is_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.text.encoders import TextEncoder

    Rows = NDArray[np.float32]


# Beyond this normalizing overflows float32; no feature is so large.
LARGEST = 1e30


class InputValidator:
    """The checks of all modalities of a bundle.

    `dims`: the features a frame of each. `text`: what turns words into frames of language, None where nothing does.
    """

    def __init__(self, dims: Mapping[str, int], text: TextEncoder | None = None) -> None:
        self._dims = dict(dims)
        self.text = text

    def gather(self, given: tuple[Any, Any, Any], valid: Mapping[str, Any] | None) -> dict[str, Rows]:
        """The valid frames of each modality that has any, in order.

        Args:
            given: language, audio and vision, each None or an array (T, d) of real numbers; language also words.
            valid: by modality, a boolean mask (T,); a modality that is left out has no frame masked.

        Returns:
            By modality, (n, d) float32 with n > 0.

        Raises:
            UsageError: an array or a mask does not fit, a valid frame has a value that is not finite or beyond 1e30,
                or there is text and the bundle reads frames alone.
            BackendUnavailableError: the tokenizers library is not installed.
            InferenceError: the text encoder failed.
        """
        kept = {}
        for name, frames in zip(MODALITIES, given):
            if frames is not None:
                mask = valid.get(name) if valid is not None else None
                text_input = name == "language" and is_text(frames)
                text = frames if isinstance(frames, str) or not text_input else " ".join(frames)
                rows = self._text_input(text, mask) if text_input else self._rows(name, frames, mask)
                if len(rows):
                    kept[name] = rows
        if valid is not None:
            self._refuse_masks_of_nothing(given, valid)
        return kept

    def words(self) -> TextEncoder:
        """The text encoder of words.

        Raises:
            UsageError: the bundle has none.
        """
        if self.text is None:
            takes = f"frames (T, {self._dims['language']})" if "language" in self._dims else ", ".join(self._dims)
            raise UsageError(f"language was given as words, this bundle reads {takes}; export one that reads words")
        return self.text

    def _text_input(self, text: str, mask: Any) -> Rows:
        text_encoder = self.words()
        if mask is not None:
            raise UsageError("language was given as words with a mask; masks go with frames: leave the words out")
        return text_encoder.frames(text)

    def _rows(self, name: str, frames: Any, mask: Any) -> Rows:
        array = frames if type(frames) is np.ndarray and frames.dtype == np.float32 else _float32(name, frames)
        dim = self._dims.get(name)
        if dim is None:
            raise UsageError(f"{name} was given, this bundle reads {', '.join(self._dims)}; leave {name} out")
        if array.ndim != 2 or array.shape[1] != dim:
            raise UsageError(
                f"{name} has shape {array.shape}, wanted is (frames, {dim}): features as it was trained on"
            )
        rows = array if mask is None else array[_checked_mask(name, mask, len(array))]
        # One check for both: the largest of NaN and anything is NaN, which fails every comparison.
        if not np.abs(rows).max(initial=0) <= LARGEST:
            _refuse_value(name, array, mask)
        return rows

    def _refuse_masks_of_nothing(self, given: tuple[Any, Any, Any], valid: Mapping[str, Any]) -> None:
        there = [name for name, frames in zip(MODALITIES, given) if frames is not None]
        for name in valid:
            if name not in there:
                raise UsageError(
                    f"valid has a mask for {name!r}, frames were given for {', '.join(there) or 'nothing'}"
                )


def _float32(name: str, frames: Any) -> Rows:
    try:
        array = np.asarray(frames)
    except ValueError as error:
        raise UsageError(f"{name} is no array: {error}; give an array (frames, features)") from error
    if array.dtype.kind not in "fiu":
        raise UsageError(f"{name} has type {array.dtype}, wanted are real numbers, float32 at best")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return array.astype(np.float32)


def _checked_mask(name: str, mask: Any, length: int) -> NDArray[np.bool_]:
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != (length,):
        raise UsageError(f"the mask of {name} is {array.dtype} {array.shape}, wanted is bool ({length},): one a frame")
    return array


def _refuse_value(name: str, array: Rows, mask: Any) -> None:
    bad = ~(np.abs(array) <= LARGEST)
    if mask is not None:
        bad[~np.asarray(mask)] = False
    frame, feature = np.argwhere(bad)[0]
    raise UsageError(
        f"{name} is {array[frame, feature]:g} at frame {frame}, feature {feature}, wanted are numbers "
        f"within {LARGEST:g}; repair it or mask the frame: valid={{...: mask}}"
    )
