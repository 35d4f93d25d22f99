"""What is fixed about the embedded default: the label's prior, the words, the frames. Samples vary, this does not.

Every distribution here is one that `synthetic` draws from and `synthetic_posterior` inverts; neither has numbers of its
own. Changing any of them changes the task: raise `VERSION` with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

VERSION = 1
"""Of the task; part of a dataset's digest."""

GRID: Array = np.arange(-30, 31) / 10.0
"""The labels there are, (61,): -3 to 3 in steps of 0.1, as many below 0 as above."""

SAYINGS: Array = np.arange(-39, 40) / 10.0
"""What language can say, (79,): a speaker who is blunt says 0.9 less than is meant, a polite one 0.9 more."""

SAID: NDArray[np.int64] = np.arange(len(GRID)) + np.array([[0], [len(SAYINGS) - len(GRID)]])
"""Places in SAYINGS, (2, 61): of what a blunt and a polite speaker says for each label. Both are equally frequent."""

PRIOR_SPREAD = 1.6
"""Standard deviation of the normal density that the label's prior is proportional to on the grid."""

_WORLD_SEED = 20241102  # draws the directions and word vectors, never samples

FILLERS, WORDS, NEGATORS, INTENSIFIERS = range(4)
"""The classes of tokens."""

_CLASS_SIZES = (10, 24, 3, 3)
_WORD_REACH = 4.5  # sentiment values of the words are evenly spaced within +- this
_WORD_NOISE = 1.4  # how far a word's value strays from what is said, standard deviation
_VECTOR_WIDTH = 24
_VECTOR_NOISE = 0.15  # length of the part of a word's vector that means nothing

# What a word's value stands for after nothing, a negator, an intensifier, and both: its multiple.
MULTIPLES: Array = np.array([1.0, -1.0, 1.5, -1.5])

# State -> (class of the next token, its probability, the state after it). States are places in MULTIPLES: what the
# next word will be taken by.
_GRAMMAR: tuple[tuple[tuple[int, float, int], ...], ...] = (
    ((FILLERS, 0.55, 0), (WORDS, 0.20, 0), (NEGATORS, 0.16, 1), (INTENSIFIERS, 0.09, 2)),
    ((WORDS, 0.80, 0), (INTENSIFIERS, 0.20, 3)),
    ((WORDS, 1.0, 0),),
    ((WORDS, 1.0, 0),),
)


@dataclass(frozen=True)
class Language:
    """Utterances as a hidden Markov chain over four states.

    `joint[w, i, j, g]` (V, 4, 4, 79) is the probability of token w and next state j in state i to say SAYINGS[g];
    `table` (V, d) float32 the tokens' vectors; `shortest` and `longest` bound the lengths, drawn uniformly.
    """

    joint: Array
    table: NDArray[np.float32]
    shortest: int = 10
    longest: int = 14


@dataclass(frozen=True)
class Expression:
    """Frames of audio or vision, few of them informative: a two-state Markov chain says which.

    In the orthonormal rows of `basis` (d, d) a frame is normal. Three axes have unit variance. Axis 0 tells the
    informative frames: mean `marker`, else 0. Axis 1 carries the label there, mean `curve` (61,); in the others it has
    mean 0 and a variance of 1 + `clutter`**2. Axis 2 carries the manner in every frame: mean -`manner` for blunt,
    `manner` for polite. Further axes carry nothing but a little noise, standard deviation `hum`.
    `enter` and `stay` are the chances that a frame is informative after one that is not, and after one that is; the
    first frame is drawn from their stationary distribution. `shortest` and `longest` bound the lengths.
    """

    basis: Array
    curve: Array
    manner: float
    enter: float
    stay: float
    marker: float = 5.0
    clutter: float = 1.5
    hum: float = 0.25
    shortest: int = 16
    longest: int = 20

    @property
    def informative(self) -> float:
        """Share of frames that are informative."""
        return self.enter / (1.0 - self.stay + self.enter)

    @property
    def chain(self) -> Array:
        """Transitions (2, 2), state 1 being informative."""
        return np.array([[1.0 - self.enter, self.enter], [1.0 - self.stay, self.stay]])


@dataclass(frozen=True)
class World:
    """All of it. `prior` (61,) is the label's on GRID."""

    prior: Array
    language: Language
    audio: Expression
    vision: Expression


@cache
def world() -> World:
    """The task's parameters, the same in every process."""
    rng = np.random.default_rng(_WORLD_SEED)
    density = np.exp(-0.5 * (GRID / PRIOR_SPREAD) ** 2)
    return World(
        prior=density / density.sum(),
        language=Language(_joint(), _vectors(rng)),
        audio=Expression(_basis(rng, 16), 0.42 * GRID, manner=2.0, enter=0.33, stay=0.0),
        vision=Expression(_basis(rng, 12), 1.0 * np.tanh(GRID / 2.0), manner=0.0, enter=0.2, stay=0.4),
    )


def _joint() -> Array:
    """`Language.joint`: the grammar times the tokens' probabilities within their class."""
    first = np.concatenate([[0], np.cumsum(_CLASS_SIZES)])
    joint = np.zeros((first[-1], len(MULTIPLES), len(MULTIPLES), len(SAYINGS)))
    for state, choices in enumerate(_GRAMMAR):
        for kind, probability, following in choices:
            within = _word_choice(MULTIPLES[state]) if kind == WORDS else 1.0 / _CLASS_SIZES[kind]
            joint[first[kind] : first[kind + 1], state, following] += probability * within
    return joint


def _word_choice(multiple: float) -> Array:
    """(words, 79): which word is chosen when its value is taken `multiple` times, for each thing to say."""
    values = np.linspace(-_WORD_REACH, _WORD_REACH, _CLASS_SIZES[WORDS])
    weight = np.exp(-0.5 * ((multiple * values[:, None] - SAYINGS) / _WORD_NOISE) ** 2)
    return np.asarray(weight / weight.sum(axis=0))


def _vectors(rng: np.random.Generator) -> NDArray[np.float32]:
    """Word vectors as pretrained ones are: a direction for each class, one for sentiment, and noise."""
    axes = _basis(rng, _VECTOR_WIDTH)
    kinds = np.repeat(np.arange(len(_CLASS_SIZES)), _CLASS_SIZES)
    values = np.zeros(len(kinds))
    values[kinds == WORDS] = np.linspace(-2.0, 2.0, _CLASS_SIZES[WORDS])
    noise = rng.standard_normal((len(kinds), _VECTOR_WIDTH)) * (_VECTOR_NOISE / np.sqrt(_VECTOR_WIDTH))
    return np.asarray(axes[kinds] + values[:, None] * axes[len(_CLASS_SIZES)] + noise, dtype=np.float32)


def _basis(rng: np.random.Generator, width: int) -> Array:
    return np.asarray(np.linalg.qr(rng.standard_normal((width, width)))[0])
