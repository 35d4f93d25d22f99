from __future__ import annotations

import numpy as np
import pytest

from edge_msa_calibrate.affine import S8, S8_SYMMETRIC, U8, Integers, affine_of, quantized_weight


@pytest.mark.parametrize("integers", [U8, S8, S8_SYMMETRIC])
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 3.0), (-4.0, 0.0), (0.5, 2.0), (0.0, 0.0)])
def test_zero_is_exact_and_the_range_is_covered(integers: Integers, low: float, high: float) -> None:
    affine = affine_of(low, high, integers)
    assert integers.lowest <= affine.zero_point <= integers.highest
    assert affine.scale > 0
    assert np.float32(affine.scale) == affine.scale
    for value in (low, 0.0, high):
        rounded = np.clip(np.rint(value / affine.scale) + affine.zero_point, integers.lowest, integers.highest)
        assert abs((rounded - affine.zero_point) * affine.scale - value) <= affine.scale * 0.501 * (value != 0)


def test_a_relu_s_zero_point_is_the_lowest_integer() -> None:
    assert affine_of(0.0, 3.0, U8).zero_point == 0
    assert affine_of(0.0, 3.0, S8).zero_point == -128
    assert affine_of(0.0, 3.0, S8_SYMMETRIC).zero_point == 0


@pytest.mark.parametrize("limit", [127, 63])
def test_weights_have_a_scale_a_channel_and_use_it_whole(limit: int) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32) * [[[1]], [[10]], [[0.01]], [[0]]]
    integers, scales = quantized_weight(weight.astype(np.float32), limit)
    assert (integers.dtype.name, scales.dtype.name, scales.shape) == ("int8", "float32", (4,))
    assert np.abs(integers).max(axis=(1, 2)).tolist() == [limit, limit, limit, 0]
    assert np.all(np.abs(integers * scales[:, None, None] - weight) <= scales[:, None, None] * 0.501)


def test_a_bias_always_fits_in_int32() -> None:
    weight = np.array([[[1e-9]], [[0.5]]], np.float32)
    bias = np.array([1000.0, 1000.0])
    _, scales = quantized_weight(weight, 127, bias)
    assert np.all(np.abs(bias / scales) <= 2**30 * 1.0001)
    assert scales[1] == np.float32(0.5 / 127)
