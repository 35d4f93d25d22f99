"""Streams made worse on purpose: pure functions of a split and a seed.

Dropped frames are known to be missing (masked). Noise is not: its frames stay valid, and the model is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa_runtime.modalities import MODALITIES

RATIOS = tuple(step / 10 for step in range(11))
"""Shares of dropped frames: nothing, then the paper's p."""
BURST = 5
"""Frames of one drop-out."""


@dataclass(frozen=True)
class Stream:
    """A modality's frames (N, T, d), which are valid (N, T), and each feature's spread in training (d,)."""

    values: FloatArray
    valid: BoolArray
    spread: FloatArray

    def where(self, places: BoolArray, values: FloatArray | np.float32) -> FloatArray:
        """The frames with those values at those places (N, T)."""
        return np.where(places[..., None], values, self.values).astype(np.float32)


Corrupted = Callable[[Stream, float, np.random.Generator], FloatArray]


@dataclass(frozen=True)
class Noise:
    """One way in which streams get worse: whose, at which grades (mildest first), and what a grade counts."""

    title: str
    modalities: tuple[str, ...]
    grades: tuple[float, ...]
    unit: str
    apply: Corrupted


def drop_frames(split: Split, share: float, *, seed: int) -> Split:
    """Drop round(share * valid frames) of every stream of every sample, at random; at 1 nothing is left.

    What a larger share drops includes what a smaller one drops under the same seed, so a curve over shares shows the
    loss of frames and not the luck of the draw.
    """
    changed = {}
    for name, frames in split.modalities.items():
        scores = _draws(seed, 0, name).random(frames.valid.shape)
        rank = np.where(frames.valid, scores, 2.0).argsort(axis=1).argsort(axis=1)
        dropped = np.round(share * frames.lengths)
        changed[name] = replace(frames, valid=frames.valid & (rank >= dropped[:, None]))
    return replace(split, modalities=changed)


def add_noise(split: Split, kind: str, grade: float, spread: Mapping[str, FloatArray], *, seed: int) -> Split:
    """The split with one of `NOISES` on the streams that it concerns; frames that are not valid stay as they are.

    Args:
        split: raw, as it was read.
        kind: a key of `NOISES`.
        grade: how much of it, in its unit.
        spread: (d,) by modality, the standard deviation of each feature over training frames.
        seed: the same draws for every grade of a kind.
    """
    noise = NOISES[kind]
    number = 1 + list(NOISES).index(kind)
    changed = dict(split.modalities)
    for name in noise.modalities:
        if name in changed:
            frames = changed[name]
            stream = Stream(frames.take(), frames.valid, spread[name])
            changed[name] = Frames(frames.valid, noise.apply(stream, grade, _draws(seed, number, name)))
    return replace(split, modalities=changed)


def _added(stream: Stream, grade: float, generator: np.random.Generator) -> FloatArray:
    noise = generator.standard_normal(stream.values.shape, dtype=np.float32)
    return stream.where(stream.valid, stream.values + np.float32(grade) * stream.spread * noise)


def _dropped_out(stream: Stream, grade: float, generator: np.random.Generator) -> FloatArray:
    """Bursts of silence, all features zero: each burst of the time axis is silent with probability `grade`."""
    count, length = stream.valid.shape
    bursts = generator.random((count, -(-length // BURST))) < grade
    return stream.where(np.repeat(bursts, BURST, axis=1)[:, :length] & stream.valid, np.float32(0))


def _smoothed(stream: Stream, grade: float, _: np.random.Generator) -> FloatArray:
    """The mean over the valid frames at most `grade` frames away: what long exposure does to a moving face."""
    places = np.arange(stream.valid.shape[1])
    first, last = np.maximum(places - int(grade), 0), np.minimum(places + int(grade) + 1, len(places))
    weights = stream.valid[..., None].astype(np.float64)
    total, count = (_running(part)[:, last] - _running(part)[:, first] for part in (stream.values * weights, weights))
    return stream.where(stream.valid, (total / np.maximum(count, 1.0)).astype(np.float32))


def _running(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums (N, T + 1, d) over the frames before each place."""
    nothing = np.zeros_like(values[:, :1])
    return np.concatenate([nothing, values.cumsum(axis=1)], axis=1)


def _occluded(stream: Stream, grade: float, generator: np.random.Generator) -> FloatArray:
    """A hand before the face: one stretch of that share of a sample's valid frames has all features zero."""
    lengths = stream.valid.sum(axis=1)
    hidden = np.round(grade * lengths)
    start = np.floor(generator.random(len(lengths)) * (lengths - hidden + 1))
    order = np.cumsum(stream.valid, axis=1) - 1
    covered = (order >= start[:, None]) & (order < (start + hidden)[:, None])
    return stream.where(covered & stream.valid, np.float32(0))


_SPREAD = "training standard deviations"

NOISES: dict[str, Noise] = {
    "audio-noise": Noise("audio, additive noise", ("audio",), (0.5, 1.0, 2.0), _SPREAD, _added),
    "audio-dropout": Noise("audio, drop-outs", ("audio",), (0.2, 0.4, 0.8), "share of bursts silent", _dropped_out),
    "vision-blur": Noise("vision, smoothing", ("vision",), (1.0, 3.0, 10.0), "frames to each side", _smoothed),
    "vision-occlusion": Noise("vision, occlusion", ("vision",), (0.2, 0.4, 0.8), "share of frames hidden", _occluded),
    "feature-noise": Noise("all features, random noise", MODALITIES, (0.5, 1.0, 2.0), _SPREAD, _added),
}
"""Kinds of noise by name. They act on features, not on sound and pixels, which feature files do not hold."""


def _draws(seed: int, purpose: int, modality: str) -> np.random.Generator:
    return np.random.default_rng([seed, 0x53545544, purpose, MODALITIES.index(modality)])
