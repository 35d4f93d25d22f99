"""Comparisons with a tolerance relative to the scale of the expected values.

Sums of float32 products in another order differ by rounding errors that are proportional to the size of the terms, so a
small element can have the rounding error of a large one. On another processor, the order of the terms is another one. A
tolerance without a scale then fails for large values and hides mistakes in small ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def relative_error(actual: Any, expected: Any, *, scale: float | None = None) -> float:
    """Return the largest difference of two arrays of the same shape, divided by `scale`.

    Args:
        actual: Numbers, arrays or tensors.
        expected: Likewise.
        scale: The default is the largest magnitude of the expected values. Pass another one if they are zero in exact
            arithmetic.
    """
    one, other = _to_array(actual), _to_array(expected)
    assert one.shape == other.shape, (one.shape, other.shape)
    if not one.size:
        return 0.0
    scale = float(np.abs(other).max()) if scale is None else scale
    difference = float(np.abs(one - other).max())
    return difference / scale if difference else 0.0


def assert_close_to_scale(actual: Any, expected: Any, *, rtol: float = 1e-5, scale: float | None = None) -> None:
    """Assert that no element differs by more than `rtol` times the scale, see `relative_error`."""
    error = relative_error(actual, expected, scale=scale)
    assert error <= rtol, f"The values differ by {error:.3g} of their scale, more than {rtol:g}: {actual}, {expected}."


def _to_array(values: Any) -> Any:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values, np.float64)
