"""Interventions on inputs: what changes if a feature is replaced by its mean, or a modality is removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.evaluation.metrics import Interval, simultaneous_mean_intervals

MAX_FEATURES = 128
"""A modality with more features is intervened on in groups of features with a common name."""

Predict = Callable[[Split], FloatArray]
"""Return the predictions for a normalized split, (N, outputs)."""
Kind = Literal["feature", "group", "all features", "removed"]


@dataclass(frozen=True)
class FeatureGroup:
    """Features that are replaced together.

    Attributes:
        modality: Their modality.
        name: Their name.
        columns: Their numbers, from 0.
        kind: What they are.
    """

    modality: str
    name: str
    columns: tuple[int, ...]
    kind: Kind


@dataclass(frozen=True)
class Intervention:
    """The effect of one intervention on all samples. The intervals of all interventions are simultaneous.

    Attributes:
        modality: The modality.
        name: Name of the input.
        kind: Whether a feature, a group of them or all of the modality were replaced by their means, or the modality
            was removed.
        features: Number of features.
        shift: Mean change of the score, with its sign. Mean absolute change of probabilities.
        error_increase: Change of the mean absolute error. None without labels.
    """

    modality: str
    name: str
    kind: Kind
    features: int
    shift: Interval
    error_increase: Interval | None

    @property
    def magnitude(self) -> float:
        """What interventions are sorted by: the size of the change of the error, or of the prediction."""
        return abs((self.shift if self.error_increase is None else self.error_increase).value)


def feature_groups(modality: str, dim: int, names: Sequence[str], units: Sequence[str]) -> list[FeatureGroup]:
    """Return what is replaced in a modality: each feature or group of features, and then all of them together.

    Without names, a modality with more than `MAX_FEATURES` features has only the last one: its features, such as those
    of a text encoder, have no meaning of their own.

    Args:
        modality: The modality.
        dim: Number of its features.
        names: Their names. Empty if unknown.
        units: Their units. Empty if unknown.
    """
    everything = FeatureGroup(modality, f"all {dim} features", tuple(range(dim)), "all features")
    known = names if len(names) == dim else [f"feature {column + 1}" for column in range(dim)]
    if dim <= MAX_FEATURES:
        described = [
            f"{name} ({units[column]})" if len(units) == dim and units[column] else name
            for column, name in enumerate(known)
        ]
        singles = [FeatureGroup(modality, name, (column,), "feature") for column, name in enumerate(described)]
        return [*singles, everything] if dim > 1 else singles
    stems: dict[str, list[int]] = {}
    if len(names) == dim:
        for column, name in enumerate(names):
            stems.setdefault(re.sub(r"[\W_]*\d+\W*$", "", name) or name, []).append(column)
    if not 1 < len(stems) <= MAX_FEATURES:
        return [everything]
    groups = [
        FeatureGroup(modality, f"{stem} ({len(columns)} features)", tuple(columns), "group")
        for stem, columns in stems.items()
    ]
    return [*groups, everything]


def replace_by_mean(frames: Frames, valid: BoolArray, columns: Sequence[int]) -> Frames | None:
    """Return the modality with the features replaced by their means over the valid frames.

    Args:
        frames: The modality, normalized.
        valid: Its valid frames, (N, T).
        columns: Numbers of the features.

    Returns:
        The modality. None if a text encoder computes the frames, whose features cannot be replaced.
    """
    selected = np.asarray(columns)
    if frames.values is not None:
        values = frames.values.copy()
        values[..., selected] = np.where(
            valid[..., None], frames.values[valid][:, selected].mean(axis=0), values[..., selected]
        )
        return replace(frames, values=values)
    if frames.table is None or frames.ids is None:
        return None
    table = frames.table.copy()
    table[:, selected] = frames.table[frames.ids[valid]][:, selected].mean(axis=0)
    return replace(frames, table=table)


def compute_interventions(
    split: Split,
    valid: Mapping[str, BoolArray],
    groups: Sequence[FeatureGroup],
    *,
    predict: Predict,
    predictions: FloatArray,
    without: Mapping[str, FloatArray],
    is_score: bool,
) -> list[Intervention]:
    """Return the effect of each intervention, the largest first, with simultaneous 95 % intervals.

    Args:
        split: The normalized split. Labels of classes are one-hot.
        valid: Valid frames by modality, (N, T).
        groups: Features to replace. Those that a text encoder computes are skipped.
        predict: Returns predictions.
        predictions: Predictions without intervention, (N, outputs).
        without: Predictions without a modality, by modality.
        is_score: Whether predictions are scores.
    """
    labels = split.labels.reshape(predictions.shape)
    has_labels = bool(np.isfinite(labels).all())
    sources = list(_all_predictions(split, valid, groups, predict, without))
    columns = []
    for _, changed in sources:
        shift = changed - predictions if is_score else np.abs(changed - predictions)
        columns.append(shift.mean(axis=1))
    if has_labels:
        errors = np.abs(predictions - labels).mean(axis=1)
        columns += [np.abs(changed - labels).mean(axis=1) - errors for _, changed in sources]
    if not columns:
        return []
    intervals = simultaneous_mean_intervals(np.stack(columns, axis=1), split.groups)
    count = len(sources)
    results = [
        Intervention(
            group.modality,
            group.name,
            group.kind,
            len(group.columns),
            intervals[index],
            intervals[count + index] if has_labels else None,
        )
        for index, (group, _) in enumerate(sources)
    ]
    return sorted(results, key=lambda item: -item.magnitude)


def _all_predictions(
    split: Split,
    valid: Mapping[str, BoolArray],
    groups: Sequence[FeatureGroup],
    predict: Predict,
    without: Mapping[str, FloatArray],
) -> Iterator[tuple[FeatureGroup, NDArray[np.float32]]]:
    for group in groups:
        changed = replace_by_mean(split.modalities[group.modality], valid[group.modality], group.columns)
        if changed is not None:
            yield group, predict(replace(split, modalities={**split.modalities, group.modality: changed}))
    for name, removed in without.items():
        dim = split.modalities[name].dim
        yield FeatureGroup(name, f"{name} removed", tuple(range(dim)), "removed"), removed
