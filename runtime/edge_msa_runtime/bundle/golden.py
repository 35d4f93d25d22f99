"""Golden vectors: inputs of a bundle and the predictions of torch for them.

`golden.npz` holds for each case `<case>/<modality>` (T, d), raw float32 frames, and `<case>/prediction` (outputs,), the
float32 prediction of torch. The name of a case is its subset, such as `la`. If the bundle accepts text, `<case>/text`
replaces the frames of language, which are those that torch computed from the text.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.bundle.manifest import GOLDEN_NAME
from edge_msa_runtime.errors import BundleError, DataError
from edge_msa_runtime.inputs.npz_files import load_arrays
from edge_msa_runtime.modalities import Subset

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.bundle.loader import Bundle
    from edge_msa_runtime.bundle.manifest import Manifest


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """One case.

    Attributes:
        subset: its modalities.
        frames: raw frames (T, d) by modality.
        prediction: (outputs,) of torch at float32.
        text: the text of language, or None.
    """

    subset: Subset
    frames: Mapping[str, Any]
    prediction: NDArray[np.float32]
    text: str | None = None

    @property
    def inputs(self) -> dict[str, Any]:
        """Arguments for `Session.predict`: the frames, or text instead of those of language."""
        if self.text is None:
            return dict(self.frames)
        return {"text": self.text, **{name: frames for name, frames in self.frames.items() if name != "language"}}


def load_golden(bundle: Bundle) -> tuple[GoldenCase, ...]:
    """Load the golden cases of a bundle, in the order of the subsets.

    Raises:
        BundleError: the bundle has no golden vectors, or the file is invalid.
    """
    if bundle.golden is None:
        raise BundleError(f"The bundle has no {GOLDEN_NAME}. Export the bundle again.")
    try:
        arrays = load_arrays(bundle.golden, "Export the bundle again.")
    except DataError as error:
        raise BundleError(str(error)) from error
    cases = [_case(subset, arrays, bundle.manifest) for subset in Subset if f"{subset.value}/prediction" in arrays]
    if not cases:
        raise BundleError(f"{GOLDEN_NAME} has no cases. Export the bundle again.")
    return tuple(cases)


def _case(subset: Subset, arrays: Mapping[str, Any], manifest: Manifest) -> GoldenCase:
    for name in subset.modalities:
        if name not in manifest.modalities:
            raise _invalid(f"has the subset {subset.value}, but the bundle has no modality {name}")
        if f"{subset.value}/{name}" not in arrays:
            raise _invalid(f"has no array {subset.value}/{name}")
    frames = {name: arrays[f"{subset.value}/{name}"] for name in subset.modalities}
    for name, values in frames.items():
        dim = manifest.modalities[name].dim
        if values.ndim != 2 or values.shape[1] != dim or not len(values) or not _is_finite(values):
            raise _invalid(f"{subset.value}/{name} must be finite float32 of shape (frames, {dim})", values)
    prediction = arrays[f"{subset.value}/prediction"]
    if prediction.shape != (manifest.task.outputs,) or not _is_finite(prediction):
        raise _invalid(
            f"{subset.value}/prediction must be finite float32 of shape ({manifest.task.outputs},)", prediction
        )
    text = arrays.get(f"{subset.value}/text") if manifest.language is not None else None
    if text is not None and (text.dtype.kind != "U" or text.ndim):
        raise _invalid(f"{subset.value}/text must be one string", text)
    return GoldenCase(subset, frames, prediction, None if text is None else str(text))


def _is_finite(values: NDArray[Any]) -> bool:
    return values.dtype == np.float32 and bool(np.isfinite(values).all())


def _invalid(problem: str, got: NDArray[Any] | None = None) -> BundleError:
    actual = "" if got is None else f", got {got.dtype} of shape {got.shape}"
    return BundleError(f"{GOLDEN_NAME}: {problem}{actual}. Do not use the bundle; export it again.")
