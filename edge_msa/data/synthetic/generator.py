"""The embedded default: a three-modality task whose best possible accuracy is known.

A label is drawn on a grid. Language says it in graded words, of which negators and intensifiers before them change the
meaning; and a polite speaker says more than is meant, a blunt one less, so that language and the others often conflict.
Audio and vision show it in few frames among many that only look like it; the voice also tells the manner, so that who
hears it can take language at its baseline check. What each is, exactly, stands in `synthetic_world`; the exact posterior of the
label in `synthetic_posterior`, and the limits that follow from it in `synthetic_limits`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import SPLITS, BoolArray, Dataset, Frames, Split, SplitName
from edge_msa.data.synthetic.world import GRID, SAID, SAYINGS, VERSION, Array, Expression, Language, world
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SyntheticConfig:
    """How many samples each split has."""

    train: int = 64000
    valid: int = 1000
    test: int = 4000

    def __post_init__(self) -> None:
        for name, count in asdict(self).items():
            if count < 1:
                raise DataError(f"the synthetic {name} split cannot have {count} samples: give at least 1")


DEFAULT = SyntheticConfig()


def synthetic_dataset(config: SyntheticConfig = DEFAULT, seed: int = 0) -> Dataset:
    """Draw the embedded default.

    Args:
        config: the splits' sizes; a split does not depend on the others' sizes.
        seed: changes the samples and never the task: words, directions and difficulty stay.

    Returns:
        MOSI's task; labels on `GRID`; language as ids into a table (40, 24) with 10 to 14 tokens, audio (20, 16) and
        vision (20, 12) with 16 to 20 frames, padded behind. Samples are independent: each is its own group.

    Raises:
        DataError: `seed` is negative.
    """
    if seed < 0:
        raise DataError(f"the synthetic data's seed is {seed}: give 0 or more")
    splits: dict[SplitName, Split] = {
        name: _draw_split(name, getattr(config, name), np.random.default_rng([seed, index]))
        for index, name in enumerate(SPLITS)
    }
    cache_key = json.dumps({"synthetic": VERSION, "seed": seed, **asdict(config)}, sort_keys=True)
    return Dataset("synthetic", MOSI, splits, hashlib.sha256(cache_key.encode()).hexdigest())


def _draw_split(name: SplitName, count: int, rng: np.random.Generator) -> Split:
    task = world()
    label = rng.choice(len(GRID), size=count, p=task.prior)
    polite = rng.integers(2, size=count)
    modalities = {
        "language": _draw_language(task.language, SAID[polite, label], rng),
        "audio": _draw_expression(task.audio, label, polite, rng),
        "vision": _draw_expression(task.vision, label, polite, rng),
    }
    ids = tuple(f"synthetic/{name}/{row:05d}" for row in range(count))
    return Split(ids, ids, GRID[label].astype(np.float32), modalities)


def _draw_language(language: Language, said: Indices, rng: np.random.Generator) -> Frames:
    """Tokens (N, T) of utterances that say SAYINGS[said]."""
    states = language.joint.shape[1]
    # (4, 79, V * 4): from a state and what is said to a token and the next state, as cumulative probabilities.
    ways = np.cumsum(language.joint.transpose(1, 3, 0, 2).reshape(states, len(SAYINGS), -1), axis=2)
    valid = _draw_lengths(language.shortest, language.longest, len(said), rng)
    tokens = np.zeros(valid.shape, dtype=np.int64)
    state = np.zeros(len(said), dtype=np.int64)
    for position in range(language.longest):
        drawn = rng.random((len(said), 1)) * ways[state, said, -1:]
        tokens[:, position], state = np.divmod((ways[state, said] <= drawn).sum(axis=1), states)
    return Frames(valid, ids=np.where(valid, tokens, 0), table=language.table)


def _draw_expression(expression: Expression, label: Indices, polite: Indices, rng: np.random.Generator) -> Frames:
    """Frames (N, T, d) that show GRID[label]."""
    valid = _draw_lengths(expression.shortest, expression.longest, len(label), rng)
    informative = _draw_chain(expression, len(label), rng)
    axes = rng.standard_normal((*valid.shape, len(expression.basis)))
    clutter = expression.clutter * rng.standard_normal(valid.shape)
    axes[..., 0] += expression.marker * informative
    axes[..., 1] += np.where(informative, expression.curve[label, None], clutter)
    axes[..., 2] += expression.manner * (2 * polite[:, None] - 1)
    axes[..., 3:] *= expression.hum
    frames: Array = np.where(valid[..., None], axes @ expression.basis, 0.0)
    return Frames(valid, values=frames.astype(np.float32))


def _draw_chain(expression: Expression, count: int, rng: np.random.Generator) -> BoolArray:
    """(N, T): which frames are informative."""
    uniform = rng.random((count, expression.longest))
    informative = np.zeros(uniform.shape, dtype=np.bool_)
    chance = np.full(count, expression.informative)
    for position in range(expression.longest):
        informative[:, position] = uniform[:, position] < chance
        chance = np.where(informative[:, position], expression.stay, expression.enter)
    return informative


def _draw_lengths(shortest: int, longest: int, count: int, rng: np.random.Generator) -> BoolArray:
    """(N, T): uniform lengths, whatever the label, as prefixes of ones."""
    lengths = rng.integers(shortest, longest, size=count, endpoint=True)
    return np.asarray(np.arange(longest) < lengths[:, None])
