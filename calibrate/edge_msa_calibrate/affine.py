"""Affine quantization: turn a range into the scale and zero point that QuantizeLinear needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# A tensor that is always zero still needs a scale. This one and its reciprocal are normal float32 numbers.
SMALLEST_SCALE = 1e-12
# Half of the int32 range. The other half is left for the sum of products that the bias is added to.
LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class IntegerType:
    """An 8-bit integer type. `symmetric` fixes the zero point at 0."""

    dtype: str
    symmetric: bool

    @property
    def lowest(self) -> int:
        """The smallest integer of the type."""
        return 0 if self.dtype == "uint8" else -128

    @property
    def highest(self) -> int:
        """The largest integer of the type."""
        return 255 if self.dtype == "uint8" else 127


UINT8 = IntegerType("uint8", symmetric=False)
INT8 = IntegerType("int8", symmetric=False)
INT8_SYMMETRIC = IntegerType("int8", symmetric=True)


@dataclass(frozen=True)
class QuantizationParameters:
    """Scale and zero point of one tensor: value = (integer - zero_point) * scale. `scale` is exact in float32."""

    scale: float
    zero_point: int
    integer_type: IntegerType


def compute_parameters(low: float, high: float, integer_type: IntegerType) -> QuantizationParameters:
    """Return the parameters that quantize a tensor whose values lie in [low, high].

    The range is widened to include zero, so that zero padding and the zeros of a Relu stay exact.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if integer_type.symmetric:
        return QuantizationParameters(_scale(max(-low, high) / integer_type.highest), 0, integer_type)
    scale = _scale((high - low) / (integer_type.highest - integer_type.lowest))
    zero_point = integer_type.lowest + round(-low / scale)
    clipped = int(np.clip(zero_point, integer_type.lowest, integer_type.highest))
    return QuantizationParameters(scale, clipped, integer_type)


def quantize_weight(weight: Array, limit: int, bias: Array | None = None) -> tuple[Array, Array]:
    """Quantize a weight to symmetric int8 with one scale per output channel.

    Args:
        weight: (out, ...) float32.
        limit: largest integer used: 127, or 63 where the sum of two products must fit in 16 bits.
        bias: (out,) divided by the scale of the layer's input, if the bias must fit in int32. A channel with tiny
            weights and a large bias then gets a larger scale than its weights alone would need.

    Returns:
        int8 integers in [-limit, limit] with the shape of `weight`, and float32 scales (out,).
    """
    scales = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64) / limit
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias) / LARGEST_BIAS)
    scales = np.maximum(scales, SMALLEST_SCALE).astype(np.float32)
    broadcast = scales.reshape((-1,) + (1,) * (weight.ndim - 1))
    integers = np.clip(np.rint(weight.astype(np.float64) / broadcast), -limit, limit)
    return integers.astype(np.int8), scales


def _scale(value: float) -> float:
    return float(np.float32(max(value, SMALLEST_SCALE)))
