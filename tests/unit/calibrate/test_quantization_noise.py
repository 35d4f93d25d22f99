from __future__ import annotations

import math

import numpy as np
import pytest

from edge_msa_calibrate.histogram import Histogram, HistogramBuilder
from edge_msa_calibrate.quantization_noise import find_noisy_layers, signal_to_noise

RNG = np.random.default_rng(0)


def histogram_of(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Histogram:
    builder = HistogramBuilder()
    builder.add(values)
    return builder.histogram()


@pytest.mark.parametrize("low_high", [(-3.5, 3.5), (-2.0, 2.0), (-40.0, 40.0)])
def test_estimate_matches_actual_rounding(low_high: tuple[float, float]) -> None:
    values = RNG.normal(size=20_000).astype(np.float32)
    low, high = low_high
    step = (high - low) / 255
    rounded = np.rint((np.clip(values, low, high) - low) / step) * step + low
    measured = 10 * math.log10(values.var() / np.mean((rounded - values) ** 2))
    assert signal_to_noise(histogram_of(values), low, high) == pytest.approx(measured, abs=0.5)


def test_constant_values_have_no_noise() -> None:
    assert signal_to_noise(histogram_of(np.full(10, 0.5, np.float32)), 0.0, 0.5) > 100


def test_only_encoder_inputs_with_heavy_tails_are_noisy() -> None:
    plain = RNG.normal(size=20_000).astype(np.float32)
    tails = plain.copy()
    tails[:20] = 60.0
    names = ("encoders.audio.embed.weight", "encoders.vision.embed.weight", "text_encoder.layer.weight")
    histograms = {
        f"{name}:input": histogram_of(values) for name, values in zip(names, (tails, plain, tails), strict=True)
    }
    histograms["encoders.audio.embed.weight:output"] = histogram_of(tails)
    ranges = {key: (item.minimum, item.maximum) for key, item in histograms.items()}
    noisy = find_noisy_layers(histograms, ranges)
    assert list(noisy) == ["encoders.audio.embed.weight"]
    assert "signal-to-noise" in noisy["encoders.audio.embed.weight"]
