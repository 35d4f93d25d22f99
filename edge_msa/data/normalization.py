"""Normalize and clip features with robust statistics of the training frames, in the same arithmetic as on the device.

Every network gets its frames through `FeatureNormalization`, in training and afterwards, so a value far outside the
range that a network was trained on cannot make its prediction meaningless. All features have the same limits in units
of their standard deviation. Frames are one INT8 tensor with one scale, which the outliers of a few features would
otherwise determine for all.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, FloatArray, Frames, Split
from edge_msa.errors import DataError

LIMIT = 6.0
"""Normalized features are clipped to plus or minus this value, or to the largest one in training if that is less."""
_TAIL = 0.01
_STRETCH = 2.0
"""The moments of a feature are those of its values clipped to `_STRETCH` times the distances from the median to the
quantiles of `_TAIL` and 1 - `_TAIL`. In a normal distribution these are 4.7 standard deviations, so the moments of
features without heavy tails are the usual ones."""
_QUANTILE_FRAMES = 100_000
"""Largest number of frames that quantiles are computed from. They are evenly spaced over the split."""
_CHUNK = 256  # samples per step: limits the size of float64 copies of a large array


@dataclass(frozen=True)
class FeatureNormalization:
    """Statistics of every feature: a normalized frame is clip((frame - mean) / std, -limit, limit)."""

    mean: Mapping[str, FloatArray]
    """(d,) float32, by modality."""
    std: Mapping[str, FloatArray]
    """(d,) float32, by modality. It is infinite for a feature that is constant in training: networks see zeros."""
    limit: Mapping[str, float]
    """The largest absolute value of a normalized feature, by modality; inf if the modality is not clipped."""
    norm: Mapping[str, float]
    """The largest Euclidean norm of a training frame, clipped but not normalized, by modality; inf if not known."""
    notes: tuple[str, ...] = ()
    """What is not normalized or not used, for the user."""

    @property
    def spread(self) -> dict[str, FloatArray]:
        """The standard deviation of each feature, (d,) float32, by modality; 0 for a constant feature."""
        return {name: np.where(np.isinf(std), np.float32(0), std) for name, std in self.std.items()}

    def normalize_dataset(self, dataset: Dataset) -> Dataset:
        """Return the dataset with all valid frames normalized and clipped.

        An embedding table is normalized and clipped, and its ids are kept.

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
        """Return frames (..., d) of that modality normalized and clipped."""
        with np.errstate(over="ignore", invalid="ignore"):  # clipping makes infinite values finite
            result: FloatArray = (values - self.mean[modality]) / self.std[modality]
        limit = np.float32(self.limit[modality])
        return np.clip(result, -limit, limit, out=result)

    def complete(self, split: Split, modalities: Collection[str]) -> FeatureNormalization:
        """Return the normalization with the statistics of a split for those of the named modalities that have none.

        For the others, limit and norm also cover the frames of the split. Mean and standard deviation stay. Frames of a
        text encoder are not normalized.
        """
        missing = {name: len(self.mean[name]) for name in modalities if np.isinf(self.limit[name])}
        limit, norm = dict(self.limit), dict(self.norm)
        for name in modalities:
            frames = split.modalities.get(name)
            if name not in missing and frames is not None and frames.encoder is None and frames.valid.any():
                found, largest = _compute_range(frames, self.mean[name], self.std[name])
                limit[name], norm[name] = max(limit[name], found), max(norm[name], largest)
        wider = replace(self, limit=limit, norm=norm)
        return fit_normalization(split, missing).merge(wider) if missing else wider

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
        return FeatureNormalization(
            {name: self.mean[name] for name in modalities},
            {name: self.std[name] for name in modalities},
            {name: self.limit[name] for name in modalities},
            {name: self.norm[name] for name in modalities},
            self.notes,
        )

    @classmethod
    def identity(cls, dims: Mapping[str, int]) -> FeatureNormalization:
        """Return a normalization that leaves frames with these numbers of features unchanged."""
        mean = {name: np.zeros(dim, np.float32) for name, dim in dims.items()}
        std = {name: np.ones(dim, np.float32) for name, dim in dims.items()}
        return cls(mean, std, dict.fromkeys(dims, np.inf), dict.fromkeys(dims, np.inf))

    def merge(self, other: FeatureNormalization) -> FeatureNormalization:
        """Return this normalization plus the other's for the modalities that this one lacks."""
        return FeatureNormalization(
            {**other.mean, **self.mean},
            {**other.std, **self.std},
            {**other.limit, **self.limit},
            {**other.norm, **self.norm},
            self.notes,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, each the shortest one that parses to the same float32; an infinite one is None."""
        modalities = {
            name: {
                "mean": _to_list(self.mean[name]),
                "std": _to_list(self.std[name]),
                "limit": self.limit[name] if np.isfinite(self.limit[name]) else None,
                "norm": self.norm[name] if np.isfinite(self.norm[name]) else None,
            }
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
            mean = {name: np.array(part["mean"], np.float32) for name, part in modalities.items()}
            std = {name: _to_array(part["std"]) for name, part in modalities.items()}
            limit, norm = (
                {name: np.inf if part[key] is None else float(part[key]) for name, part in modalities.items()}
                for key in ("limit", "norm")
            )
            return cls(mean, std, limit, norm, tuple(str(note) for note in value["notes"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"invalid normalization ({type(error).__name__}: {error})") from None


def fit_normalization(split: Split, dims: Mapping[str, int]) -> FeatureNormalization:
    """Return the statistics of the split's valid frames.

    Mean and standard deviation are those of values without far outliers. A constant feature gets an infinite standard
    deviation, so networks see zeros. A modality of `dims` without a valid frame in the split is neither normalized nor
    clipped and gets a note: other splits are not training data, so their statistics are not used. The frames of a text
    encoder are not normalized or clipped either.
    """
    unchanged = FeatureNormalization.identity(dims)
    mean, std = dict(unchanged.mean), dict(unchanged.std)
    limit, norm = dict(unchanged.limit), dict(unchanged.norm)
    notes = []
    for modality in dims:
        frames = split.modalities.get(modality)
        if frames is None or not frames.valid.any():
            notes.append(f"{modality}: not normalized, the train split has no frame of it")
            continue
        if frames.encoder is not None:
            continue
        center, deviation = _compute_moments(frames, *_outlier_limits(frames))
        # Rounding leaves a tiny deviation in a constant feature; dividing by less than 1e-12 overflows float32.
        constant = (deviation <= 1e-6 * np.abs(center)) | (deviation <= 1e-12)
        if constant.any():
            notes.append(f"{modality}: {constant.sum()} of {len(constant)} features not used, constant in training")
        mean[modality] = center.astype(np.float32)
        std[modality] = np.where(constant, np.inf, deviation).astype(np.float32)
        limit[modality], norm[modality] = _compute_range(frames, mean[modality], std[modality])
    return FeatureNormalization(mean, std, limit, norm, tuple(notes))


def _outlier_limits(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values (d,) to which the values of each feature are clipped to compute its moments."""
    rows, places = np.nonzero(frames.valid)
    if len(rows) > _QUANTILE_FRAMES:
        chosen = np.linspace(0, len(rows) - 1, _QUANTILE_FRAMES).astype(np.int64)
        rows, places = rows[chosen], places[chosen]
    if frames.ids is not None and frames.table is not None:
        values = frames.table[frames.ids[rows, places]]
    else:
        assert frames.values is not None  # noqa: S101 - checked by Frames
        values = frames.values[rows, places]
    low, median, high = np.quantile(values, [_TAIL, 0.5, 1 - _TAIL], axis=0).astype(np.float64)
    low, high = median - _STRETCH * (median - low), median + _STRETCH * (high - median)
    # A feature that is almost always the same keeps its rare values. The limit of normalized values bounds them.
    sparse = low >= high
    return np.where(sparse, -np.inf, low), np.where(sparse, np.inf, high)


def _compute_moments(
    frames: Frames, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation (d,) in float64 of the values clipped to [low, high].

    They are computed in two passes, because audio features are not centered.
    """
    if frames.ids is not None and frames.table is not None:
        counts = np.bincount(frames.ids[frames.valid], minlength=len(frames.table)).astype(np.float64)
        table = np.clip(frames.table.astype(np.float64), low, high)
        mean = counts @ table / counts.sum()
        return mean, np.sqrt(counts @ (table - mean) ** 2 / counts.sum())
    assert frames.values is not None  # noqa: S101 - checked by Frames
    starts = range(0, len(frames.valid), _CHUNK)
    count = int(frames.valid.sum())
    total = np.zeros(frames.dim)
    for start in starts:
        total += np.clip(_valid_frames(frames.values, frames.valid, start), low, high).sum(axis=0)
    mean = total / count
    square = np.zeros(frames.dim)
    for start in starts:
        square += ((np.clip(_valid_frames(frames.values, frames.valid, start), low, high) - mean) ** 2).sum(axis=0)
    return mean, np.sqrt(square / count)


def _compute_range(frames: Frames, mean: FloatArray, std: FloatArray) -> tuple[float, float]:
    """Return the limit of normalized features, and the largest Euclidean norm of a valid frame clipped to it."""
    center, scale = mean.astype(np.float64), std.astype(np.float64)
    largest = max(float(np.abs((rows - center) / scale).max(initial=0)) for rows in _iterate_rows(frames))
    # Rounded up, so that it clips no training frame. If no feature varies, any limit will do.
    limit = min(LIMIT, math.ceil(100 * largest) / 100) or LIMIT
    reach = np.where(np.isinf(scale), 0.0, scale * limit)
    clipped = (np.clip(rows, center - reach, center + reach) for rows in _iterate_rows(frames))
    return limit, float(np.sqrt(max(np.einsum("nd,nd->n", rows, rows).max(initial=0) for rows in clipped)))


def _iterate_rows(frames: Frames) -> Iterator[NDArray[np.float64]]:
    """Yield the valid frames (n, d) of some samples at a time, or once the rows of a table that occur."""
    if frames.ids is not None and frames.table is not None:
        yield frames.table[np.unique(frames.ids[frames.valid])].astype(np.float64)
        return
    assert frames.values is not None  # noqa: S101 - checked by Frames
    for start in range(0, len(frames.valid), _CHUNK):
        yield _valid_frames(frames.values, frames.valid, start)


def _valid_frames(values: FloatArray, valid: NDArray[np.bool_], start: int) -> NDArray[np.float64]:
    return values[start : start + _CHUNK][valid[start : start + _CHUNK]].astype(np.float64)


def _to_list(values: FloatArray) -> list[float | None]:
    return [float(np.format_float_scientific(value)) if np.isfinite(value) else None for value in values]


def _to_array(values: list[float | None]) -> FloatArray:
    return np.array([np.inf if value is None else value for value in values], np.float32)
