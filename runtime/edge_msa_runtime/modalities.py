"""Modalities and their seven non-empty subsets, always in the order language, audio, vision."""

from __future__ import annotations

import enum
from typing import Iterable, Mapping

MODALITIES: tuple[str, str, str] = ("language", "audio", "vision")
_LETTERS = {"language": "l", "audio": "a", "vision": "v"}


class Subset(enum.Enum):
    """A non-empty subset of the modalities. The value has one letter per modality: `la` is language and audio."""

    L = "l"
    A = "a"
    V = "v"
    LA = "la"
    LV = "lv"
    AV = "av"
    LAV = "lav"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the modalities in the subset, in order."""
        return tuple(name for name in MODALITIES if _LETTERS[name] in self.value)

    @classmethod
    def of(cls, modalities: Iterable[str]) -> Subset:
        """Return the subset of exactly these modalities.

        Raises:
            ValueError: `modalities` is empty or contains an unknown name.
        """
        names = frozenset(modalities)
        subset = _BY_MODALITIES.get(names)
        if subset is not None:
            return subset
        unknown = sorted(names - set(MODALITIES))
        if unknown:
            raise ValueError(f"Unknown modality {unknown[0]!r}. Available: {', '.join(MODALITIES)}.")
        raise ValueError("A subset must have at least one modality, got none.")


_BY_MODALITIES: Mapping[frozenset[str], Subset] = {frozenset(subset.modalities): subset for subset in Subset}


def subsets_of(modalities: Iterable[str]) -> tuple[Subset, ...]:
    """Return all non-empty subsets of the given modalities, in the order of `Subset`."""
    names = set(modalities)
    return tuple(subset for subset in Subset if names.issuperset(subset.modalities))
