"""Tokenize text with the tokenizers library, which is imported when the first text arrives."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.errors import BundleError, PackageImportError, UsageError, first_line
from edge_msa_runtime.text.earlier_utterances import ending_of
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from pathlib import Path


# What to do with a text of more tokens than a bundle takes.
TRUNCATIONS = ("end", "start", "window")


@dataclasses.dataclass(frozen=True)
class TokenizedText:
    """The tokens of a text, in parts that a bundle takes.

    Attributes:
        parts: token ids, with special tokens. One part, or several with `window`; none if the text has no tokens.
        counts: number of tokens of each part, without special tokens.
        total: number of tokens of the whole text, without special tokens.
        special: number of special tokens that each part has in addition.
        span: the characters of the text that the parts cover, from the first to the one after the last.
    """

    parts: tuple[list[int], ...]
    counts: tuple[int, ...]
    total: int
    special: int
    span: tuple[int, int]

    @property
    def used(self) -> int:
        """Number of tokens in the parts, without special tokens."""
        return sum(self.counts)


class Tokenizer:
    """A tokenizer loaded from a file.

    Args:
        path: the file, in the format of the tokenizers library.
        max_tokens: the largest number of tokens of a part, including special tokens.
        special: whether to add the special tokens of the file's post-processor ([CLS] ... [SEP]) to each part.

    Raises:
        BackendUnavailableError: the tokenizers library is not installed.
        BundleError: the file is not a tokenizer.
    """

    def __init__(self, path: Path, max_tokens: int, *, special: bool) -> None:
        self.max_tokens = max_tokens
        self._special = special
        self._vendor = _load(path)
        self._vendor.no_padding()
        self._vendor.no_truncation()

    def tokenize(self, text: str, truncate: str = "end") -> TokenizedText:
        """Return the tokens of a text.

        Args:
            text: the text.
            truncate: what to do with more than `max_tokens` tokens: drop the `end`, drop the `start`, or return
                several parts (`window`).

        Raises:
            UsageError: the text is not valid Unicode.
            BundleError: `max_tokens` leaves no room beside the special tokens.
        """
        encoding = self._encode(text, special=self._special)
        ids: list[int] = encoding.ids
        mask: list[int] = encoding.special_tokens_mask if self._special else [0] * len(ids)
        if all(mask):
            return TokenizedText((), (), 0, len(ids), (0, 0))
        first, last = mask.index(0), len(mask) - mask[::-1].index(0)  # the tokens between the special ones
        total, special = last - first, len(ids) - (last - first)
        capacity = self.max_tokens - special
        if capacity < 1:
            raise BundleError(
                f"max_tokens must be more than the {special} special tokens of a text, got {self.max_tokens}. Export "
                "the bundle again."
            )
        if total <= capacity:
            return TokenizedText((ids,), (total,), total, special, (0, len(text)))
        if truncate == "window":
            starts = list(range(first, last, capacity))
        else:
            starts = [first if truncate == "end" else last - capacity]
        ranges = [(start, min(start + capacity, last)) for start in starts]
        parts = tuple(ids[:first] + ids[start:stop] + ids[last:] for start, stop in ranges)
        offsets = encoding.offsets[ranges[0][0] : ranges[-1][1]]
        span = (min(start for start, _ in offsets), max(end for _, end in offsets))
        return TokenizedText(parts, tuple(stop - start for start, stop in ranges), total, special, span)

    def ids(self, text: str) -> list[int]:
        """Return at most `max_tokens` token ids, without the end of a longer text; none if the text has no tokens.

        Raises:
            UsageError: the text is not valid Unicode.
        """
        return next(iter(self.tokenize(text).parts), [])

    def word_ids(self, word: str) -> list[int]:
        """Return all token ids of one word, without special tokens.

        Raises:
            UsageError: the word is not valid Unicode.
        """
        ids: list[int] = self._encode(word, special=False).ids
        return ids

    @property
    def ending(self) -> list[int]:
        """The special tokens at the end of a text, such as [SEP], which separate utterances."""
        encoding = self._encode("a", special=self._special)
        return ending_of(encoding.ids, encoding.special_tokens_mask)

    def _encode(self, text: str, *, special: bool) -> Any:
        try:
            return self._vendor.encode(text, add_special_tokens=special)
        except Exception as error:  # the library has no base exception, and raises TypeError for a lone surrogate
            raise UsageError(f"text must be valid Unicode: {_reason(text, error)}.") from error


def check_truncate(truncate: str) -> None:
    """Raise a UsageError unless `truncate` is one of `TRUNCATIONS`."""
    if truncate not in TRUNCATIONS:
        raise UsageError(f"truncate must be one of {', '.join(TRUNCATIONS)}, got {truncate!r}.")


def truncation_warnings(total: int, used: int, max_tokens: int, truncate: str, words: str = "") -> tuple[str, ...]:
    """Return a warning if a text has more tokens than were used.

    Args:
        total: tokens of the text.
        used: tokens that were used.
        max_tokens: tokens that the bundle takes.
        truncate: what was dropped, as in `Tokenizer.tokenize`.
        words: the number of unused words, put after the number of unused tokens, such as ` (2 of 9 words)`.
    """
    if used >= total:
        return ()
    dropped = "end" if truncate == "end" else "beginning"
    problem = f"{total - used} of {total} tokens of text{words} were not used"
    return (f"{problem}: the bundle takes {max_tokens} tokens, and the {dropped} of the text was dropped.",)


def _load(path: Path) -> Any:
    try:
        tokenizers = import_package("tokenizers")
    except PackageImportError as error:
        raise PackageImportError(
            f"Text input needs tokenizers: {error.reason}", error.requirement, error.culprit
        ) from error
    try:
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exceptions
        raise BundleError(f"{path.name} is not a tokenizer ({first_line(error)}). Export the bundle again.") from error


def _reason(text: str, error: Exception) -> str:
    position = next((index for index, letter in enumerate(text) if 0xD800 <= ord(letter) <= 0xDFFF), None)
    if position is not None:
        return f"character {position} is the lone surrogate {text[position]!r}. Decode the text as UTF-8"
    return first_line(error)
