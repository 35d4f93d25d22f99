"""Corrupt the modalities of a split, as pure functions of the split and a seed.

Dropped frames are masked, so the model knows that they are missing. Frames with noise stay valid, so it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa_runtime.modalities import MODALITIES

DROP_SHARES = tuple(step / 10 for step in range(11))
"""Shares of dropped frames: 0, then the values of p in the paper."""
BURST = 5
"""Length of an audio drop-out in frames."""


@dataclass(frozen=True)
class ModalityStream:
    """One modality to corrupt."""

    values: FloatArray
    """Frames (N, T, d)."""
    valid: BoolArray
    """Mask (N, T)."""
    std: FloatArray
    """Standard deviation of each feature in the training data, (d,)."""

    def replace(self, mask: BoolArray, values: FloatArray | np.float32) -> FloatArray:
        """Return the frames with `values` where `mask` (N, T) is True."""
        return np.where(mask[..., None], values, self.values).astype(np.float32)


Corruption = Callable[[ModalityStream, float, np.random.Generator], FloatArray]


@dataclass(frozen=True)
class Noise:
    """One kind of noise."""

    title: str
    """Printed name."""
    modalities: tuple[str, ...]
    """The modalities that it corrupts."""
    grades: tuple[float, ...]
    """Grades, mildest first."""
    unit: str
    """Unit of the grades."""
    apply: Corruption
    """Returns the corrupted frames of a stream, for a grade."""


def drop_frames(split: Split, share: float, *, seed: int) -> Split:
    """Drop round(share * valid frames) random frames of each modality of each sample.

    With the same seed, a larger share drops all frames that a smaller one drops. A curve over shares then shows the
    effect of lost frames, not of different random draws. For a text encoder, the words of dropped frames are replaced
    by the unknown token before encoding (`Frames.keep`).
    """
    dropped_modalities = {}
    for name, frames in split.modalities.items():
        scores = _generator(seed, 0, name).random(frames.valid.shape)
        rank = np.where(frames.valid, scores, 2.0).argsort(axis=1).argsort(axis=1)
        dropped = np.round(share * frames.lengths)
        dropped_modalities[name] = frames.keep(rank >= dropped[:, None])
    return replace(split, modalities=dropped_modalities)


def add_noise(split: Split, kind: str, grade: float, std: Mapping[str, FloatArray], *, seed: int) -> Split:
    """Return the split with one kind of noise on the valid frames of the modalities that it corrupts.

    Args:
        split: The split, not normalized.
        kind: A key of `NOISES`.
        grade: Amount of noise, in the unit of the kind.
        std: Standard deviation of each feature over the training frames, (d,) by modality.
        seed: All grades of a kind use the same random draws.
    """
    noise = NOISES[kind]
    number = 1 + list(NOISES).index(kind)
    modalities = dict(split.modalities)
    for name in noise.modalities:
        if name in modalities:
            frames = modalities[name]
            stream = ModalityStream(frames.take(), frames.valid, std[name])
            modalities[name] = Frames(frames.valid, noise.apply(stream, grade, _generator(seed, number, name)))
    return replace(split, modalities=modalities)


def _add_noise(stream: ModalityStream, grade: float, generator: np.random.Generator) -> FloatArray:
    noise = generator.standard_normal(stream.values.shape, dtype=np.float32)
    return stream.replace(stream.valid, stream.values + np.float32(grade) * stream.std * noise)


def _drop_out(stream: ModalityStream, grade: float, generator: np.random.Generator) -> FloatArray:
    """Set all features to zero in bursts of frames. Each burst is silent with probability `grade`."""
    count, length = stream.valid.shape
    bursts = generator.random((count, -(-length // BURST))) < grade
    return stream.replace(np.repeat(bursts, BURST, axis=1)[:, :length] & stream.valid, np.float32(0))


def _smooth(stream: ModalityStream, grade: float, _: np.random.Generator) -> FloatArray:
    """Average over the valid frames at most `grade` frames away, as a long exposure does with a moving face."""
    places = np.arange(stream.valid.shape[1])
    first, last = np.maximum(places - int(grade), 0), np.minimum(places + int(grade) + 1, len(places))
    weights = stream.valid[..., None].astype(np.float64)
    total, count = (
        _cumulative_sum(part)[:, last] - _cumulative_sum(part)[:, first] for part in (stream.values * weights, weights)
    )
    return stream.replace(stream.valid, (total / np.maximum(count, 1.0)).astype(np.float32))


def _cumulative_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over the frames before each position, (N, T + 1, d)."""
    zeros = np.zeros_like(values[:, :1])
    return np.concatenate([zeros, values.cumsum(axis=1)], axis=1)


def _occlude(stream: ModalityStream, grade: float, generator: np.random.Generator) -> FloatArray:
    """Set all features to zero in one stretch of a sample, as when a hand covers the face; `grade` is its share."""
    lengths = stream.valid.sum(axis=1)
    hidden = np.round(grade * lengths)
    start = np.floor(generator.random(len(lengths)) * (lengths - hidden + 1))
    order = np.cumsum(stream.valid, axis=1) - 1
    covered = (order >= start[:, None]) & (order < (start + hidden)[:, None])
    return stream.replace(covered & stream.valid, np.float32(0))


_STD_UNIT = "training standard deviations"

NOISES: dict[str, Noise] = {
    "audio-noise": Noise("audio, additive noise", ("audio",), (0.5, 1.0, 2.0), _STD_UNIT, _add_noise),
    "audio-dropout": Noise("audio, drop-outs", ("audio",), (0.2, 0.4, 0.8), "share of silent bursts", _drop_out),
    "vision-blur": Noise("vision, smoothing", ("vision",), (1.0, 3.0, 10.0), "frames to each side", _smooth),
    "vision-occlusion": Noise("vision, occlusion", ("vision",), (0.2, 0.4, 0.8), "share of hidden frames", _occlude),
    "feature-noise": Noise("all features, random noise", MODALITIES, (0.5, 1.0, 2.0), _STD_UNIT, _add_noise),
}
"""Kinds of noise by name. They act on features, because feature files contain no sound and no pixels."""


def _generator(seed: int, purpose: int, modality: str) -> np.random.Generator:
    return np.random.default_rng([seed, 0x53545544, purpose, MODALITIES.index(modality)])
