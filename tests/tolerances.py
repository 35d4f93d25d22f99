"""Comparisons with a tolerance relative to the scale of the expected values."""

from __future__ import annotations

import torch
from torch import Tensor


def assert_close_to_scale(actual: Tensor, expected: Tensor, *, rtol: float = 1e-5, scale: float | None = None) -> None:
    """Assert that no element differs by more than `rtol` times `scale`.

    Sums of float32 products in another order differ by rounding errors that are proportional to the size of the terms,
    so a small element can have the rounding error of a large one. The default scale is the largest magnitude of the
    expected values. Pass another one if they are zero in exact arithmetic.
    """
    if scale is None:
        scale = float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * scale)
