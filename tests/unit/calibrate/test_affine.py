from __future__ import annotations

import numpy as np
import pytest

from edge_msa_calibrate.affine import INT8, INT8_SYMMETRIC, UINT8, IntegerType, compute_parameters, quantize_weight


@pytest.mark.parametrize("integer_type", [UINT8, INT8, INT8_SYMMETRIC])
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 3.0), (-4.0, 0.0), (0.5, 2.0), (0.0, 0.0)])
def test_zero_is_exact_and_the_range_is_covered(integer_type: IntegerType, low: float, high: float) -> None:
    parameters = compute_parameters(low, high, integer_type)
    assert integer_type.lowest <= parameters.zero_point <= integer_type.highest
    assert parameters.scale > 0
    assert np.float32(parameters.scale) == parameters.scale
    for value in (low, 0.0, high):
        integer = np.rint(value / parameters.scale) + parameters.zero_point
        clipped = np.clip(integer, integer_type.lowest, integer_type.highest)
        error = abs((clipped - parameters.zero_point) * parameters.scale - value)
        assert error <= (0.501 * parameters.scale if value else 0)


def test_nonnegative_range_has_the_lowest_zero_point() -> None:
    assert compute_parameters(0.0, 3.0, UINT8).zero_point == 0
    assert compute_parameters(0.0, 3.0, INT8).zero_point == -128
    assert compute_parameters(0.0, 3.0, INT8_SYMMETRIC).zero_point == 0


@pytest.mark.parametrize("limit", [127, 63])
def test_each_channel_uses_the_whole_integer_range(limit: int) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32) * [[[1]], [[10]], [[0.01]], [[0]]]
    integers, scales = quantize_weight(weight.astype(np.float32), limit)
    assert (integers.dtype.name, scales.dtype.name, scales.shape) == ("int8", "float32", (4,))
    assert np.abs(integers).max(axis=(1, 2)).tolist() == [limit, limit, limit, 0]
    assert np.all(np.abs(integers * scales[:, None, None] - weight) <= scales[:, None, None] * 0.501)


def test_bias_fits_in_int32() -> None:
    weight = np.array([[[1e-9]], [[0.5]]], np.float32)
    bias = np.array([1000.0, 1000.0])
    _, scales = quantize_weight(weight, 127, bias)
    assert np.all(np.abs(bias / scales) <= 2**30 * 1.0001)
    assert scales[1] == np.float32(0.5 / 127)
