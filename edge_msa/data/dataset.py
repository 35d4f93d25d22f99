"""The one dataset type: modalities with validity masks, labels, ids; three splits; a task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa_runtime.modalities import MODALITIES

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
SplitName = Literal["train", "valid", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Frames:
    """One modality of one split.

    Either `values` (N, T, d) float32, or `ids` (N, T) integers into `table` (V, d) float32: language over an embedding
    table keeps its ids. `valid` (N, T) bool: False is padding or a frame that is missing; such frames are zero in
    what `take` returns. A sample whose row of `valid` is all False lacks the modality.
    """

    valid: BoolArray
    values: FloatArray | None = None
    ids: NDArray[np.integer] | None = None
    table: FloatArray | None = None

    def __post_init__(self) -> None:
        if (self.values is None) == (self.ids is None) or (self.ids is None) != (self.table is None):
            raise DataError("frames need either values (N, T, d), or ids (N, T) together with a table (V, d)")
        source = self.values if self.values is not None else self.ids
        shape = () if source is None else source.shape[:2]
        if self.valid.shape != shape:
            raise DataError(f"validity mask has shape {self.valid.shape}, the frames have {shape}")

    @property
    def dim(self) -> int:
        """Features a frame."""
        source = self.values if self.values is not None else self.table
        assert source is not None  # noqa: S101 - held by __post_init__
        return int(source.shape[-1])

    @property
    def length(self) -> int:
        """T, the frames that a sample has room for."""
        return int(self.valid.shape[1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Valid frames of each sample, (N,)."""
        lengths: NDArray[np.int64] = self.valid.sum(axis=1, dtype=np.int64)
        return lengths

    def take(self, rows: NDArray[np.integer] | slice = slice(None)) -> FloatArray:
        """Frames of those samples, (n, T, d) float32, zero where not valid."""
        valid = self.valid[rows]
        if self.values is not None:
            return np.where(valid[..., None], self.values[rows], np.float32(0))
        assert self.ids is not None and self.table is not None  # noqa: S101, PT018 - held by __post_init__
        return np.where(valid[..., None], self.table[self.ids[rows]], np.float32(0))

    def select(self, rows: NDArray[np.integer]) -> Frames:
        """The same modality of those samples alone."""
        return replace(
            self,
            valid=self.valid[rows],
            values=None if self.values is None else self.values[rows],
            ids=None if self.ids is None else self.ids[rows],
        )


@dataclass(frozen=True)
class Split:
    """N samples.

    `ids` are unique; `groups` name the video each comes from, for samples of one are not independent; `labels` (N,)
    are float32 scores or (N, E) 0/1 emotions; `modalities` are those that this split has at all. `texts` are what was
    said, for people to read; empty where the data does not have them.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    labels: FloatArray
    modalities: Mapping[str, Frames]
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.modalities) - set(MODALITIES))
        if unknown:
            raise DataError(f"unknown modality {unknown[0]!r}; there are {', '.join(MODALITIES)}")
        sizes = {"groups": len(self.groups), "labels": len(self.labels)}
        sizes |= {name: len(frames.valid) for name, frames in self.modalities.items()}
        sizes |= {"texts": len(self.texts)} if self.texts else {}
        for name, size in sizes.items():
            if size != len(self.ids):
                raise DataError(f"{name} holds {size} samples, ids hold {len(self.ids)}")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.integer]) -> Split:
        """Those samples alone."""
        return Split(
            tuple(self.ids[row] for row in rows),
            tuple(self.groups[row] for row in rows),
            self.labels[rows],
            {name: frames.select(rows) for name, frames in self.modalities.items()},
            tuple(self.texts[row] for row in rows) if self.texts else (),
        )

    def sample(self, row: int) -> dict[str, FloatArray]:
        """The valid frames of one sample, (T_valid, d) for each modality that it has."""
        rows = np.array([row])
        return {
            name: frames.take(rows)[0][frames.valid[row]]
            for name, frames in self.modalities.items()
            if frames.valid[row].any()
        }


@dataclass(frozen=True)
class Dataset:
    """Splits of one corpus under one task.

    `dims` are the features a frame of every modality that any split has; `frame_rates` in Hz where known; `notes` are
    lines that a reader must tell its user (what was replaced, what was left out); `digest` is the SHA-256 of the file,
    or of the generator's parameters.
    """

    name: str
    task: Task
    splits: Mapping[SplitName, Split]
    digest: str
    frame_rates: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def dims(self) -> dict[str, int]:
        """Features a frame, by modality, in the fixed order."""
        found = {name: frames.dim for split in self.splits.values() for name, frames in split.modalities.items()}
        return {name: found[name] for name in MODALITIES if name in found}

    @property
    def windows(self) -> dict[str, int]:
        """The most valid frames that any sample has, by modality."""
        longest: dict[str, int] = {}
        for name, frames in self._frames():
            longest[name] = max(longest.get(name, 1), int(frames.lengths.max(initial=0)))
        return {name: longest[name] for name in MODALITIES if name in longest}

    def split(self, name: SplitName) -> Split:
        """That split.

        Raises:
            DataError: the dataset has none of that name, or it is empty.
        """
        if name not in self.splits:
            raise DataError(f"{self.name} has no {name} split; it has {', '.join(self.splits) or 'none'}")
        if not len(self.splits[name]):
            raise DataError(f"the {name} split of {self.name} is empty: give a file that has samples in it")
        return self.splits[name]

    def without(self, modalities: Collection[str], *notes: str) -> Dataset:
        """The same samples without those modalities, and with those notes besides."""
        splits = {
            name: replace(
                split, modalities={m: frames for m, frames in split.modalities.items() if m not in modalities}
            )
            for name, split in self.splits.items()
        }
        return replace(self, splits=splits, notes=(*self.notes, *notes))

    def _frames(self) -> Iterator[tuple[str, Frames]]:
        for split in self.splits.values():
            yield from split.modalities.items()
