"""Normalize features with statistics of the training frames, in the same float32 arithmetic as on the device."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.errors import DataError

_CHUNK = 256  # samples per step: limits the size of float64 copies of a large array


@dataclass(frozen=True)
class FeatureNormalization:
    """Mean and standard deviation of every feature: a normalized frame is (frame - mean) / std."""

    mean: Mapping[str, FloatArray]
    """(d,) float32, by modality."""
    std: Mapping[str, FloatArray]
    """(d,) float32, by modality."""
    notes: tuple[str, ...] = ()
    """What could not be fitted, for the user."""

    def normalize_dataset(self, dataset: Dataset) -> Dataset:
        """Return the dataset with all valid frames normalized; an embedding table is normalized and its ids are kept.

        Raises:
            DataError: A modality is unknown, or has another number of features.
        """
        for modality, width in dataset.dims.items():
            mean = self.mean.get(modality)
            if mean is None or mean.shape != (width,):
                fitted = "no features" if mean is None else f"{len(mean)} features"
                raise DataError(
                    f"{modality} of {dataset.name} has {width} features, but the normalization was fitted on {fitted}. "
                    "Pass the data that the model was trained on."
                )
        tables: dict[int, FloatArray] = {}
        splits = {name: self.normalize_split(split, tables) for name, split in dataset.splits.items()}
        return replace(dataset, splits=splits, notes=(*dataset.notes, *self.notes))

    def normalize_split(self, split: Split, tables: dict[int, FloatArray] | None = None) -> Split:
        """Return the split normalized. `tables` caches normalized embedding tables that several splits share."""
        cache: dict[int, FloatArray] = {} if tables is None else tables
        modalities = {name: self._normalize(name, frames, cache) for name, frames in split.modalities.items()}
        return replace(split, modalities=modalities)

    def normalize_frames(self, modality: str, values: FloatArray) -> FloatArray:
        """Return frames (..., d) of that modality normalized."""
        result: FloatArray = (values - self.mean[modality]) / self.std[modality]
        return result

    def _normalize(self, name: str, frames: Frames, tables: dict[int, FloatArray]) -> Frames:
        if frames.table is not None:
            if id(frames.table) not in tables:
                tables[id(frames.table)] = self.normalize_frames(name, frames.table)
            return replace(frames, table=tables[id(frames.table)])
        if frames.encoder is not None:
            if self.mean[name].any() or (self.std[name] != 1).any():
                raise DataError(
                    f"The model must take {name} features, because it normalizes them, got texts for a text encoder. "
                    "Pass the data that the model was trained on."
                )
            return frames
        assert frames.values is not None  # noqa: S101 - checked by Frames
        values = self.normalize_frames(name, frames.values)
        values[~frames.valid] = 0
        return replace(frames, values=values)

    def select(self, modalities: Collection[str]) -> FeatureNormalization:
        """Return the normalization of the named modalities only."""
        mean, std = ({name: part[name] for name in modalities} for part in (self.mean, self.std))
        return replace(self, mean=mean, std=std)

    @classmethod
    def identity(cls, dims: Mapping[str, int]) -> FeatureNormalization:
        """Return a normalization that leaves frames with these numbers of features unchanged."""
        return cls(
            {name: np.zeros(dim, np.float32) for name, dim in dims.items()},
            {name: np.ones(dim, np.float32) for name, dim in dims.items()},
        )

    def merge(self, other: FeatureNormalization) -> FeatureNormalization:
        """Return this normalization plus the other's for the modalities that this one lacks."""
        return FeatureNormalization({**other.mean, **self.mean}, {**other.std, **self.std}, self.notes)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, each the shortest one that parses to the same float32."""
        modalities = {name: {"mean": _to_list(self.mean[name]), "std": _to_list(self.std[name])} for name in self.mean}
        return {"modalities": modalities, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureNormalization:
        """Return the normalization that `to_json` wrote.

        Raises:
            DataError: The value does not have that form.
        """
        try:
            modalities = value["modalities"]
            mean = {name: np.array(part["mean"], np.float32) for name, part in modalities.items()}
            std = {name: np.array(part["std"], np.float32) for name, part in modalities.items()}
            return cls(mean, std, tuple(str(note) for note in value["notes"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"invalid normalization ({type(error).__name__}: {error})") from None


def fit_normalization(split: Split, dims: Mapping[str, int]) -> FeatureNormalization:
    """Return the mean and standard deviation of every feature over the split's valid frames.

    A constant feature gets std 1. A modality of `dims` without a valid frame in the split is not normalized (mean 0,
    std 1) and gets a note: other splits are not training data, so their statistics are not used. The frames of a text
    encoder are not normalized either.
    """
    mean: dict[str, FloatArray] = {}
    std: dict[str, FloatArray] = {}
    notes = []
    for modality, width in dims.items():
        frames = split.modalities.get(modality)
        if frames is None or not frames.valid.any():
            mean[modality], std[modality] = np.zeros(width, np.float32), np.ones(width, np.float32)
            notes.append(f"{modality}: not normalized, the train split has no frame of it")
            continue
        if frames.encoder is not None:
            mean[modality], std[modality] = np.zeros(width, np.float32), np.ones(width, np.float32)
            continue
        center, deviation = _compute_moments(frames)
        # Rounding leaves a tiny deviation in a constant feature; dividing by less than 1e-12 overflows float32.
        constant = (deviation <= 1e-6 * np.abs(center)) | (deviation <= 1e-12)
        mean[modality] = center.astype(np.float32)
        std[modality] = np.where(constant, 1, deviation).astype(np.float32)
    return FeatureNormalization(mean, std, tuple(notes))


def _compute_moments(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (d,) in float64; in two passes, because audio features are not centered."""
    if frames.ids is not None and frames.table is not None:
        counts = np.bincount(frames.ids[frames.valid], minlength=len(frames.table)).astype(np.float64)
        table = frames.table.astype(np.float64)
        mean = counts @ table / counts.sum()
        return mean, np.sqrt(counts @ (table - mean) ** 2 / counts.sum())
    assert frames.values is not None  # noqa: S101 - checked by Frames
    starts = range(0, len(frames.valid), _CHUNK)
    count = int(frames.valid.sum())
    total = np.zeros(frames.dim)
    for start in starts:
        total += _valid_frames(frames.values, frames.valid, start).sum(axis=0)
    mean = total / count
    square = np.zeros(frames.dim)
    for start in starts:
        square += ((_valid_frames(frames.values, frames.valid, start) - mean) ** 2).sum(axis=0)
    return mean, np.sqrt(square / count)


def _valid_frames(values: FloatArray, valid: NDArray[np.bool_], start: int) -> NDArray[np.float64]:
    return values[start : start + _CHUNK][valid[start : start + _CHUNK]].astype(np.float64)


def _to_list(values: FloatArray) -> list[float]:
    return [float(np.format_float_scientific(value)) for value in values]
