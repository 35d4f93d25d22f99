"""Calibrate the prediction intervals of scores, and the prediction sets of classes, on the validation split.

The errors are those of the run in torch, for complete utterances and for utterances with missing frames. The outputs of
a backend at a precision differ from those of torch. This difference is known for the complete utterances, from the
predictions that the accuracy gate makes, and is added to the outputs of the same sample and subset. The tables are then
those of each backend and precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.data.tasks import Task
from edge_msa.evaluation.intervals.conformal import half_widths
from edge_msa.evaluation.intervals.frame_loss import lose_frames
from edge_msa.evaluation.metrics.probabilities import log_softmax
from edge_msa.evaluation.subsets import Predict, sample_rows
from edge_msa_runtime.classes import PredictionSets
from edge_msa_runtime.conformal import Thresholds
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.modalities import Subset, subsets_of

COVERAGES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
EDGES = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Evidence between bins. Finer bins did not improve the coverage on the synthetic data; see the page on intervals."""
_PREDICTIONS = 4000
"""Utterances with missing frames to predict from each subset, if no text must be encoded."""
_MAX_DRAWS = 8
"""Largest number of times that an utterance loses frames."""
_MAX_ENCODED_DRAWS = 2
"""The same if each time its text must be encoded, which is slow."""
_DECIMALS = 4
"""Thresholds are rounded up to this many decimals."""

Key = tuple[str, str]
"""Backend and precision."""


@dataclass(frozen=True)
class SubsetOutputs:
    """Outputs of a subset: D + 1 predictions of each sample that has all of its modalities."""

    rows: NDArray[np.int64]
    """Samples of the split, (n,)."""
    outputs: FloatArray
    """Scores (D + 1, n) or logits (D + 1, n, K): the first for complete utterances, the others with missing frames."""
    evidence: NDArray[np.float64]
    """(D + 1, n)."""

    @property
    def bins(self) -> NDArray[np.int64]:
        """The bin of evidence of each prediction, (D + 1, n)."""
        return np.searchsorted(EDGES, self.evidence, side="right")


@dataclass(frozen=True)
class ValidationOutputs:
    """The outputs from which intervals or sets are calibrated, and the labels."""

    task: Task
    """The task."""
    labels: FloatArray
    """(N,)."""
    groups: tuple[str, ...]
    """Video of each sample, (N,)."""
    typical_frames: Mapping[str, float]
    """Median number of frames by modality."""
    by_subset: Mapping[str, SubsetOutputs]
    """Outputs by subset."""

    @cached_property
    def videos(self) -> NDArray[np.int64]:
        """Number of each sample's video, (N,)."""
        return np.unique(self.groups, return_inverse=True)[1].reshape(-1)


