"""Per-feature normalization, fitted on training frames alone: the same float32 arithmetic as on the device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.errors import DataError

_ROWS = 256  # samples taken together: keeps float64 copies of a 2 GB array small


@dataclass(frozen=True)
class Normalization:
    """`mean` and `std`, (d,) float32 by modality: a normalized frame is (frame - mean) / std.

    `notes` say what could not be fitted.
    """

    mean: Mapping[str, FloatArray]
    std: Mapping[str, FloatArray]
    notes: tuple[str, ...] = ()

    def apply(self, dataset: Dataset) -> Dataset:
        """The dataset with every valid frame normalized; a table is normalized once and keeps its ids.

        Raises:
            DataError: a modality is unknown here, or of another width.
        """
        for modality, width in dataset.dims.items():
            known = self.mean.get(modality)
            if known is None or known.shape != (width,):
                have = "none" if known is None else len(known)
                raise DataError(
                    f"{modality} of {dataset.name} has {width} features; normalization was fitted on {have}"
                )
        tables: dict[int, FloatArray] = {}
        splits = {name: self.split(split, tables) for name, split in dataset.splits.items()}
        return replace(dataset, splits=splits, notes=(*dataset.notes, *self.notes))

    def split(self, split: Split, tables: dict[int, FloatArray] | None = None) -> Split:
        """One split normalized; `tables` remembers embedding tables between splits that share one."""
        known: dict[int, FloatArray] = {} if tables is None else tables
        modalities = {name: self._frames(name, frames, known) for name, frames in split.modalities.items()}
        return replace(split, modalities=modalities)

    def frames(self, modality: str, values: FloatArray) -> FloatArray:
        """Frames (..., d) normalized."""
        result: FloatArray = (values - self.mean[modality]) / self.std[modality]
        return result

    def _frames(self, modality: str, frames: Frames, tables: dict[int, FloatArray]) -> Frames:
        if frames.table is not None:
            if id(frames.table) not in tables:
                tables[id(frames.table)] = self.frames(modality, frames.table)
            return replace(frames, table=tables[id(frames.table)])
        assert frames.values is not None  # noqa: S101 - held by Frames
        values = self.frames(modality, frames.values)
        values[~frames.valid] = 0
        return replace(frames, values=values)

    def only(self, modalities: Collection[str]) -> Normalization:
        """Of those modalities alone."""
        mean, std = ({name: part[name] for name in modalities} for part in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    @classmethod
    def identity(cls, dims: Mapping[str, int]) -> Normalization:
        """One that leaves frames of those widths as they are."""
        return cls(
            {name: np.zeros(dim, np.float32) for name, dim in dims.items()},
            {name: np.ones(dim, np.float32) for name, dim in dims.items()},
        )

    def joined(self, other: Normalization) -> Normalization:
        """This one, and the other's for the modalities that it lacks."""
        return Normalization({**other.mean, **self.mean}, {**other.std, **self.std}, self.notes)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, each the shortest that reads back to the same float32."""
        modalities = {m: {"mean": _plain(self.mean[m]), "std": _plain(self.std[m])} for m in self.mean}
        return {"modalities": modalities, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Normalization:
        """What `to_json` gave.

        Raises:
            DataError: it is not of that form.
        """
        try:
            modalities = content["modalities"]
            mean = {m: np.array(part["mean"], np.float32) for m, part in modalities.items()}
            std = {m: np.array(part["std"], np.float32) for m, part in modalities.items()}
            return cls(mean, std, tuple(str(note) for note in content["notes"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"the normalization cannot be read ({type(error).__name__}: {error})") from None


def fit_normalization(split: Split, dims: Mapping[str, int]) -> Normalization:
    """Mean and standard deviation of every feature over the split's valid frames.

    A feature that does not vary gets std 1. A modality of `dims` that the split has no valid frame of is left as it is
    (mean 0, std 1), with a note: statistics of other splits are not training data.
    """
    mean: dict[str, FloatArray] = {}
    std: dict[str, FloatArray] = {}
    notes = []
    for modality, width in dims.items():
        frames = split.modalities.get(modality)
        if frames is None or not frames.valid.any():
            mean[modality], std[modality] = np.zeros(width, np.float32), np.ones(width, np.float32)
            notes.append(f"{modality}: the training split has no frames of it, so it is not normalized")
            continue
        center, spread = _moments(frames)
        flat = (spread <= 1e-6 * np.abs(center)) | (spread <= 1e-12)  # rounding, or beyond float32
        mean[modality] = center.astype(np.float32)
        std[modality] = np.where(flat, 1, spread).astype(np.float32)
    return Normalization(mean, std, tuple(notes))


def _moments(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (d,) in float64, in two passes: audio features are far from centred."""
    if frames.ids is not None and frames.table is not None:
        counts = np.bincount(frames.ids[frames.valid], minlength=len(frames.table)).astype(np.float64)
        table = frames.table.astype(np.float64)
        mean = counts @ table / counts.sum()
        return mean, np.sqrt(counts @ (table - mean) ** 2 / counts.sum())
    assert frames.values is not None  # noqa: S101 - held by Frames
    parts = range(0, len(frames.valid), _ROWS)
    count = int(frames.valid.sum())
    total = np.zeros(frames.dim)
    for at in parts:
        total += _valid_rows(frames.values, frames.valid, at).sum(axis=0)
    mean = total / count
    square = np.zeros(frames.dim)
    for at in parts:
        square += ((_valid_rows(frames.values, frames.valid, at) - mean) ** 2).sum(axis=0)
    return mean, np.sqrt(square / count)


def _valid_rows(values: FloatArray, valid: NDArray[np.bool_], at: int) -> NDArray[np.float64]:
    return values[at : at + _ROWS][valid[at : at + _ROWS]].astype(np.float64)


def _plain(values: FloatArray) -> list[float]:
    return [float(np.format_float_scientific(value)) for value in values]
