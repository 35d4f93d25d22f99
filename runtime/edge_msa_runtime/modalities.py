"""Modalities and the seven subsets of them, in the order the whole project uses: language, audio, vision."""

from __future__ import annotations

import enum
from typing import Iterable

MODALITIES: tuple[str, str, str] = ("language", "audio", "vision")


class Subset(enum.Enum):
    """Which modalities are available; the value is how it is written (`la` is language and audio)."""

    L = "l"
    A = "a"
    V = "v"
    LA = "la"
    LV = "lv"
    AV = "av"
    LAV = "lav"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the available modalities, in order."""
        return tuple(name for name in MODALITIES if name[0] in self.value)

    @classmethod
    def of(cls, modalities: Iterable[str]) -> Subset:
        """The subset that holds exactly these modalities.

        Raises:
            ValueError: none is given, or a name is not a modality.
        """
        names = set(modalities)
        unknown = sorted(names - set(MODALITIES))
        if unknown:
            raise ValueError(f"unknown modality {unknown[0]!r}; there are {', '.join(MODALITIES)}")
        return cls("".join(name[0] for name in MODALITIES if name in names))


def subsets_of(modalities: Iterable[str]) -> tuple[Subset, ...]:
    """All non-empty subsets of the given modalities, in the enum's order."""
    names = set(modalities)
    return tuple(subset for subset in Subset if names.issuperset(subset.modalities))
