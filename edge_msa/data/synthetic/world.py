"""The distributions of the synthetic dataset: the prior of the label, the tokens and the frames.

`generator` draws from these distributions and `posterior` inverts them; neither defines numbers itself. Changing a
number changes the task, so `VERSION` must be increased with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

VERSION = 1
"""Version of the task; part of a dataset's digest."""

GRID: Array = np.arange(-30, 31) / 10.0
"""All labels, (61,): -3 to 3 in steps of 0.1."""

EXPRESSED: Array = np.arange(-39, 40) / 10.0
"""Sentiments that language can express, (79,): the label minus 0.9 for a blunt speaker, plus 0.9 for a polite one."""

EXPRESSED_INDEX: NDArray[np.int64] = np.arange(len(GRID)) + np.array([[0], [len(EXPRESSED) - len(GRID)]])
"""Indices into `EXPRESSED`, (2, 61): what a blunt and a polite speaker express for each label."""

CLASSES = ("neutral", "happy", "sad", "angry")
"""Names of the classes of `synthetic-classes`."""

NEUTRAL = 0.5
"""Labels of at most this size are neutral."""

CLASS_INDEX: NDArray[np.int64] = np.array(
    [np.select([GRID > NEUTRAL, GRID >= -NEUTRAL], [1, 0], negative) for negative in (3, 2)]
)
"""Indices into `CLASSES`, (2, 61): the class of each label for a blunt and a polite speaker.

A negative label makes a blunt speaker angry and a polite one sad, so classes are more than ranges of the label.
"""

PRIOR_STD = 1.6
"""Standard deviation of the normal density to which the prior on the grid is proportional."""

_WORLD_SEED = 20241102  # seed of the directions and word vectors, not of samples

FILLERS, WORDS, NEGATORS, INTENSIFIERS = range(4)
"""Classes of tokens."""

_CLASS_SIZES = (10, 24, 3, 3)
_WORD_RANGE = 4.5  # the sentiments of the words are evenly spaced in ± this range
_WORD_NOISE = 1.4  # standard deviation of a word's sentiment around the expressed one
_VECTOR_WIDTH = 24
_VECTOR_NOISE = 0.15  # length of the meaningless part of a word vector

# Factor on the sentiment of a word: alone, after a negator, after an intensifier, and after both.
FACTORS: Array = np.array([1.0, -1.0, 1.5, -1.5])

# For each state: (class of the next token, its probability, the next state). States are indices into FACTORS: the
# factor of the next word.
_GRAMMAR: tuple[tuple[tuple[int, float, int], ...], ...] = (
    ((FILLERS, 0.55, 0), (WORDS, 0.20, 0), (NEGATORS, 0.16, 1), (INTENSIFIERS, 0.09, 2)),
    ((WORDS, 0.80, 0), (INTENSIFIERS, 0.20, 3)),
    ((WORDS, 1.0, 0),),
    ((WORDS, 1.0, 0),),
)


@dataclass(frozen=True)
class TokenChain:
    """Utterances as a hidden Markov chain over four states."""

    joint: Array
    """(V, 4, 4, 79): `joint[w, i, j, g]` is the probability of token w and next state j in state i for EXPRESSED[g]."""
    table: NDArray[np.float32]
    """(V, d): word vectors."""
    shortest: int = 10
    """Smallest number of tokens. Lengths are uniform."""
    longest: int = 14
    """Largest number of tokens."""


@dataclass(frozen=True)
class FrameChain:
    """Frames of audio or vision. A two-state Markov chain selects the few that are informative.

    A frame is normally distributed along the orthonormal rows of `basis`. Axes 0 to 2 have unit variance: axis 0 marks
    informative frames, axis 1 shows the label in them, axis 2 shows the manner in every frame. The other axes are
    noise. The first frame follows the stationary distribution of the chain.
    """

    basis: Array
    """(d, d) orthonormal."""
    curve: Array
    """(61,): mean of axis 1 in informative frames, by label."""
    manner: float
    """Mean of axis 2 for a polite speaker; negative for a blunt one."""
    enter: float
    """Probability that a frame is informative after one that is not."""
    stay: float
    """Probability that a frame is informative after an informative one."""
    marker: float = 5.0
    """Mean of axis 0 in informative frames; 0 in the others."""
    clutter: float = 1.5
    """Axis 1 has mean 0 and variance 1 + clutter**2 in frames that are not informative."""
    hum: float = 0.25
    """Standard deviation of axes 3 and up."""
    shortest: int = 16
    """Smallest number of frames. Lengths are uniform."""
    longest: int = 20
    """Largest number of frames."""

    @property
    def informative(self) -> float:
        """Share of frames that are informative."""
        return self.enter / (1.0 - self.stay + self.enter)

    @property
    def transitions(self) -> Array:
        """Transition matrix (2, 2); state 1 is informative."""
        return np.array([[1.0 - self.enter, self.enter], [1.0 - self.stay, self.stay]])


