"""`Dataset`: splits of samples with masked modalities, labels and ids, under one task."""

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
    """One modality of one split: either `values`, or `ids` into an embedding `table`."""

    valid: BoolArray
    """(N, T): False for padding and missing frames. A sample without a valid frame lacks the modality."""
    values: FloatArray | None = None
    """(N, T, d) float32."""
    ids: NDArray[np.integer] | None = None
    """(N, T): rows of `table`."""
    table: FloatArray | None = None
    """(V, d) float32."""

    def __post_init__(self) -> None:
        if (self.values is None) == (self.ids is None) or (self.ids is None) != (self.table is None):
            raise DataError("Frames must have either values (N, T, d), or ids (N, T) together with a table (V, d).")
        source = self.values if self.values is not None else self.ids
        shape = () if source is None else source.shape[:2]
        if self.valid.shape != shape:
            raise DataError(f"The validity mask must have the shape {shape} of the frames, got {self.valid.shape}.")

    @property
    def dim(self) -> int:
        """Features per frame."""
        source = self.values if self.values is not None else self.table
        assert source is not None  # noqa: S101 - checked by __post_init__
        return int(source.shape[-1])

    @property
    def length(self) -> int:
        """T: frames per sample, including padding."""
        return int(self.valid.shape[1])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of valid frames of each sample, (N,)."""
        lengths: NDArray[np.int64] = self.valid.sum(axis=1, dtype=np.int64)
        return lengths

    def take(self, rows: NDArray[np.integer] | slice = slice(None)) -> FloatArray:
        """Return the frames of the given samples, (n, T, d) float32; frames that are not valid are zero."""
        valid = self.valid[rows]
        if self.values is not None:
            return np.where(valid[..., None], self.values[rows], np.float32(0))
        assert self.ids is not None and self.table is not None  # noqa: S101, PT018 - checked by __post_init__
        return np.where(valid[..., None], self.table[self.ids[rows]], np.float32(0))

    def select(self, rows: NDArray[np.integer]) -> Frames:
        """Return the modality of the given samples."""
        return replace(
            self,
            valid=self.valid[rows],
            values=None if self.values is None else self.values[rows],
            ids=None if self.ids is None else self.ids[rows],
        )


@dataclass(frozen=True)
class Split:
    """N samples."""

    ids: tuple[str, ...]
    """Unique names of the samples."""
    groups: tuple[str, ...]
    """The video of each sample. Samples of one video are not independent."""
    labels: FloatArray
    """Scores (N,), or emotions (N, E) with values 0 and 1; NaN where unknown."""
    modalities: Mapping[str, Frames]
    """The modalities that the split has."""
    texts: tuple[str, ...] = ()
    """The transcript of each sample; empty if the data has no texts."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.modalities) - set(MODALITIES))
        if unknown:
            raise DataError(f"Unknown modality {unknown[0]!r}. Available: {', '.join(MODALITIES)}.")
        sizes = {"groups": len(self.groups), "labels": len(self.labels)}
        sizes |= {name: len(frames.valid) for name, frames in self.modalities.items()}
        sizes |= {"texts": len(self.texts)} if self.texts else {}
        for name, size in sizes.items():
            if size != len(self.ids):
                raise DataError(f"{name} must have {len(self.ids)} samples, as ids has, got {size}.")

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.integer]) -> Split:
        """Return the given samples."""
        return Split(
            tuple(self.ids[row] for row in rows),
            tuple(self.groups[row] for row in rows),
            self.labels[rows],
            {name: frames.select(rows) for name, frames in self.modalities.items()},
            tuple(self.texts[row] for row in rows) if self.texts else (),
        )

    def sample(self, row: int) -> dict[str, FloatArray]:
        """Return the valid frames of one sample, (T_valid, d) for each modality that it has."""
        rows = np.array([row])
        return {
            name: frames.take(rows)[0][frames.valid[row]]
            for name, frames in self.modalities.items()
            if frames.valid[row].any()
        }


@dataclass(frozen=True)
class Dataset:
    """Splits of one corpus under one task."""

    name: str
    """Name of the corpus."""
    task: Task
    """What the labels mean."""
    splits: Mapping[SplitName, Split]
    """The splits that the corpus has."""
    digest: str
    """SHA-256 of the file, or of the generator's parameters."""
    frame_rates: Mapping[str, float] = field(default_factory=dict)
    """Frame rates in Hz, by modality, where known."""
    notes: tuple[str, ...] = ()
    """What loading changed or dropped. Commands print these lines."""

    @property
    def dims(self) -> dict[str, int]:
        """Features per frame of each modality that any split has, in the fixed order."""
        dims = {name: frames.dim for split in self.splits.values() for name, frames in split.modalities.items()}
        return {name: dims[name] for name in MODALITIES if name in dims}

    @property
    def windows(self) -> dict[str, int]:
        """Number of valid frames of the longest sample, by modality."""
        longest: dict[str, int] = {}
        for name, frames in self._frames():
            longest[name] = max(longest.get(name, 1), int(frames.lengths.max(initial=0)))
        return {name: longest[name] for name in MODALITIES if name in longest}

    def split(self, name: SplitName) -> Split:
        """Return the split of that name.

        Raises:
            DataError: The dataset has no such split, or the split is empty.
        """
        if name not in self.splits:
            available = ", ".join(self.splits) or "none"
            raise DataError(f"{self.name} has no {name} split. Available: {available}.")
        if not len(self.splits[name]):
            raise DataError(f"The {name} split of {self.name} is empty. Pass a file with samples in it.")
        return self.splits[name]

    def without(self, modalities: Collection[str], *notes: str) -> Dataset:
        """Return the dataset without the named modalities, with additional notes."""
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
