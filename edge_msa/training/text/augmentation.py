"""Changed texts for training: without a span of words, only a part, or with random words of the corpus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_msa.training.randomness import seed_of

_COPIES = 14
_MAX_LABELED = 0.25
"""Largest share of a text's words that changes if its label stays."""
_MAX_COPIED = 0.5
"""Largest share of a text's words that changes in a copy, whose target is a prediction for the copy."""


def change_some_texts(texts: Sequence[str], share: float, most: int, rng: np.random.Generator) -> dict[int, str]:
    """Return changed texts by their row. Changes are so small that labels can stay.

    Args:
        texts: The corpus. Words are separated by spaces.
        share: Expected share of the texts that are changed.
        most: Maximum number of words that change in a text, which is at most a quarter of its words.
        rng: Source of all random choices.
    """
    words = [text.split() for text in texts]
    pool = _all_words(words)
    changed = {}
    for row in np.flatnonzero(rng.random(len(texts)) < share).tolist():
        count = min(most, int(len(words[row]) * _MAX_LABELED))
        if count:
            change = (_delete_span, _replace_words)[rng.integers(2)]
            changed[row] = " ".join(change(words[row], int(rng.integers(1, count + 1)), pool, rng))
    return changed


def changed_copies(texts: Sequence[str], copies: int, seed: int) -> dict[str, int]:
    """Return new texts with the row of the original: `copies` of each text, in order, without those that exist already.

    At most half of the words of a text change, so a copy can have another meaning and needs its own target.

    Args:
        texts: The corpus. Words are separated by spaces.
        copies: Number of copies of each text.
        seed: Seed of all random choices.
    """
    rng = np.random.default_rng(seed_of(seed, _COPIES))
    words = [text.split() for text in texts]
    pool = _all_words(words)
    originals, result = set(texts), dict[str, int]()
    for row, item in enumerate(words):
        most = int(len(item) * _MAX_COPIED)
        for _ in range(copies if most else 0):
            change = (_delete_span, _replace_words, _keep_span)[rng.integers(3)]
            copy = " ".join(change(item, int(rng.integers(1, most + 1)), pool, rng))
            if copy not in originals:
                result.setdefault(copy, row)
    return result


def _all_words(texts: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the words of all texts with repetitions, so that a random one is as frequent as in the corpus."""
    return [word for text in texts for word in text]


def _delete_span(words: Sequence[str], count: int, _pool: Sequence[str], rng: np.random.Generator) -> list[str]:
    start = int(rng.integers(len(words) - count + 1))
    return [*words[:start], *words[start + count :]]


def _keep_span(words: Sequence[str], count: int, _pool: Sequence[str], rng: np.random.Generator) -> list[str]:
    start = int(rng.integers(count + 1))
    return list(words[start : start + len(words) - count])


def _replace_words(words: Sequence[str], count: int, pool: Sequence[str], rng: np.random.Generator) -> list[str]:
    result = list(words)
    for position in rng.choice(len(words), count, replace=False).tolist():
        result[position] = pool[int(rng.integers(len(pool)))]
    return result
