"""The audio front end: log-mel energies, pitch, voicing, energy and voice activity, 100 frames per second."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edge_msa_runtime.audio import voice_activity
from edge_msa_runtime.audio.pitch import HIGHEST_HZ, LOWEST_HZ, START_HZ, VOICED, PitchTracker
from edge_msa_runtime.audio.voice_activity import VoiceActivity
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.front_ends import TimedFrames
from edge_msa_runtime.media.signals import SAMPLE_RATE, Sound
from edge_msa_runtime.vendor_packages import import_package

MEL_BINS = 40
LOG_PITCH = MEL_BINS
"""Column of the log pitch in a frame."""
VOICING = MEL_BINS + 1
"""Column of the voicing."""
LOG_ENERGY = MEL_BINS + 2
"""Column of the log energy."""
VOICE_ACTIVITY = MEL_BINS + 3
"""Column of the voice activity."""
WIDTH = MEL_BINS + 4
"""Features per frame."""

SOURCE = FeatureSource(
    "edge-msa audio",
    "1",
    100.0,
    (
        *(f"log_mel_{number}" for number in range(1, MEL_BINS + 1)),
        "log_pitch",
        "voicing",
        "log_energy",
        "voice_activity",
    ),
    (*(("log power",) * MEL_BINS), "log Hz", "", "log power", ""),
    {
        "sample_rate_hz": SAMPLE_RATE,
        "window_ms": 25,
        "shift_ms": 10,
        "window": "povey",
        "preemphasis": 0.97,
        "mel_bins": MEL_BINS,
        "mel_low_hz": 20,
        "mel_high_hz": 7600,
        "pitch_low_hz": LOWEST_HZ,
        "pitch_high_hz": HIGHEST_HZ,
        "pitch_start_hz": START_HZ,
        "pitch_voicing": VOICED,
        "activity_snr_db": voice_activity.SNR_DB,
        "activity_voicing": voice_activity.VOICING,
        "activity_change": voice_activity.CHANGE,
        "activity_hold_frames": voice_activity.HOLD_FRAMES,
    },
)
"""What datasets and bundles state about frames of this front end."""

_SHIFT = 160
_SAMPLES = 400
_GAP = 0.005  # a sound that begins at most so much too early or too late continues the previous one
_LARGEST = 1e4  # larger samples are not sound


class AudioFrontEnd:
    """Computes a frame each 10 ms from windows of 25 ms. Frame k of a run has the time of its last sample.

    A run is sound without a gap. The frames of a run depend on nothing before it. If a sound does not continue the
    previous one, a new run begins, and the last 25 ms of the previous one give no frame.

    Needs the package kaldi-native-fbank.

    Attributes:
        modality: `audio`.
        source: what datasets and bundles state about the frames.
        period: 0.01 s.

    Raises:
        PackageImportError: kaldi-native-fbank is missing.
    """

    modality = "audio"
    source = SOURCE
    period = 0.01

    def __init__(self) -> None:
        self._kaldi = import_package("kaldi_native_fbank")
        self._options = _fbank_options(self._kaldi)
        self._start(0.0)

    def push(self, signal: Sound) -> TimedFrames:
        """Return the frames that a sound completes: (n, 44).

        Samples that are not finite, or far too large, are replaced by 0. Frames with such a sample are not valid.

        Raises:
            UsageError: the samples are not one-dimensional, or the time is not finite.
        """
        samples = np.asarray(signal.samples, np.float32)
        if samples.ndim != 1 or not math.isfinite(signal.time):
            raise UsageError(
                f"Sound must have a finite time and samples of shape (n,), got {signal.time} and {samples.shape}. "
                "Average the channels."
            )
        if not self._received or abs(signal.time - self._begin - self._received / SAMPLE_RATE) > _GAP:
            self._start(signal.time)
        good = np.abs(samples) <= _LARGEST
        samples = np.where(good, samples, np.float32(0))
        first = self._frames
        frames = self._compute(samples)
        return TimedFrames(self._time(first), frames, self._mask(good, len(frames)))

    def finish(self) -> TimedFrames:
        """Return no frames, because nothing remains, and start again for another recording."""
        time = self._time(self._frames)
        self._start(0.0)
        return TimedFrames(time, np.empty((0, WIDTH), np.float32))

    def _start(self, time: float) -> None:
        self._begin = time
        self._received = 0
        self._frames = 0
        self._good = np.ones(0, bool)
        self._fbank = self._kaldi.OnlineFbank(self._options)
        self._pitch = PitchTracker()
        self._activity = VoiceActivity()

    def _time(self, frame: int) -> float:
        return self._begin + (frame * _SHIFT + _SAMPLES) / SAMPLE_RATE

    def _compute(self, samples: Any) -> Any:
        self._received += len(samples)
        if len(samples):
            self._fbank.accept_waveform(SAMPLE_RATE, samples)
        ready = self._fbank.num_frames_ready
        frames = np.empty((ready - self._frames, WIDTH), np.float32)
        for index in range(len(frames)):
            energies = self._fbank.get_frame(self._frames + index)
            frames[index, LOG_ENERGY] = energies[0]
            frames[index, :MEL_BINS] = energies[1:]
        self._fbank.pop(len(frames))
        frames[:, LOG_PITCH : VOICING + 1] = self._pitch.push(samples)
        frames[:, VOICE_ACTIVITY] = self._activity.push(frames[:, :MEL_BINS], frames[:, VOICING], frames[:, LOG_ENERGY])
        self._frames = ready
        return frames

    def _mask(self, good: Any, count: int) -> Any:
        """Return which of the last frames have good samples only, None if all have."""
        good = np.concatenate([self._good, good])
        self._good = good[count * _SHIFT :]
        if good.all():
            return None
        return np.array([good[k * _SHIFT : k * _SHIFT + _SAMPLES].all() for k in range(count)], bool)


def _fbank_options(kaldi: Any) -> Any:
    options = kaldi.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = MEL_BINS
    options.mel_opts.low_freq = SOURCE.parameters["mel_low_hz"]
    options.mel_opts.high_freq = SOURCE.parameters["mel_high_hz"]
    options.use_energy = True
    return options
