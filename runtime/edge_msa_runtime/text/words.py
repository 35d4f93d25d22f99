"""Words of a text stream with their times."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Sequence

from edge_msa_runtime.errors import UsageError

# A text is one utterance. Tokenizing longer ones would take seconds.
MAX_TEXT_CHARACTERS = 1_000_000

# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese, and their punctuation.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003ffff]"
)


@dataclasses.dataclass(frozen=True)
class Word:
    """A word with its start and end in seconds; both are None if no times were passed.

    Attributes:
        text: the word.
        start: its start.
        end: its end.
        cue_start: start of the subtitle that it is from; None for a word with times of its own.
    """

    text: str
    start: float | None = None
    end: float | None = None
    cue_start: float | None = None

    @property
    def cue(self) -> float:
        """Start of its subtitle, or else of the word itself."""
        return (self.start or 0.0) if self.cue_start is None else self.cue_start


def separator(before: str, after: str) -> str:
    """Return what stands between words: nothing in Chinese, Japanese, Thai, Lao, Burmese and Khmer, else a space."""
    return "" if _UNSPACED.match(before[-1:]) and _UNSPACED.match(after[:1]) else " "


def join(words: Sequence[str]) -> str:
    """Return words as one text."""
    spaces = [separator(before, after) for before, after in zip(words, words[1:])]
    return "".join(part for pair in zip(words, [*spaces, ""]) for part in pair)


def join_words(text: Any) -> str:
    """Return a text as one string.

    Args:
        text: a string, or a list of words.

    Raises:
        UsageError: it is neither, or it has more than a million characters.
    """
    if isinstance(text, (list, tuple)) and all(isinstance(word, str) for word in text):
        text = join(text)
    if not isinstance(text, str):
        raise UsageError(f"text must be a string or a list of words, got {text!r:.60}.")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise UsageError(
            f"text must have at most {MAX_TEXT_CHARACTERS} characters, got {len(text)}. Pass one utterance at a time."
        )
    return text


def parse_words(text: Any, times: Any) -> list[Word]:
    """Return the words of one push to a stream.

    Args:
        text: a string, whose words are separated by whitespace, or a list of words.
        times: None, or (start, end) in seconds for each word.

    Raises:
        UsageError: `text` is neither a string nor a list of words, or `times` does not have one finite (start, end)
            per word with 0 <= start <= end.
    """
    joined = join_words(text)
    texts = joined.split() if isinstance(text, str) else list(text)
    if times is None:
        return [Word(word) for word in texts]
    pairs = _pairs(times)
    if len(pairs) != len(texts):
        raise UsageError(f"times must have one (start, end) per word, got {len(pairs)} for {len(texts)} words.")
    for word, (start, end) in zip(texts, pairs):
        if not 0 <= start <= end < math.inf:
            raise UsageError(
                f"times must be finite, with 0 <= start <= end, got ({start:g}, {end:g}) for {word[:20]!r}. "
                "Correct the times, or pass timestamp."
            )
    return [Word(word, start, end) for word, (start, end) in zip(texts, pairs)]


def _pairs(times: Any) -> list[tuple[float, float]]:
    try:
        return [(float(start), float(end)) for start, end in times]
    except (TypeError, ValueError, OverflowError):
        raise UsageError(f"times must be a list of (start, end) in seconds, got {times!r:.60}.") from None