@dataclass(frozen=True)
class World:
    """All distributions of the task."""

    prior: Array
    """(61,): prior of the label on `GRID`."""
    language: TokenChain
    """Tokens, given the expressed sentiment."""
    audio: FrameChain
    """Audio frames, given label and manner."""
    vision: FrameChain
    """Vision frames, given label and manner."""


@cache
def world(*, real_lengths: bool = False) -> World:
    """Return the parameters of the task, which are the same in every process.

    With `real_lengths`, utterances are as long as at real rates: up to 50 words, 375 audio frames and 500 vision
    frames. Words, directions and curves are the same. A tenth of the audio frames and 8 % of the vision frames are
    informative, in runs of 4 and 5 frames on average.
    """
    rng = np.random.default_rng(_WORLD_SEED)
    density = np.exp(-0.5 * (GRID / PRIOR_STD) ** 2)
    prior, joint, vectors = density / density.sum(), _joint(), _vectors(rng)
    audio, vision = _basis(rng, 16), _basis(rng, 12)
    loudness, smile = 0.42 * GRID, 1.0 * np.tanh(GRID / 2.0)
    if real_lengths:
        return World(
            prior,
            TokenChain(joint, vectors, shortest=30, longest=50),
            FrameChain(audio, loudness, manner=2.0, enter=1 / 36, stay=3 / 4, shortest=225, longest=375),
            FrameChain(vision, smile, manner=0.0, enter=2 / 115, stay=4 / 5, shortest=300, longest=500),
        )
    return World(
        prior,
        TokenChain(joint, vectors),
        FrameChain(audio, loudness, manner=2.0, enter=0.33, stay=0.0),
        FrameChain(vision, smile, manner=0.0, enter=0.2, stay=0.4),
    )


def _joint() -> Array:
    """Return `TokenChain.joint`: the grammar times the probability of each token within its class."""
    first = np.concatenate([[0], np.cumsum(_CLASS_SIZES)])
    joint = np.zeros((first[-1], len(FACTORS), len(FACTORS), len(EXPRESSED)))
    for state, choices in enumerate(_GRAMMAR):
        for kind, probability, following in choices:
            within = _word_probability(FACTORS[state]) if kind == WORDS else 1.0 / _CLASS_SIZES[kind]
            joint[first[kind] : first[kind + 1], state, following] += probability * within
    return joint


def _word_probability(factor: float) -> Array:
    """Return the probability of each word by expressed sentiment, (words, 79).

    A word's sentiment is multiplied by `factor`.
    """
    values = np.linspace(-_WORD_RANGE, _WORD_RANGE, _CLASS_SIZES[WORDS])
    weight = np.exp(-0.5 * ((factor * values[:, None] - EXPRESSED) / _WORD_NOISE) ** 2)
    return np.asarray(weight / weight.sum(axis=0))


def _vectors(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return word vectors that resemble pretrained ones: a direction per class, one for sentiment, and noise."""
    axes = _basis(rng, _VECTOR_WIDTH)
    kinds = np.repeat(np.arange(len(_CLASS_SIZES)), _CLASS_SIZES)
    values = np.zeros(len(kinds))
    values[kinds == WORDS] = np.linspace(-2.0, 2.0, _CLASS_SIZES[WORDS])
    noise = rng.standard_normal((len(kinds), _VECTOR_WIDTH)) * (_VECTOR_NOISE / np.sqrt(_VECTOR_WIDTH))
    return np.asarray(axes[kinds] + values[:, None] * axes[len(_CLASS_SIZES)] + noise, dtype=np.float32)


def _basis(rng: np.random.Generator, width: int) -> Array:
    return np.asarray(np.linalg.qr(rng.standard_normal((width, width)))[0])
