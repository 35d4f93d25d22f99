"""Pitch and voicing of sound, frame by frame.

The method is that of Ghahremani et al., "A pitch extraction algorithm tuned for automatic speech recognition" (ICASSP
2014): a normalized cross-correlation of the sound with its own past, and a path through the candidates that changes
little. Here, the path is never revised, and the correlation looks at the past only. A frame
therefore depends on nothing later, and the memory does not grow. (`OnlinePitch` of kaldi-native-fbank needs 3.8 KB per
frame, and its results depend on how the sound is divided into chunks.)

Voicing is the correlation at the period, less the lowest one at shorter lags if that is positive. Wind and rumble
correlate at all short lags, a voice does not.

Every frame is computed alone, from arrays of fixed shapes, without FFT and BLAS. The result therefore does not depend
on chunks, and processors differ only in the rounding of sines, exponentials and logarithms.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge_msa_runtime.media.signals import SAMPLE_RATE

LOWEST_HZ = 60.0
HIGHEST_HZ = 500.0
START_HZ = 150.0
"""Pitch before the first voiced frame."""
VOICED = 0.55
"""Voicing from which a frame counts as voiced."""

_SHIFT = 160  # samples from one frame to the next
_SAMPLES = 400  # samples until the end of the first frame
_FACTOR = 4  # correlate at 4 kHz
_RATE = SAMPLE_RATE // _FACTOR
_CUTOFF_HZ = 1000.0
_TAPS = 48
_WINDOW = 128  # correlated values: 32 ms
_WIDTH = 5  # values on each side of a lag for its interpolation
_SHORTEST, _LONGEST = math.floor(_RATE / HIGHEST_HZ) - _WIDTH, math.ceil(_RATE / LOWEST_HZ) + _WIDTH
_STEP = 0.02  # between candidates, of the logarithm
_PENALTY = 0.1  # cost of a change of the logarithm by 1
_SOFT_MINIMUM_HZ = 10.0  # prefers short lags, so that multiples of the period are not chosen
_BALLAST = (_WINDOW * 1e-8) ** 2  # sound below -80 dB counts as unvoiced


class PitchTracker:
    """Computes log pitch and voicing of frames of 25 ms, one each 10 ms. Frame k ends with sample 160 k + 400."""

    def __init__(self) -> None:
        log_lags = np.arange(math.log(1 / HIGHEST_HZ), math.log(1 / LOWEST_HZ) + _STEP / 2, _STEP)
        lags = np.exp(log_lags)
        self._log_pitches = -log_lags
        self._taps = _low_pass()
        self._interpolation = _interpolation(lags * _RATE)
        self._shorter = np.floor(lags * _RATE).astype(int) - _SHORTEST + 1
        self._weights = 1 - _SOFT_MINIMUM_HZ * lags
        self._penalties = _PENALTY * (log_lags[:, None] - log_lags[None, :]) ** 2
        # Zeros come first, so that frames end with a multiple of the shift.
        self._pending = np.zeros(-_SAMPLES % _SHIFT)
        self._to_skip = -(-_SAMPLES // _SHIFT) - 1
        self._filtered = np.zeros(_TAPS - _FACTOR)
        self._decimated = np.zeros(_WINDOW + _LONGEST)
        self._costs = np.zeros(len(lags))
        self._held = math.log(START_HZ)

    def push(self, samples: Any) -> Any:
        """Return (n, 2) float64, log pitch and voicing of the frames that these samples complete.

        Log pitch is the natural logarithm of Hz. An unvoiced frame has that of the last voiced one.

        Args:
            samples: (m,) finite, from -1 to 1.
        """
        pending = np.concatenate([self._pending, samples])
        count = len(pending) // _SHIFT
        self._pending = pending[count * _SHIFT :]
        frames = np.empty((count, 2))
        for index in range(count):
            self._decimate(pending[index * _SHIFT : (index + 1) * _SHIFT])
            if self._to_skip:
                self._to_skip -= 1
                frames[index] = np.nan
            else:
                frames[index] = self._track()
        return frames[~np.isnan(frames[:, 0])]

    def _decimate(self, samples: Any) -> None:
        """Append 10 ms at 4 kHz."""
        filtered = np.concatenate([self._filtered, samples])
        self._filtered = filtered[_SHIFT:].copy()
        added = (_windows(filtered, _TAPS, _FACTOR) * self._taps).sum(axis=1)
        self._decimated = np.concatenate([self._decimated[len(added) :], added])

    def _track(self) -> tuple[float, float]:
        """Return log pitch and voicing of the frame that ends now."""
        values = self._decimated - self._decimated.mean()
        current = values[_LONGEST:]
        past = _windows(values[: len(values) - _SHORTEST], _WINDOW)[::-1]  # by lag, shortest first
        products = (past * current).sum(axis=1)
        energies = (past * past).sum(axis=1) * (current * current).sum()
        normalized = products / np.sqrt(energies + _BALLAST)
        correlations = (self._interpolation * normalized).sum(axis=1)
        weighted = correlations * self._weights
        costs = (self._costs + self._penalties).min(axis=1) + (1 - weighted)
        self._costs = costs - costs.min()
        best = int(self._costs.argmin())
        # Between two peaks, a periodic sound has a low correlation. Wind and rumble have not: they only change slowly.
        lowest = float(normalized[: self._shorter[best]].min())
        voicing = min(max(float(correlations[best]) - max(lowest, 0.0), 0.0), 1.0)
        if voicing >= VOICED:
            self._held = float(self._log_pitches[best]) - _STEP * _peak_offset(weighted, best)
        return self._held, voicing


def _peak_offset(values: Any, index: int) -> float:
    """Return how far the peak of the parabola through three values is from the middle one, from -0.5 to 0.5."""
    if not 0 < index < len(values) - 1:
        return 0.0
    before, middle, after = (float(value) for value in values[index - 1 : index + 2])
    curvature = before - 2 * middle + after
    if curvature >= 0:
        return 0.0
    return min(max((before - after) / (2 * curvature), -0.5), 0.5)


def _low_pass() -> Any:
    """Return the taps of a windowed sinc filter."""
    positions = np.arange(_TAPS) - (_TAPS - 1) / 2
    taps = np.sinc(2 * _CUTOFF_HZ / SAMPLE_RATE * positions) * np.hanning(_TAPS + 2)[1:-1]
    return taps / taps.sum()


def _interpolation(lags: Any) -> Any:
    """Return the matrix (candidates, whole lags) that computes correlations at any lag from those at whole ones."""
    distances = lags[:, None] - np.arange(_SHORTEST, _LONGEST + 1)[None, :]
    inside = np.abs(distances) < _WIDTH
    matrix = np.where(inside, np.sinc(distances) * (0.5 + 0.5 * np.cos(np.pi * distances / _WIDTH)), 0)
    return matrix / matrix.sum(axis=1, keepdims=True)


def _windows(values: Any, length: int, step: int = 1) -> Any:
    """Return all windows of some length as rows, without copying."""
    (stride,) = values.strides
    count = (len(values) - length) // step + 1
    return np.lib.stride_tricks.as_strided(values, (count, length), (step * stride, stride), writeable=False)
