"""Convert what callers pass as frames or masks to NumPy arrays, without importing the library that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa_runtime.errors import UsageError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Types of torch and ml_dtypes that NumPy does not know.
_SMALL_FLOATS = ("bfloat16", "float8")


def as_array(what: str, value: Any) -> NDArray[Any]:
    """Return a NumPy array with the values of an array, tensor, buffer or nested list.

    Tensors are detached and copied to the CPU. Masked arrays stay masked arrays.

    Args:
        what: names the value in messages, such as `audio`.
        value: the value. Arrays of NumPy are returned as they are.

    Raises:
        UsageError: the value is text or bytes, has rows of different lengths, or cannot be converted.
    """
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str):
        raise UsageError(f"{what} must be an array, got a string. Pass words as text=.")
    if isinstance(value, (bytes, bytearray)):
        raise UsageError(
            f"{what} must be an array, got {type(value).__name__}. "
            "Convert the bytes with numpy.frombuffer(data, numpy.float32).reshape(frames, features)."
        )
    try:
        if hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor of torch
            value = value.detach().cpu()
            if any(name in str(value.dtype) for name in _SMALL_FLOATS):
                value = value.float()
        elif hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.asarray(np.from_dlpack(value))
        return np.asarray(value)
    except Exception as error:  # __array__, __dlpack__ and torch can raise anything
        raise UsageError(
            f"{what} must be an array, but a {type(value).__name__} cannot be converted: "
            f"{first_line(error).rstrip('.')}. "
            "Pass a NumPy array, with rows of equal length."
        ) from error


def as_float32(what: str, value: Any) -> NDArray[np.float32]:
    """Return the values as float32; a masked array stays one. Values beyond float32 become infinite.

    Raises:
        UsageError: as `as_array`, or the values are not real numbers.
    """
    array = as_array(what, value)
    kind = array.dtype.kind
    if kind not in "fiu" and not any(name in array.dtype.name for name in _SMALL_FLOATS):
        raise UsageError(f"{what} must have real numbers, preferably float32, got {array.dtype}. {_advice(kind)}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _advice(kind: str) -> str:
    if kind == "c":
        return "Pass magnitudes, or real and imaginary parts as separate features."
    if kind == "O":
        return "Pass rows of equal length as one array of numbers."
    return "Convert them with astype(numpy.float32)."
