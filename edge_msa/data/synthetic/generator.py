"""Generate the synthetic dataset: a task with three modalities whose Bayes optimum is known.

Each sample has a label on a grid and a manner of speaking. Language expresses the label in words of graded sentiment;
preceding negators and intensifiers change their meaning. A polite speaker expresses a more positive sentiment than
meant, a blunt one a more negative sentiment, so language often conflicts with the other modalities. Audio and vision
show the label in a few frames, among many distractors. Audio also reveals the manner, so that a model with audio can
correct the sentiment of the words. `world` defines the distributions, `posterior` computes the exact posterior of the
label, and `bayes_optimum` the metrics of the optimal predictors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import SPLITS, BoolArray, Dataset, FloatArray, Frames, Split, SplitName
from edge_msa.data.synthetic.world import (
    CLASS_INDEX,
    CLASSES,
    EXPRESSED,
    EXPRESSED_INDEX,
    GRID,
    VERSION,
    Array,
    FrameChain,
    TokenChain,
    World,
    world,
)
from edge_msa.data.tasks import MOSI, Task
from edge_msa.errors import DataError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.modalities import MODALITIES

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SyntheticConfig:
    """Number of samples of each split, and how long the utterances are."""

    train: int = 64000
    """Training samples."""
    valid: int = 1000
    """Validation samples."""
    test: int = 4000
    """Test samples."""
    real_lengths: bool = False
    """Whether utterances are as long as at real rates: up to 50 words, 375 audio frames and 500 vision frames."""
    classes: bool = False
    """Whether labels are the classes of `CLASS_INDEX` instead of scores."""

    def __post_init__(self) -> None:
        for name in SPLITS:
            if (count := getattr(self, name)) < 1:
                raise DataError(f"The synthetic {name} split must have at least 1 sample, got {count}.")


DEFAULT = SyntheticConfig()
QUICK = SyntheticConfig(train=8000, valid=500, test=1000)
"""Enough to train a student that beats a constant within seconds."""
LONG = SyntheticConfig(train=6000, valid=500, test=1000, real_lengths=True)
"""Utterances at real rates: 340 MB of frames, drawn in seconds."""

FOUR_CLASSES = SyntheticConfig(train=16000, valid=1000, test=4000, classes=True)
"""The same utterances with four classes, which depend on the label and on the manner of speaking."""

_FRAMES_AT_ONCE = 64000 * 20  # limits memory; a change would change the samples


def generate_dataset(config: SyntheticConfig = DEFAULT, seed: int = 0, *, name: str = "synthetic") -> Dataset:
    """Draw the synthetic dataset.

    Args:
        config: Sizes of the splits. A split does not depend on the sizes of the others.
        seed: Seed of the samples. The task (words, directions, difficulty) does not depend on it.
        name: Name of the dataset.

    Returns:
        A dataset with the task MOSI and labels on `GRID`, or with `CLASSES`. Language has ids into a table (40, 24)
        with 10 to 14 tokens, audio (20, 16) and vision (20, 12) have 16 to 20 frames, padded at the end. With
        `real_lengths`: 30 to 50 tokens, audio (375, 16) with 225 to 375 frames and vision (500, 12) with 300 to 500.
        Each sample is its own group.

    Raises:
        DataError: `seed` is negative.
    """
    if seed < 0:
        raise DataError(f"The seed of the synthetic data must be at least 0, got {seed}.")
    task = world(real_lengths=config.real_lengths)
    splits: dict[SplitName, Split] = {
        name: _draw_split(name, getattr(config, name), task, np.random.default_rng([seed, index]), config.classes)
        for index, name in enumerate(SPLITS)
    }
    variant = {name: True for name in ("real_lengths", "classes") if getattr(config, name)}
    sizes = {name: getattr(config, name) for name in SPLITS}
    parameters = json.dumps({"synthetic": VERSION, "seed": seed, **sizes, **variant}, sort_keys=True)
    extractor = "edge-msa synthetic data" + (" at real lengths" if config.real_lengths else "")
    source = FeatureSource(extractor, str(VERSION))
    features = dict.fromkeys(MODALITIES, source)
    meaning = Task("classes", CLASSES) if config.classes else MOSI
    return Dataset(name, meaning, splits, hashlib.sha256(parameters.encode()).hexdigest(), features)


def _draw_split(name: SplitName, count: int, task: World, rng: np.random.Generator, classes: bool) -> Split:
    label = rng.choice(len(GRID), size=count, p=task.prior)
    polite = rng.integers(2, size=count)
    modalities = {
        "language": _draw_language(task.language, EXPRESSED_INDEX[polite, label], rng),
        "audio": _draw_frames(task.audio, label, polite, rng),
        "vision": _draw_frames(task.vision, label, polite, rng),
    }
    ids = tuple(f"synthetic/{name}/{row:05d}" for row in range(count))
    labels = CLASS_INDEX[polite, label] if classes else GRID[label]
    return Split(ids, ids, labels.astype(np.float32), modalities)


def _draw_language(language: TokenChain, expressed: Indices, rng: np.random.Generator) -> Frames:
    """Draw tokens (N, T) of utterances that express `EXPRESSED[expressed]`."""
    states = language.joint.shape[1]
    # (4, 79, V * 4): cumulative probability of token and next state, given the state and the expressed sentiment.
    transitions = np.cumsum(language.joint.transpose(1, 3, 0, 2).reshape(states, len(EXPRESSED), -1), axis=2)
    valid = _draw_lengths(language.shortest, language.longest, len(expressed), rng)
    tokens = np.zeros(valid.shape, dtype=np.int64)
    state = np.zeros(len(expressed), dtype=np.int64)
    for position in range(language.longest):
        drawn = rng.random((len(expressed), 1)) * transitions[state, expressed, -1:]
        tokens[:, position], state = np.divmod((transitions[state, expressed] <= drawn).sum(axis=1), states)
    return Frames(valid, ids=np.where(valid, tokens, 0), table=language.table)


def _draw_frames(chain: FrameChain, label: Indices, polite: Indices, rng: np.random.Generator) -> Frames:
    """Draw frames (N, T, d) that show `GRID[label]`."""
    count = max(1, _FRAMES_AT_ONCE // chain.longest)
    parts = [
        _draw_part(chain, label[start : start + count], polite[start : start + count], rng)
        for start in range(0, len(label), count)
    ]
    valid, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Frames(valid, values=values)


def _draw_part(
    chain: FrameChain, label: Indices, polite: Indices, rng: np.random.Generator
) -> tuple[BoolArray, FloatArray]:
    """Draw the mask (N, T) and the frames (N, T, d) of some of the samples."""
    valid = _draw_lengths(chain.shortest, chain.longest, len(label), rng)
    informative = _draw_informative(chain, len(label), rng)
    axes = rng.standard_normal((*valid.shape, len(chain.basis)))
    clutter = chain.clutter * rng.standard_normal(valid.shape)
    axes[..., 0] += chain.marker * informative
    axes[..., 1] += np.where(informative, chain.curve[label, None], clutter)
    axes[..., 2] += chain.manner * (2 * polite[:, None] - 1)
    axes[..., 3:] *= chain.hum
    frames: Array = np.where(valid[..., None], axes @ chain.basis, 0.0)
    return valid, frames.astype(np.float32)


def _draw_informative(chain: FrameChain, count: int, rng: np.random.Generator) -> BoolArray:
    """Draw which frames are informative, (N, T)."""
    uniform = rng.random((count, chain.longest))
    informative = np.zeros(uniform.shape, dtype=np.bool_)
    probability = np.full(count, chain.informative)
    for position in range(chain.longest):
        informative[:, position] = uniform[:, position] < probability
        probability = np.where(informative[:, position], chain.stay, chain.enter)
    return informative


def _draw_lengths(shortest: int, longest: int, count: int, rng: np.random.Generator) -> BoolArray:
    """Draw masks (N, T) of uniform lengths that do not depend on the label."""
    lengths = rng.integers(shortest, longest, size=count, endpoint=True)
    return np.asarray(np.arange(longest) < lengths[:, None])
