"""Smoothing: move the outliers of a few channels from a layer's input, which has one scale, into its weights.

In BERT-like encoders a few channels of the normalized activations are ten times as large as the others. One scale per
tensor leaves only a handful of integers for those others. Each channel is therefore divided by a factor before it is
quantized, and the weights that use it are multiplied by the same factor. This is SmoothQuant (Xiao et al. 2023) with a
different split: weights have one scale per output channel and tolerate more.

Measured on all-MiniLM-L6-v2, mean-pooled features of 60 sentences against FP32, scheme openvino-x86: the correlation is
.990 without smoothing and .9978 with it.

The other way to equalize channels, scaling them in the weights of two consecutive layers (Nagel et al. 2019), needs
layers with nothing but a Relu between them. The student's encoders have none: the input of each convolution is also a
residual and is pooled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.statistics import Statistics

Array = npt.NDArray[Any]

EXPONENT = 0.75
"""How much of a channel's size moves into the weights; 1 is all of it. The correlation above is .9968 at .5, .9978 at
.75 and .9963 at 1."""
_SMALLEST = 1e-5


def compute_smoothing(statistics: Statistics) -> dict[str, Array]:
    """Return the factors (in_channels,) float32 of every layer of a text encoder, by weight name.

    They depend only on the layer's input: layers with the same input have the same factors, so the input is quantized
    once.
    """
    return {key.removesuffix(":input"): smoothing_factors(item) for key, item in statistics.channel_ranges.items()}


def smoothing_factors(channel_ranges: Array, exponent: float = EXPONENT) -> Array:
    """Return factors (C,) float32 with geometric mean 1 from the channels' minima and maxima (2, C)."""
    largest = np.maximum(np.abs(channel_ranges).max(axis=0).astype(np.float64), _SMALLEST)
    logs = np.log(largest) * exponent
    factors: Array = np.exp(logs - logs.mean()).astype(np.float32)
    return factors
