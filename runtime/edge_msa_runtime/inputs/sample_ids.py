"""Names of samples."""

from __future__ import annotations

from typing import Sequence


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
