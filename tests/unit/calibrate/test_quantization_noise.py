from __future__ import annotations

import math

import numpy as np
import pytest

from edge_msa_calibrate.affine import INT8, INT8_SYMMETRIC, UINT8, IntegerType
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


@pytest.mark.parametrize("integer_type", [UINT8, INT8, INT8_SYMMETRIC], ids=["uint8", "int8", "symmetric"])
def test_the_estimate_uses_the_steps_of_the_integer_type(integer_type: IntegerType) -> None:
    """The output of a Relu uses only half of the integers of a symmetric type."""
    values = np.abs(RNG.normal(size=20_000)).astype(np.float32)
    high = float(values.max())
    step = high / (127 if integer_type.symmetric else 255)
    measured = 10 * math.log10(values.var() / np.mean((np.rint(values / step) * step - values) ** 2))
    assert signal_to_noise(histogram_of(values), 0.0, high, integer_type) == pytest.approx(measured, abs=0.5)


def test_layers_can_be_too_noisy_for_symmetric_integers_only() -> None:
    values = np.abs(RNG.normal(size=20_000)).astype(np.float32)
    values[0] = 9.0
    histograms = {"encoders.audio.embed.weight:input": histogram_of(values)}
    ranges = {"encoders.audio.embed.weight:input": (0.0, 9.0)}
    assert not find_noisy_layers(histograms, ranges, UINT8)
    assert list(find_noisy_layers(histograms, ranges, INT8_SYMMETRIC)) == ["encoders.audio.embed.weight"]


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
    noisy = find_noisy_layers(histograms, ranges, UINT8)
    assert list(noisy) == ["encoders.audio.embed.weight"]
    assert "signal-to-noise" in noisy["encoders.audio.embed.weight"]
