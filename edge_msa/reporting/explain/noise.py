"""The noise experiment of the ALMT paper (arXiv 2310.05804, Figure 5): noise replaces a frame that a model attends to.

The frame with the most attention is replaced, and, for comparison, the frame with the least attention by the same
noise. Both choices use the undisturbed sample. Because the first frame was chosen for its large attention, its
attention falls a little even if the model ignores the content of frames. If attention follows content, the same noise
gets the same attention in both places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.evaluation.metrics import Interval, mean_interval

Place = Literal["most", "least"]
PLACES: tuple[Place, ...] = get_args(Place)
"""Which frame is replaced: the one with the most or with the least attention."""

Rows = NDArray[np.int64]
Attend = Callable[[Split, Rows], Mapping[str, FloatArray]]
"""Return the attention over frames of normalized samples by modality, (n, T). 1 is uniform; NaN where not valid. The
second argument has their rows in the split of the experiment."""
Predict = Callable[[Split], FloatArray]
"""Return the predictions for a normalized split, (N, outputs)."""


@dataclass(frozen=True)
class NoiseAtPlace:
    """What noise does at one place, on average over the samples, with 95 % intervals.

    Attributes:
        before: Attention on the frame before it was replaced. 1 is uniform attention.
        after: Attention on the noise in its place.
        attention_change: Change of that attention.
        prediction_change: Mean absolute change of the prediction.
    """

    before: Interval
    after: Interval
    attention_change: Interval
    prediction_change: Interval


@dataclass(frozen=True)
class NoiseEffect:
    """The noise experiment on one modality.

    Attributes:
        modality: The modality.
        samples: Number of samples. They have at least two valid frames of the modality.
        places: The effect at each place.
        after_difference: Attention on the noise in the place of the most attended frame, minus that in the other one.
        prediction_difference: Change of the prediction there, minus that in the other place.
        error_increase: Increase of the mean absolute error in the place of the most attended frame. None if unlabeled.
    """

    modality: str
    samples: int
    places: Mapping[Place, NoiseAtPlace]
    after_difference: Interval
    prediction_difference: Interval
    error_increase: Interval | None


@dataclass(frozen=True)
class NoiseSample:
    """The noise experiment on one modality of one sample.

    Attributes:
        frame: The replaced frame, the one with the most attention, counted from 0.
        before: Attention over frames, (T,).
        after: The same with noise.
        prediction: Predictions without noise, (outputs,).
        disturbed: Predictions with noise, (outputs,).
    """

    frame: int
    before: FloatArray
    after: FloatArray
    prediction: FloatArray
    disturbed: FloatArray


@dataclass(frozen=True)
class _Disturbed:
    frames: NDArray[np.int64]
    attention: FloatArray
    predictions: FloatArray


class NoiseExperiment:
    """The noise experiment on a normalized split.

    Args:
        split: The normalized split. Labels of classes are one-hot.
        valid: Valid frames by modality, (N, T). A normalized split can also mark padding as valid.
        limits: Largest absolute value of a normalized feature, by modality.
        attend: Returns attention.
        predict: Returns predictions.
        seed: Seed of the noise.
    """

    def __init__(
        self,
        split: Split,
        valid: Mapping[str, BoolArray],
        limits: Mapping[str, float],
        *,
        attend: Attend,
        predict: Predict,
        seed: int = 0,
    ) -> None:
        self._split, self._valid, self._limits = split, valid, limits
        self._attend, self._predict, self._seed = attend, predict, seed
        self._attention = attend(split, np.arange(len(split)))
        self._predictions = predict(split)

    def effects(self, rows: Rows) -> Iterator[NoiseEffect]:
        """Yield the effect over samples, for each modality of which one of them has two frames."""
        for name in self._attention:
            usable = self._usable(name, rows)
            if len(usable):
                yield self._effect(name, usable)

    def samples(self, rows: Rows) -> list[dict[str, NoiseSample]]:
        """Return the effect on each of the samples, by modality. Modalities with less than two frames are left out."""
        results: dict[int, dict[str, NoiseSample]] = {int(row): {} for row in rows}
        for name in self._attention:
            usable = self._usable(name, rows)
            if not len(usable):
                continue
            noisy = self._disturb(name, usable, "most")
            for index, row in enumerate(usable):
                results[int(row)][name] = NoiseSample(
                    int(noisy.frames[index]),
                    self._attention[name][row],
                    noisy.attention[index],
                    self._predictions[row],
                    noisy.predictions[index],
                )
        return [results[int(row)] for row in rows]

    def _usable(self, name: str, rows: Rows) -> Rows:
        usable: Rows = rows[np.isfinite(self._attention[name][rows]).sum(axis=1) >= 2]
        return usable

    def _effect(self, name: str, rows: Rows) -> NoiseEffect:
        part = self._split.select(rows)
        before, predictions = self._attention[name][rows], self._predictions[rows]
        order = np.arange(len(rows))
        places: dict[Place, NoiseAtPlace] = {}
        after, changes = {}, {}
        error = None
        for place in PLACES:
            noisy = self._disturb(name, rows, place)
            first, after[place] = before[order, noisy.frames], noisy.attention[order, noisy.frames]
            changes[place] = np.abs(noisy.predictions - predictions).mean(axis=1)
            places[place] = NoiseAtPlace(
                mean_interval(first, part.groups),
                mean_interval(after[place], part.groups),
                mean_interval(after[place] - first, part.groups),
                mean_interval(changes[place], part.groups),
            )
            labels = part.labels.reshape(predictions.shape)
            if place == "most" and np.isfinite(labels).all():
                errors = [np.abs(values - labels).mean(axis=1) for values in (predictions, noisy.predictions)]
                error = mean_interval(errors[1] - errors[0], part.groups)
        return NoiseEffect(
            name,
            len(rows),
            places,
            mean_interval(after["most"] - after["least"], part.groups),
            mean_interval(changes["most"] - changes["least"], part.groups),
            error,
        )

    def _disturb(self, name: str, rows: Rows, place: Place) -> _Disturbed:
        attention = self._attention[name][rows]
        frames = (np.nanargmax if place == "most" else np.nanargmin)(attention, axis=1)
        part = self._split.select(rows)
        noise = draw_noise(self._split.modalities[name], self._valid[name], self._limits[name], rows, self._seed)
        noisy = replace_frames(part.modalities[name], frames, noise)
        disturbed = replace(part, modalities={**part.modalities, name: noisy})
        return _Disturbed(frames, self._attend(disturbed, rows)[name], self._predict(disturbed))


def draw_noise(
    frames: Frames, valid: BoolArray, limit: float, rows: NDArray[np.integer], seed: int
) -> FloatArray | NDArray[np.integer]:
    """Return one frame of noise per sample: features (n, d), or for words, the id of another word of the split, (n,).

    Features are normally distributed with the mean and the standard deviation of each feature over the valid frames,
    and clipped as all inputs are. The noise of a sample depends only on the seed and on its row.

    Args:
        frames: The modality of all samples, normalized.
        valid: Its valid frames, (N, T).
        limit: Largest absolute value of a normalized feature.
        rows: The samples.
        seed: The seed.
    """
    rng = np.random.default_rng(seed)
    if frames.values is None:
        assert frames.ids is not None  # noqa: S101 - guaranteed by Frames
        words = np.unique(frames.ids[valid])
        drawn: NDArray[np.integer] = words[rng.integers(len(words), size=len(valid))][rows]
        return drawn
    seen = frames.values[valid]
    noise = rng.normal(seen.mean(axis=0), seen.std(axis=0), (len(valid), frames.dim)).astype(np.float32)
    clipped: FloatArray = np.clip(noise, -limit, limit)[rows]
    return clipped


def replace_frames(frames: Frames, positions: NDArray[np.int64], noise: NDArray[np.generic]) -> Frames:
    """Return the modality with one frame of each sample replaced.

    Args:
        frames: The modality of n samples.
        positions: The frame of each sample, (n,).
        noise: Its new features (n, d), or its new word (n,).
    """
    order = np.arange(len(positions))
    if frames.values is None:
        assert frames.ids is not None  # noqa: S101 - guaranteed by Frames
        ids = frames.ids.copy()
        ids[order, positions] = noise
        return replace(frames, ids=ids)
    values = frames.values.copy()
    values[order, positions] = noise
    return replace(frames, values=values)
