"""Ids as files hold them: text, bytes, numbers, or tuples of those."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def is_text(array: NDArray[Any]) -> bool:
    """Whether every code point of an array of text exists: NumPy stores any 32 bits, and fails where they are read."""
    if array.dtype.kind != "U":
        return True
    points = (
        np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder)) if array.nbytes else None
    )
    return points is None or int(points.max()) <= 0x10FFFF
