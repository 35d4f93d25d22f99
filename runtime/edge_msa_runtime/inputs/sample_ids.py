"""Names of samples, and what they state about the video of a sample and its position there."""

from __future__ import annotations

import math
import re
from typing import Sequence

_POSITION = re.compile(r"[+-]?[0-9]+([._][0-9]+)?")


def make_unique(ids: Sequence[str]) -> list[str]:
    """Return the ids with repeated ones renamed to `id#2`, `id#3` and so on."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    unique = []
    for sample in ids:
        name = sample
        while name in taken:
            counts[sample] = counts.get(sample, 1) + 1
            name = f"{sample}#{counts[sample]}"
        taken.add(name)
        unique.append(name)
    return unique


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
    elif sample.endswith("]") and "[" in sample[1:]:
        clip = sample[:-1].rsplit("[", maxsplit=1)[1].split(":", maxsplit=1)[0]
    elif video and sample.startswith(video) and sample[len(video) : len(video) + 1] in set("_-/.:#"):
        clip = sample[len(video) + 1 :]
    else:
        return math.nan
    return parse_position(clip)


def parse_position(clip: str) -> float:
    """Return a clip number or a start in seconds; NaN if it is neither. In `82_76` of MOSEI, `_` is the point."""
    position = float(clip.replace("_", ".")) if _POSITION.fullmatch(clip) else math.nan
    return position if math.isfinite(position) else math.nan
