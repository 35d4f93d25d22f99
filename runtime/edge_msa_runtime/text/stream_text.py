"""The text of a stream: the words that can still affect a prediction, in bounded memory."""

from __future__ import annotations

import copy
from collections import deque
from typing import TYPE_CHECKING, Iterable, Sequence

from edge_msa_runtime.text.tokenizer import truncation_warnings
from edge_msa_runtime.text.words import MAX_TEXT_CHARACTERS, Word, join, separator

if TYPE_CHECKING:
    from edge_msa_runtime.inputs.validation import Frames
    from edge_msa_runtime.text.encoders import TextEncoder

# Tokens of words one by one can be more than those of the joined text, of which a prediction uses `max_tokens`.
_MARGIN = 2


class StreamText:
    """Stores the words of a stream and encodes them.

    Words are tokenized one by one when they arrive. A table encodes new words at
    once, until old words have to be dropped. From then on, all words are encoded together before a prediction. An
    encoder always encodes all words together, after which it reads earlier utterances if it was trained to.

    Args:
        text_encoder: encodes the words.
        truncate: as in `Session.create_stream`.
        earlier: the tokens of earlier utterances, as in `TextEncoder.encode_ids`.

    Attributes:
        total_words: number of words with tokens that were pushed.
        is_stale: whether the next prediction must replace the language state by that of `encode_all`. The caller sets
            it to false when it has done that.
    """

    def __init__(self, text_encoder: TextEncoder, truncate: str, earlier: Sequence[Sequence[int]] = ()) -> None:
        self.total_words = 0
        self._earlier = tuple(earlier)
        self.is_stale = False
        self._text_encoder = text_encoder
        self._truncate = truncate
        self._keeps_newest = truncate != "end"
        self._room = text_encoder.max_tokens * (1 if text_encoder.incremental else _MARGIN)
        self._kept: deque[tuple[Word, list[int]]] = deque()
        self._kept_tokens = self._kept_characters = self._encoded = 0
        self._total_tokens = 0
        # What the last `encode_all` of an encoder used: a range of the kept words, and the number of their tokens.
        self._used_range, self._used_tokens, self._cut = (0, 0), 0, False

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that affect the prediction."""
        words = tuple(word for word, _ in self._kept)
        return words if self._text_encoder.incremental else words[slice(*self._used_range)]

    @property
    def tokens(self) -> list[int]:
        """The last tokens of the words that affect the prediction, without special tokens, at most `max_tokens`."""
        encoder = self._text_encoder
        return encoder.tokenizer.word_ids(join([word.text for word in self.words]))[-encoder.max_tokens :]

    @property
    def frames(self) -> int:
        """Number of language frames that the words become."""
        encoder = self._text_encoder
        return min(self._kept_tokens, encoder.max_tokens) if encoder.incremental else self._encoded

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning if words do not affect the prediction, with their number."""
        encoder = self._text_encoder
        used = min(self._kept_tokens, encoder.max_tokens) if encoder.incremental else self._used_tokens
        if not encoder.incremental and not self._cut and len(self._kept) == self.total_words:
            return ()  # the joined text can have fewer tokens than its words
        unused = f" ({self.total_words - len(self.words)} of {self.total_words} words)"
        return truncation_warnings(self._total_tokens, used, encoder.max_tokens, self._truncate, unused)

    def copy(self) -> StreamText:
        """Return an independent copy."""
        other = copy.copy(self)
        other._kept = self._kept.copy()  # noqa: SLF001 - of its own class
        return other

    def push(self, words: Iterable[tuple[Word, list[int]]]) -> Frames | None:
        """Add words with their token ids. Return the frames (n, d), n > 0, for the language state now, if any."""
        encoder = self._text_encoder
        added: list[int] = []
        for word, ids in words:
            self.total_words += 1
            self._total_tokens += len(ids)
            if self._keeps_newest:
                self._append(word, ids)
                self._drop_oldest()
                added += ids
            elif not self._is_full():
                used = ids[: self._room - self._kept_tokens] if encoder.incremental else ids
                self._append(word, used)
                added += used
        if not encoder.incremental or (self._keeps_newest and self._total_tokens > encoder.max_tokens):
            self.is_stale = self.is_stale or bool(added)
            return None
        return encoder.encode_ids(added) if added else None

    def encode_all(self) -> Frames:
        """Return the frames (n, d) of all tokens that a prediction uses; n is 0 if there are none."""
        encoder = self._text_encoder
        if encoder.incremental:
            return encoder.encode_ids([token for _, ids in self._kept for token in ids][-encoder.max_tokens :])
        texts = [word.text for word, _ in self._kept]
        text = join(texts)
        tokens = encoder.tokenizer.tokenize(text, "start" if self._keeps_newest else "end")
        frames = encoder.encode_ids(next(iter(tokens.parts), []), self._earlier)
        self._encoded = len(frames)
        start, stop, position = 0, 0, 0
        for number, word in enumerate(texts):
            end = position + len(word)
            start += bool(end <= tokens.span[0] and end > position)
            stop += position < tokens.span[1]
            position = end + len(separator(word, texts[number + 1])) if number + 1 < len(texts) else end
        self._used_range, self._used_tokens, self._cut = (start, stop), tokens.used, tokens.used < tokens.total
        return frames

    def _append(self, word: Word, ids: list[int]) -> None:
        self._kept.append((word, ids))
        self._kept_tokens += len(ids)
        self._kept_characters += len(word.text)

    def _is_full(self) -> bool:
        """Whether another word cannot affect a prediction."""
        return self._kept_tokens >= self._room or self._kept_characters >= MAX_TEXT_CHARACTERS

    def _drop_oldest(self) -> None:
        """Drop the words that do not affect a prediction any more."""
        while len(self._kept) > 1 and (
            self._kept_tokens - len(self._kept[0][1]) >= self._room or self._kept_characters > MAX_TEXT_CHARACTERS
        ):
            word, ids = self._kept.popleft()
            self._kept_tokens -= len(ids)
            self._kept_characters -= len(word.text)
