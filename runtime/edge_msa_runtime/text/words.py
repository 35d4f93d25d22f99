"""TextTokenizer as they come: checked, and kept with their times, so that a stream can tell which of them it has read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Sequence

from edge_msa_runtime.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Word:
    """A word, and when it was said in seconds, where that was told."""

    text: str
    start: float | None = None
    end: float | None = None


def is_text(language: Any) -> bool:
    """Whether what was given for language is words, a text or a list of them, rather than frames."""
    if isinstance(language, (list, tuple)):
        return bool(language) and all(isinstance(word, str) for word in language)
    return isinstance(language, str)


def words_of(language: str | Sequence[str], times: Any, after: Sequence[Word]) -> list[Word]:
    """The words of one push.

    Args:
        language: a text, whose words are what whitespace separates, or the words themselves.
        times: None, or (start, end) in seconds of each word.
        after: the words before these.

    Raises:
        UsageError: as many times as words are wanted, finite, start <= end, and no word starts before the one before.
    """
    texts = language.split() if isinstance(language, str) else list(language)
    if times is None:
        return [Word(text) for text in texts]
    pairs = _pairs(times)
    if len(pairs) != len(texts):
        raise UsageError(f"there are {len(pairs)} times for {len(texts)} words; give (start, end) of each word")
    latest = next((word.start for word in reversed(after) if word.start is not None), -math.inf)
    for text, (start, end) in zip(texts, pairs):
        if not (math.isfinite(start) and math.isfinite(end) and latest <= start <= end):
            raise UsageError(
                f"the time of {text[:20]!r} is ({start:g}, {end:g}) after a word at {latest:g}; "
                "give finite seconds, start <= end, in the order of the words"
            )
        latest = start
    return [Word(text, start, end) for text, (start, end) in zip(texts, pairs)]


def _pairs(times: Any) -> list[tuple[float, float]]:
    try:
        return [(float(start), float(end)) for start, end in times]
    except (TypeError, ValueError) as error:
        raise UsageError(f"times are no pairs of seconds ({error}); give (start, end) of each word") from error
