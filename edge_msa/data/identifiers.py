"""Convert sample ids and transcripts of files (text, bytes, numbers, or lists of those) to text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_msa.errors import DataError


def is_missing(value: object) -> bool:
    """Return whether one value of a file stands for a missing one: None, NaN or empty text."""
    if isinstance(value, (float, np.floating)):
        return math.isnan(value)
    return value is None or (isinstance(value, (str, bytes)) and not value)


def id_to_text(item: Any) -> str:
    """Return one id as text. Bytes are decoded as latin1; MulT's triples become `video[from:to]`."""
    if isinstance(item, np.ndarray):
        item = item.tolist()
    if isinstance(item, bytes):
        return item.decode("latin1").strip("\0 ")
    if isinstance(item, (list, tuple)):
        parts = [id_to_text(part) for part in item]
        if len(parts) == 3:
            return f"{parts[0]}[{parts[1]}:{parts[2]}]"
        return "_".join(parts)
    return f"{item:g}" if isinstance(item, float) else str(item)


def pickle_ids(split: Mapping[str, Any], name: str, count: int) -> list[str]:
    """Return the ids in a split of a pickle as text; numbered names if it has none.

    Raises:
        DataError: The ids are not a list.
    """
    ids = split.get("id")
    if ids is None:
        return [f"{name}-{row}" for row in range(count)]
    if not isinstance(ids, (list, tuple)) and not (isinstance(ids, np.ndarray) and ids.ndim):
        raise DataError(f"id of {name} must be a list with one id per sample, got {ids!r:.40}.")
    return [id_to_text(item) for item in ids]


def text_from_item(item: Any) -> str:
    """Return one transcript as text. Bytes are decoded as UTF-8, or else as latin1."""
    if isinstance(item, np.ndarray):
        item = item.tolist()
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError:
            return item.decode("latin1")
    if isinstance(item, (list, tuple)):  # MulT's texts are lists of words
        return " ".join(text_from_item(part) for part in item)
    return str(item)