def collect_outputs(task: Task, split: Split, predict: Predict, *, seed: int = 0) -> ValidationOutputs | None:
    """Predict the labeled samples of a split, complete and with missing frames.

    Args:
        task: The task.
        split: The validation split.
        predict: The run in torch.
        seed: Seed of the missing frames.

    Returns:
        The outputs, or None if the labels are emotions or if no sample has a label.
    """
    if task.kind == "emotions" or not np.isfinite(split.labels).any():
        return None
    lengths = {name: frames.lengths for name, frames in split.modalities.items()}
    typical = {name: float(np.median(counts[counts > 0])) for name, counts in lengths.items() if counts.any()}
    is_encoded = any(frames.encoder is not None for frames in split.modalities.values())
    draws = min(_MAX_ENCODED_DRAWS if is_encoded else _MAX_DRAWS, -(-_PREDICTIONS // len(split)))
    rng = np.random.default_rng(seed)
    variants = [_encode(split), *(_encode(lose_frames(split, rng)) for _ in range(draws))]
    by_subset = {}
    for subset in subsets_of(typical):
        complete = np.all([lengths[name] > 0 for name in subset.modalities], axis=0)
        rows = np.flatnonzero(complete & np.isfinite(split.labels))
        if len(rows):
            parts = [_select(variant, rows, subset) for variant in variants]
            outputs = np.stack([np.asarray(predict(part, subset), np.float32) for part in parts])
            counts = ({name: frames.lengths for name, frames in part.modalities.items()} for part in parts)
            evidence = np.stack([measure_evidence(item, subset, typical) for item in counts])
            by_subset[subset.value] = SubsetOutputs(rows, outputs, evidence)
    return ValidationOutputs(task, split.labels, split.groups, typical, by_subset)


def calibrate_intervals(
    outputs: ValidationOutputs,
    split: Split,
    predictions: Mapping[Key, Mapping[str, FloatArray]],
    memory: Mapping[str, FloatArray] | None = None,
) -> Intervals:
    """Return the half widths of every backend and precision.

    Args:
        outputs: Scores of `collect_outputs` for the split.
        split: The validation split.
        predictions: Predictions of complete utterances by backend and precision, then by subset: those of
            `sample_rows`.
        memory: What the conversation memory adds to these predictions, by subset, as if its parameters had been fitted
            without the video; 0 where it adds nothing. Scores with missing frames change by the same numbers.
    """

    def errors(scores: FloatArray, labels: FloatArray) -> FloatArray:
        return np.abs(labels - np.clip(scores, outputs.task.low, outputs.task.high))

    tables: dict[str, dict[str, Thresholds]] = {}
    tables_with_context: dict[str, dict[str, Thresholds]] = {}
    for (backend, precision), by_subset in predictions.items():
        table, with_context = {}, {}
        for name, item in outputs.by_subset.items():
            positions = np.searchsorted(sample_rows(split, Subset(name)), item.rows)
            shifted = item.outputs + by_subset[name][positions] - item.outputs[0]
            table[name] = _bins(outputs, item, shifted, errors)
            change = (memory or {}).get(name, np.zeros(len(split)))[positions]
            if change.any():
                with_context[name] = _bins(outputs, item, shifted + change, errors, change != 0)
        tables.setdefault(backend, {})[precision] = table
        if with_context:
            tables_with_context.setdefault(backend, {})[precision] = with_context
    videos = len(set(outputs.groups))
    return Intervals(COVERAGES, EDGES, outputs.typical_frames, videos, tables, tables_with_context)


def calibrate_sets(
    outputs: ValidationOutputs,
    split: Split,
    predictions: Mapping[Key, Mapping[str, FloatArray]],
    temperature: float,
) -> PredictionSets:
    """Return the thresholds of the prediction sets of every backend and precision.

    Args:
        outputs: Logits of `collect_outputs` for the split.
        split: The validation split.
        predictions: Logits of complete utterances by backend and precision, then by subset: those of `sample_rows`.
        temperature: The temperature of the probabilities.
    """

    def errors(logits: FloatArray, labels: FloatArray) -> NDArray[np.float64]:
        return improbability(logits / temperature, labels)

    tables: dict[str, dict[str, Thresholds]] = {}
    for (backend, precision), by_subset in predictions.items():
        table = {}
        for name, item in outputs.by_subset.items():
            positions = np.searchsorted(sample_rows(split, Subset(name)), item.rows)
            shifted = item.outputs + by_subset[name][positions] - item.outputs[0]
            table[name] = _bins(outputs, item, shifted, errors)
        tables.setdefault(backend, {})[precision] = table
    return PredictionSets(COVERAGES, EDGES, outputs.typical_frames, len(set(outputs.groups)), tables)


def improbability(logits: NDArray[np.floating], labels: FloatArray) -> NDArray[np.float64]:
    """Return 1 - the probability of the label, (..., n); 0 if the label is the most probable class.

    A class is in a prediction set if its value is at most the threshold of the set. That of the most probable class
    counts as 0 because the class is always in the set; otherwise sets would cover more than is stated.

    Args:
        logits: (..., n, K), divided by the temperature.
        labels: Indices of classes, (n,).
    """
    probabilities = np.exp(log_softmax(logits))
    indices = np.broadcast_to(labels.astype(np.int64), probabilities.shape[:-1])[..., None]
    own = np.take_along_axis(probabilities, indices, axis=-1)[..., 0]
    return np.where(own == probabilities.max(axis=-1), 0.0, 1 - own)


def measure_evidence(
    counts: Mapping[str, NDArray[np.int64]], subset: Subset, typical: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the evidence of each sample, (n,), computed in the same order as on the device, so that bins agree.

    Args:
        counts: Number of valid frames of each sample, (n,), by modality.
        subset: The modalities of the predictions.
        typical: Typical number of frames by modality.
    """
    names = subset.modalities
    evidence = np.zeros(len(counts[names[0]]))
    for name in names:
        evidence += np.minimum(counts[name] * (1.0 / (typical[name] * len(names))), 1.0 / len(names))
    return evidence


def _bins(
    outputs: ValidationOutputs,
    item: SubsetOutputs,
    shifted: FloatArray,
    errors: Callable[[FloatArray, FloatArray], NDArray[np.floating]],
    used: BoolArray | None = None,
) -> tuple[tuple[float | None, ...], ...]:
    """Return the thresholds of each bin of evidence, rounded up; None where they are infinite.

    Args:
        outputs: All outputs.
        item: Those of the subset.
        shifted: The same at another precision, or with context.
        errors: Returns how far outputs are from labels (n,), as (D + 1, n).
        used: (n,): the samples to use. None: all.
    """
    distances = errors(shifted, outputs.labels[item.rows])
    videos = np.broadcast_to(outputs.videos[item.rows], distances.shape)
    bins = item.bins
    table = []
    for number in range(len(EDGES) + 1):
        members = bins == number if used is None else used & (bins == number)
        thresholds = half_widths(distances[members], videos[members], COVERAGES)
        rounded = np.ceil(thresholds * 10**_DECIMALS) / 10**_DECIMALS
        table.append(tuple(float(value) if np.isfinite(value) else None for value in rounded))
    return tuple(table)


def _select(split: Split, rows: NDArray[np.int64], subset: Subset) -> Split:
    """Return the samples with only the modalities of the subset."""
    modalities = {name: frames for name, frames in split.modalities.items() if name in subset.modalities}
    return replace(split, modalities=modalities).select(rows)


def _encode(split: Split) -> Split:
    """Return the split with the frames of a text encoder computed, so that all subsets use the same ones."""
    modalities = {
        name: Frames(frames.valid, values=frames.take()) if frames.encoder is not None else frames
        for name, frames in split.modalities.items()
    }
    return replace(split, modalities=modalities)
