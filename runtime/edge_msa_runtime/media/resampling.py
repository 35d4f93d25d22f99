"""Any sound as one channel of float32 at 16 kHz, piece by piece."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa_runtime.media.signals import SAMPLE_RATE
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LAYOUT = "mono"
_FORMAT = "fltp"


class Resampler:
    """Resamples one channel to 16 kHz. The output does not depend on how the input is divided into pieces.

    Output sample k belongs to the time k / 16000 after the first input sample.

    Args:
        rate: samples per second of the input.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._received = 0
        self._av = import_package("av")
        # FFmpeg's resampler; the graph of PyAV is made at the first samples.
        self._resampler = None
        if rate != SAMPLE_RATE:
            self._resampler = self._av.AudioResampler(format=_FORMAT, layout=_LAYOUT, rate=SAMPLE_RATE)

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the samples (m,) that these samples (n,) complete."""
        if self._resampler is None or not len(samples):
            return samples
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format=_FORMAT, layout=_LAYOUT)
        frame.sample_rate = self._rate
        frame.pts = self._received
        frame.time_base = Fraction(1, self._rate)
        self._received += len(samples)
        return self._join(self._resampler.resample(frame))

    def finish(self) -> NDArray[np.float32]:
        """Return the samples that remain at the end of the sound. No other method may be called afterwards."""
        if self._resampler is None or not self._received:
            return np.zeros(0, np.float32)
        return self._join(self._resampler.resample(None))

    @staticmethod
    def _join(frames: Any) -> NDArray[np.float32]:
        pieces = [np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)]
        return np.concatenate(pieces)


def average_channels(frame: Any) -> NDArray[np.float32]:
    """Return the mean of the channels of a decoded PyAV frame of any sample format: (n,) float32 from -1 to 1."""
    values = frame.to_ndarray()
    return mean_of_channels(values.T if frame.format.is_planar else values.reshape(-1, len(frame.layout.channels)))


def mean_of_channels(channels: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean of samples (n, channels), integers or floating-point numbers, as (n,) float32 from -1 to 1.

    Samples that are not finite become 0, and others are limited to -1 and 1.
    """
    if channels.dtype == np.uint8:
        scaled = (channels.astype(np.float64) - 128) / 128
    elif channels.dtype.kind == "i":
        scaled = channels.astype(np.float64) / -float(np.iinfo(channels.dtype).min)
    else:
        scaled = np.nan_to_num(channels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    mean: NDArray[np.float32] = np.clip(scaled.mean(axis=1), -1, 1).astype(np.float32)
    return mean
