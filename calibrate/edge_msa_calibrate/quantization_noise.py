"""Estimate the signal-to-noise ratio that INT8 rounding leaves, from a tensor's histogram."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edge_msa_calibrate.affine import UINT8, IntegerType, compute_parameters
from edge_msa_calibrate.histogram import Histogram
from edge_msa_calibrate.layers import ENCODERS

MIN_SNR_DB = 35.0
"""Smallest acceptable signal-to-noise ratio of a layer's input, in dB. Inputs that fill their range have 38 to 43 dB.
Heavy-tailed features (COVAREP, openSMILE) had 22 to 34 dB; on subsets that depend on them, INT8 predictions correlated
with FP32 by only .91 to .98."""


def signal_to_noise(histogram: Histogram, low: float, high: float, integer_type: IntegerType = UINT8) -> float:
    """Return the signal-to-noise ratio in dB: the variance of the values over the error of rounding and clipping.

    Values are rounded to the integers that `integer_type` has for the range [low, high]. A symmetric type has a larger
    step if the range is not symmetric: up to twice as large, which costs 6 dB. Rounding errors are assumed to be
    uniform within a step (Widrow and Kollar 2008). The result is infinite for constant values, which have no signal to
    lose.
    """
    parameters = compute_parameters(low, high, integer_type)
    scale, zero_point = parameters.scale, parameters.zero_point
    lowest, highest = ((end - zero_point) * scale for end in (integer_type.lowest, integer_type.highest))
    centers = histogram.centers
    shares = histogram.counts / histogram.count
    mean = float((shares * centers).sum())
    variance = float((shares * (centers - mean) ** 2).sum())
    clipped = np.maximum(centers - highest, 0) + np.maximum(lowest - centers, 0)
    noise = scale**2 / 12 + float((shares * clipped**2).sum())
    return 10 * math.log10(variance / noise) if variance > 0 and noise > 0 else math.inf


def find_noisy_layers(
    histograms: Mapping[str, Histogram], ranges: Mapping[str, tuple[float, float]], integer_type: IntegerType
) -> dict[str, str]:
    """Return why each layer of a modality's encoder is too noisy in INT8, by the name of its weight.

    Layers whose input is precise enough are not listed.

    Layers of a text encoder are skipped: their inputs are smoothed per channel.

    Args:
        histograms: values of each tensor.
        ranges: range of each tensor.
        integer_type: type of activations in the quantization scheme.
    """
    noisy = {}
    for key, histogram in histograms.items():
        weight, _, end = key.rpartition(":")
        if end != "input" or not weight.startswith(ENCODERS) or key not in ranges:
            continue
        snr = signal_to_noise(histogram, *ranges[key], integer_type)
        if snr < MIN_SNR_DB:
            noisy[weight] = (
                f"int8 leaves its input a signal-to-noise ratio of {snr:.0f} dB, below the required {MIN_SNR_DB:g}"
            )
    return noisy
