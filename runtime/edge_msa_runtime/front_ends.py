"""Front ends compute the frames of one modality from sound or pictures, in training and on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.features import FeatureSource


class TimedFrames(NamedTuple):
    """Consecutive frames of one modality.

    Attributes:
        time: time of the first frame in seconds. A frame has the time at which all of its sound or its picture was
            recorded, so a frame never depends on anything later.
        frames: (n, d) float32; n can be 0.
        valid: mask (n,); None if all frames are valid. Frames of pictures without a face are not valid.
    """

    time: float
    frames: NDArray[Any]
    valid: NDArray[Any] | None = None


class FrontEnd(Protocol):
    """Computes the frames of one modality. The result does not depend on how a recording is divided into pushes.

    Attributes:
        modality: `audio` or `vision`.
        source: name, version, parameters, model and frame rate, as datasets and bundles state them.
        period: seconds between frames.
    """

    modality: str
    source: FeatureSource
    period: float

    def push(self, signal: Any) -> TimedFrames:
        """Return the frames that this `Sound` or `Picture` completes."""

    def finish(self) -> TimedFrames:
        """Return the frames that remain at the end of the recording, and start again for another one."""
