"""Smoothing: the outliers of a few channels move from a layer's input, which has one scale, into its weights.

A BERT-like encoder's normalized activations have a few channels ten times as large as the rest, and one scale a tensor
leaves those others a handful of integers. Each channel is divided by a factor before it is quantized, and the weights
that read it are multiplied by it (SmoothQuant, Xiao et al. 2023, with another split: weights have a scale for each
output channel and bear more).

Measured on all-MiniLM-L6-v2, mean-pooled features of 60 sentences against fp32, openvino-x86: correlation .990
without, .9978 with these factors.

The other way to equalize, scaling a channel in two layers' weights alone (Nagel et al. 2019), needs layers with nothing
but a Relu between them. The student's encoders have none: what a convolution reads is also a residual, and pooled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.statistics import Statistics

Array = npt.NDArray[Any]

EXPONENT = 0.75
"""How much of a channel's size moves into the weights; 1 is all of it. .5 gives .9968, .75 .9978, 1 .9963."""
_SMALLEST = 1e-5


def smoothing_of(statistics: Statistics, exponent: float = EXPONENT) -> dict[str, Array]:
    """Factors (channels_in,) float32 of every layer of a language text encoder, by weight name.

    They follow from what the layer reads alone: layers that read one tensor share them, and one tensor is made int8.
    """
    return {key.removesuffix(":input"): factors_of(item, exponent) for key, item in statistics.channels.items()}


def factors_of(extremes: Array, exponent: float = EXPONENT) -> Array:
    """Factors (C,) of smallest and largest values (2, C); their geometric mean is 1."""
    largest = np.maximum(np.abs(extremes).max(axis=0).astype(np.float64), _SMALLEST)
    logs = np.log(largest) * exponent
    factors: Array = np.exp(logs - logs.mean()).astype(np.float32)
    return factors
