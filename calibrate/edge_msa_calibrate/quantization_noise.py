"""What the rounding of INT8 leaves of a tensor: signal to quantization noise, from its histogram."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edge_msa_calibrate.histogram import Histogram

LEAST = 35.0
"""Decibels that a layer's input must keep. Inputs whose values fill their range keep 38 to 43; those of heavy-tailed
features (COVAREP, openSMILE) kept 22 to 34, and on subsets that hang on them predictions of int8 correlated with those of
float32 by .91 to .98."""
_STEPS = 255


def signal_to_noise(histogram: Histogram, low: float, high: float) -> float:
    """Variance of the values over that of what rounding to 8 bits and clipping to [low, high] change, in dB.

    Rounding errors are taken as uniform within a step (Widrow and Kollar 2008). Values that do not vary have nothing to
    lose: infinite.
    """
    centers = histogram.centers
    shares = histogram.counts / histogram.count
    mean = float((shares * centers).sum())
    variance = float((shares * (centers - mean) ** 2).sum())
    beyond = np.maximum(centers - high, 0) + np.maximum(low - centers, 0)
    noise = ((high - low) / _STEPS) ** 2 / 12 + float((shares * beyond**2).sum())
    return 10 * math.log10(variance / noise) if variance > 0 and noise > 0 else math.inf


def too_coarse(
    histograms: Mapping[str, Histogram], ranges: Mapping[str, tuple[float, float]], least: float = LEAST
) -> dict[str, str]:
    """The weights of encoders whose layers INT8 is too coarse for, by what they read, each with the reason.

    A language text encoder is left out: its layers are smoothed, channel by channel.
    """
    found = {}
    for key, histogram in histograms.items():
        weight, _, end = key.rpartition(":")
        if end != "input" or not weight.startswith("encoders.") or key not in ranges:
            continue
        kept = signal_to_noise(histogram, *ranges[key])
        if kept < least:
            found[weight] = (
                f"its input would keep {kept:.0f} dB over int8's rounding, {least:g} are wanted: heavy tails"
            )
    return found
