"""Voice activity from the frames of the audio front end: voiced sound above the noise whose spectrum keeps changing.

A frame is evidence for a voice if it is voiced, at least 3 dB louder than the noise, and if the shape of the spectrum
has changed during the last 250 ms, as that of speech does and that of a held note does not. Three such frames among ten
begin a voice. It ends 200 ms after the last three. The noise level follows quiet frames at once, unvoiced sound within
half a second, and other sound by 3 dB per second. Nothing depends on later frames.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any

import numpy as np

SNR_DB = 3.0
"""How much louder than the noise a voice is."""
VOICING = 0.5
"""The least voicing of a voiced frame."""
CHANGE = 0.7
"""The least spectral change, as median. Held notes have .2 to .4, noise .8 to .9, speech 1 to 4."""
HOLD_FRAMES = 20
"""Frames from the last evidence to the end of a voice."""

_CHANGE_SPAN = 8  # compare the spectrum with that of 80 ms ago
_CHANGE_FRAMES = 25
_NEEDED, _AMONG = 3, 10
_UNVOICED = 50  # frames without voicing, after which any sound counts as noise
_FALL, _RISE, _SLOW_RISE = 0.2, 0.03, 0.03  # per frame: shares of the distance, and dB
_LOWEST = -60.0  # level of the noise, in dB
_DECIBELS = 10 / math.log(10)  # per unit of the natural logarithm


class VoiceActivity:
    """Decides for each frame whether somebody speaks."""

    def __init__(self) -> None:
        self._noise = math.nan
        self._unvoiced = _UNVOICED
        self._spectra: deque[Any] = deque(maxlen=_CHANGE_SPAN + 1)
        self._changes: deque[float] = deque(maxlen=_CHANGE_FRAMES)
        self._evidence: deque[bool] = deque(maxlen=_AMONG)
        self._hold = 0

    def push(self, log_mels: Any, voicing: Any, log_energies: Any) -> Any:
        """Return (n,) float32, 1 for frames with a voice and 0 for others.

        Args:
            log_mels: (n, bins) natural logarithms of the power.
            voicing: (n,) from 0 to 1.
            log_energies: (n,) natural logarithms of the energy.
        """
        spectra = np.asarray(log_mels, np.float64)
        levels = np.asarray(log_energies, np.float64) * _DECIBELS
        pairs = zip(voicing.tolist(), levels.tolist())
        return np.array([self._decide(spectra[k], *pair) for k, pair in enumerate(pairs)], np.float32)

    def _decide(self, spectrum: Any, voicing: float, level: float) -> bool:
        self._follow(level, voiced=voicing >= VOICING)
        self._spectra.append(spectrum)
        self._changes.append(float((spectrum - self._spectra[0]).std()))
        changing = statistics.median(self._changes) >= CHANGE
        self._evidence.append(changing and voicing >= VOICING and level >= self._noise + SNR_DB)
        self._hold = HOLD_FRAMES if sum(self._evidence) >= _NEEDED else max(self._hold - 1, 0)
        return self._hold > 0

    def _follow(self, level: float, *, voiced: bool) -> None:
        """Update the level of the noise."""
        self._unvoiced = 0 if voiced else self._unvoiced + 1
        if math.isnan(self._noise):
            self._noise = level
        distance = level - self._noise
        if distance < 0:
            self._noise += _FALL * distance
        elif self._unvoiced > _UNVOICED:
            self._noise += _RISE * distance
        else:
            self._noise += min(_SLOW_RISE, distance)
        self._noise = max(self._noise, _LOWEST)
