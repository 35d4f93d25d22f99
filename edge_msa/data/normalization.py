"""Clip and normalize features with statistics of the training frames, in the same float32 arithmetic as on the device.

Every network gets its frames through `FeatureNormalization`, so a value far outside the range that a network was
trained on cannot make its prediction meaningless. Training frames are inside the range, so clipping does not change
training.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.errors import DataError

_KEYS = ("mean", "std", "low", "high")
_CHUNK = 256  # samples per step: limits the size of float64 copies of a large array


@dataclass(frozen=True)
class FeatureNormalization:
    """Statistics of every feature: a normalized frame is (clip(frame, low, high) - mean) / std."""

    mean: Mapping[str, FloatArray]
    """(d,) float32, by modality."""
    std: Mapping[str, FloatArray]
    """(d,) float32, by modality."""
    low: Mapping[str, FloatArray]
    """The smallest value of each feature, (d,) float32, by modality; -inf if the modality is not clipped."""
    high: Mapping[str, FloatArray]
    """The largest value of each feature, (d,) float32, by modality; inf if the modality is not clipped."""
    norm: Mapping[str, float]
    """The largest Euclidean norm of a frame, by modality; inf if the modality is not clipped."""
    notes: tuple[str, ...] = ()
    """What could not be fitted, for the user."""

    def normalize_dataset(self, dataset: Dataset) -> Dataset:
        """Return the dataset with all valid frames clipped and normalized.

        An embedding table is clipped and normalized, and its ids are kept.

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
        """Return frames (..., d) of that modality clipped and normalized."""
        result: FloatArray = np.clip(values, self.low[modality], self.high[modality])
        result -= self.mean[modality]
        result /= self.std[modality]
        return result

    def widen(self, split: Split, modalities: Collection[str]) -> FeatureNormalization:
        """Return the normalization with ranges that also cover the split's valid frames of the named modalities.

        A modality that was not clipped gets the range of the split; frames of a text encoder have none. Mean and
        standard deviation stay.
        """
        low, high, norm = dict(self.low), dict(self.high), dict(self.norm)
        for name in modalities:
            frames = split.modalities.get(name)
            if frames is not None and frames.encoder is None and frames.valid.any():
                smallest, largest = _compute_range(frames)
                is_clipped = np.isfinite(low[name]).all()
                low[name] = np.minimum(low[name], smallest) if is_clipped else smallest
                high[name] = np.maximum(high[name], largest) if is_clipped else largest
                largest_norm = _compute_norm(frames)
                norm[name] = max(norm[name], largest_norm) if is_clipped else largest_norm
        return replace(self, low=low, high=high, norm=norm)

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
        mean, std, low, high = ({name: part[name] for name in modalities} for part in self._parts)
        return FeatureNormalization(mean, std, low, high, {name: self.norm[name] for name in modalities}, self.notes)

    @classmethod
    def identity(cls, dims: Mapping[str, int]) -> FeatureNormalization:
        """Return a normalization that leaves frames with these numbers of features unchanged."""
        mean, std, low, high = (
            {name: np.full(dim, fill, np.float32) for name, dim in dims.items()} for fill in (0, 1, -np.inf, np.inf)
        )
        return cls(mean, std, low, high, dict.fromkeys(dims, np.inf))

    def merge(self, other: FeatureNormalization) -> FeatureNormalization:
        """Return this normalization plus the other's for the modalities that this one lacks."""
        parts = zip(self._parts, other._parts, strict=True)
        mean, std, low, high = ({**theirs, **ours} for ours, theirs in parts)
        return FeatureNormalization(mean, std, low, high, {**other.norm, **self.norm}, self.notes)

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, each the shortest one that parses to the same float32; an infinite one is None."""
        modalities = {
            name: {key: _to_list(part[name]) for key, part in zip(_KEYS, self._parts, strict=True)}
            | {"norm": self.norm[name] if np.isfinite(self.norm[name]) else None}
            for name in self.mean
        }
        return {"modalities": modalities, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FeatureNormalization:
        """Return the normalization that `to_json` wrote.

        Raises:
            DataError: The value does not have that form.
        """
        try:
            modalities = value["modalities"]
            mean, std, low, high = (
                {name: _to_array(part[key], fill) for name, part in modalities.items()}
                for key, fill in zip(_KEYS, (np.nan, np.nan, -np.inf, np.inf), strict=True)
            )
            norms = {name: part["norm"] for name, part in modalities.items()}
            norm = {name: np.inf if value is None else float(value) for name, value in norms.items()}
            return cls(mean, std, low, high, norm, tuple(str(note) for note in value["notes"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"invalid normalization ({type(error).__name__}: {error})") from None

    @property
    def _parts(self) -> tuple[Mapping[str, FloatArray], ...]:
        return self.mean, self.std, self.low, self.high


def fit_normalization(split: Split, dims: Mapping[str, int]) -> FeatureNormalization:
    """Return the statistics of the split's valid frames.

    A constant feature gets std 1. A modality of `dims` without a valid frame in the split is neither clipped nor
    normalized and gets a note: other splits are not training data, so their statistics are not used. The frames of a
    text encoder are not clipped or normalized either.
    """
    unchanged = FeatureNormalization.identity(dims)
    mean, std, low, high = (dict(part) for part in (unchanged.mean, unchanged.std, unchanged.low, unchanged.high))
    norm = dict(unchanged.norm)
    notes = []
    for modality in dims:
        frames = split.modalities.get(modality)
        if frames is None or not frames.valid.any():
            notes.append(f"{modality}: not normalized, the train split has no frame of it")
            continue
        if frames.encoder is not None:
            continue
        center, deviation = _compute_moments(frames)
        # Rounding leaves a tiny deviation in a constant feature; dividing by less than 1e-12 overflows float32.
        constant = (deviation <= 1e-6 * np.abs(center)) | (deviation <= 1e-12)
        mean[modality] = center.astype(np.float32)
        std[modality] = np.where(constant, 1, deviation).astype(np.float32)
        low[modality], high[modality] = _compute_range(frames)
        norm[modality] = _compute_norm(frames)
    return FeatureNormalization(mean, std, low, high, norm, tuple(notes))


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


def _compute_range(frames: Frames) -> tuple[FloatArray, FloatArray]:
    """Return the minimum and maximum of every feature over the valid frames, (d,)."""
    if frames.ids is not None and frames.table is not None:
        rows = frames.table[np.unique(frames.ids[frames.valid])]
        return rows.min(axis=0), rows.max(axis=0)
    assert frames.values is not None  # noqa: S101 - checked by Frames
    valid = frames.valid[:, :, None]
    return (
        frames.values.min(axis=(0, 1), where=valid, initial=np.inf),
        frames.values.max(axis=(0, 1), where=valid, initial=-np.inf),
    )


def _compute_norm(frames: Frames) -> float:
    """Return the largest Euclidean norm of a valid frame."""
    if frames.ids is not None and frames.table is not None:
        rows = frames.table[np.unique(frames.ids[frames.valid])].astype(np.float64)
        return float(np.sqrt(np.einsum("nd,nd->n", rows, rows).max()))
    assert frames.values is not None  # noqa: S101 - checked by Frames
    largest = 0.0
    for start in range(0, len(frames.valid), _CHUNK):
        rows = _valid_frames(frames.values, frames.valid, start)
        largest = max(largest, float(np.einsum("nd,nd->n", rows, rows).max(initial=0)))
    return float(np.sqrt(largest))


def _valid_frames(values: FloatArray, valid: NDArray[np.bool_], start: int) -> NDArray[np.float64]:
    return values[start : start + _CHUNK][valid[start : start + _CHUNK]].astype(np.float64)


def _to_list(values: FloatArray) -> list[float | None]:
    return [float(np.format_float_scientific(value)) if np.isfinite(value) else None for value in values]


def _to_array(values: list[float | None], fill: float) -> FloatArray:
    return np.array([fill if value is None else value for value in values], np.float32)
