"""Ids as files hold them: text, bytes, numbers, or tuples of those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import DataError


def text_of(item: Any) -> str:
    """One id as text: bytes are latin1 (Python 2), MulT's triples become `video[from:to]`."""
    if isinstance(item, np.ndarray):
        item = item.tolist()
    if isinstance(item, bytes):
        return item.decode("latin1").strip("\0 ")
    if isinstance(item, (list, tuple)):
        parts = [text_of(part) for part in item]
        if len(parts) == 3:
            return f"{parts[0]}[{parts[1]}:{parts[2]}]"
        return "_".join(parts)
    return f"{item:g}" if isinstance(item, float) else str(item)


def ids_of(split: Mapping[str, Any], name: str, count: int) -> list[str]:
    """The ids of a split of a pickle as text; numbered where it has none.

    Raises:
        DataError: what it has is no list.
    """
    given = split.get("id")
    if given is None:
        return [f"{name}-{row}" for row in range(count)]
    if not isinstance(given, (list, tuple)) and not (isinstance(given, np.ndarray) and given.ndim):
        raise DataError(f"id of {name} is {given!r:.40}; it must be a list, one id a sample")
    return [text_of(one) for one in given]


def is_text(array: NDArray[Any]) -> bool:
    """Whether every code point of an array of text exists: NumPy stores any 32 bits, and fails where they are read."""
    if array.dtype.kind != "U":
        return True
    points = (
        np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder)) if array.nbytes else None
    )
    return points is None or int(points.max()) <= 0x10FFFF
