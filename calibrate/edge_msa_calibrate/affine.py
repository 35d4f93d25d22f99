"""From a range to what QuantizeLinear needs: scale, zero point and the integers between which values live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# A tensor that never leaves zero still needs a scale; this one is a normal float32 and so is its reciprocal.
SMALLEST_SCALE = 1e-12
# Half of int32: the other half is for the sum of products that the bias is added to.
LARGEST_BIAS = 2.0**30


@dataclass(frozen=True)
class Integers:
    """An 8-bit type and the part of it in use; `symmetric` puts zero at 0 and uses [-limit, limit]."""

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


U8 = Integers("uint8", symmetric=False)
S8 = Integers("int8", symmetric=False)
S8_SYMMETRIC = Integers("int8", symmetric=True)


@dataclass(frozen=True)
class Affine:
    """value = (integer - zero_point) * scale; `scale` is exact in float32."""

    scale: float
    zero_point: int
    integers: Integers


def affine_of(low: float, high: float, integers: Integers) -> Affine:
    """What quantizes a tensor whose values lie in [low, high].

    Zero is always representable: the range is widened to hold it, so that a memory of zeros and the output of a Relu
    stay exact.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if integers.symmetric:
        return Affine(_scale(max(-low, high) / integers.highest), 0, integers)
    scale = _scale((high - low) / (integers.highest - integers.lowest))
    zero = integers.lowest + round(-low / scale)
    return Affine(scale, int(np.clip(zero, integers.lowest, integers.highest)), integers)


def quantized_weight(weight: Array, limit: int, bias: Array | None = None) -> tuple[Array, Array]:
    """Per-channel symmetric int8.

    Args:
        weight: (out, ...) float32.
        limit: largest integer used, 127, or 63 where sums of two products must fit in 16 bits.
        bias: (out,) in units of the input's scale, if it must fit in int32 at the weight's scale: a channel with
            next to no weight but a bias gets a larger scale than its weight asks for.

    Returns:
        Integers int8 of the same shape in [-limit, limit], and scales float32 (out,).
    """
    scales = np.abs(weight.reshape(len(weight), -1)).max(axis=1).astype(np.float64) / limit
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias) / LARGEST_BIAS)
    scales = np.maximum(scales, SMALLEST_SCALE).astype(np.float32)
    shaped = scales.reshape((-1,) + (1,) * (weight.ndim - 1))
    integers = np.clip(np.rint(weight.astype(np.float64) / shaped), -limit, limit)
    return integers.astype(np.int8), scales


def _scale(value: float) -> float:
    return float(np.float32(max(value, SMALLEST_SCALE)))
