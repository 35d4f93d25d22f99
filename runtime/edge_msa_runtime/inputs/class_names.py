"""The names of classes that a file states: an array of different texts, `class_names`, `classes` or `label_names`."""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

KEYS = ("class_names", "classes", "label_names")
_LABELS = "classes"
"""An array of one text per sample can also have this name. Its texts repeat, or number more than the classes do."""


def stated_class_names(arrays: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of classes; nothing if no array states them.

    Args:
        arrays: arrays or lists of a file by name.
    """
    for key in KEYS:
        texts = _texts(arrays.get(key))
        if texts is not None and len(texts) > 1 and len(set(texts)) == len(texts):
            return tuple(texts)
    return ()


def find_labels(arrays: Mapping[str, Any], name: str, prefix: str = "") -> Any:
    """Return the labels of samples; None if there are none.

    Args:
        arrays: arrays or lists of a file by name.
        name: usual name of the labels. Without them, texts in `classes` are the labels.
        prefix: what precedes both names.
    """
    labels = arrays.get(f"{prefix}{name}")
    if labels is not None:
        return labels
    classes = arrays.get(f"{prefix}{_LABELS}")
    return classes if _texts(classes) is not None else None


def _texts(value: Any) -> list[str] | None:
    """Return the texts of an array or list with one axis; None if it is something else."""
    if value is None or not isinstance(value, (np.ndarray, list, tuple)):
        return None
    array = np.asarray(value, dtype=object)
    items = array.tolist()
    if array.ndim != 1 or not items or not all(isinstance(item, (str, bytes)) for item in items):
        return None
    return [(item.decode("utf-8", "replace") if isinstance(item, bytes) else item).strip() for item in items]
