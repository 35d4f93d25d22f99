"""Convert sample ids and transcripts of files (text, bytes, numbers, or lists of those) to text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_msa.errors import DataError

_POSITION = re.compile(r"[+-]?[0-9]+([._][0-9]+)?")


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


def video_from_id(sample: str) -> str:
    """Return the video of a sample id: `video$_$clip` (MMSA), `video[k]` (CMU-MultimodalSDK), or else the id itself."""
    separator = "$_$" if "$_$" in sample else "["
    return sample.split(separator, maxsplit=1)[0] or sample


def position_from_id(sample: str, video: str) -> float:
    """Return the position of a sample inside its video, as its id states it: a clip number, or a start in seconds.

    Ids are `video$_$clip` (MMSA), `video[clip]` (CMU-MultimodalSDK), `video[from:to]` (MulT), or the video followed by
    the clip, as in `video_11`. NaN if the id states none.
    """
    if "$_$" in sample:
        clip = sample.split("$_$", maxsplit=1)[1]
    elif sample.endswith("]") and "[" in sample:
        clip = sample[:-1].split("[", maxsplit=1)[1].split(":", maxsplit=1)[0]
    elif video and sample.startswith(video) and sample[len(video) : len(video) + 1] in set("_-/.:#"):
        clip = sample[len(video) + 1 :]
    else:
        return math.nan
    return parse_position(clip)


def parse_position(clip: str) -> float:
    """Return a clip number or a start in seconds; NaN if it is neither. In `82_76` of MOSEI, `_` is the point."""
    position = float(clip.replace("_", ".")) if _POSITION.fullmatch(clip) else math.nan
    return position if math.isfinite(position) else math.nan


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
