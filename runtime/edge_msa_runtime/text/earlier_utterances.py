"""The input of a text encoder that reads earlier utterances of the conversation.

The tokens of the current utterance come first, as without context, and become the language frames. The earlier
utterances follow, the newest first, each with the special tokens that end a text:
`[CLS] current [SEP] previous [SEP] before that [SEP]`.
"""

from __future__ import annotations

from typing import Sequence


def append_utterances(
    ids: Sequence[int], earlier: Sequence[Sequence[int]], ending: Sequence[int], max_tokens: int
) -> list[int]:
    """Return the tokens of an utterance followed by those of earlier ones, as far as there is room.

    The current utterance is never shortened. The oldest utterance that does not fit loses its beginning.

    Args:
        ids: tokens of the current utterance, with its special tokens.
        earlier: tokens of each earlier utterance without special tokens, the newest last.
        ending: special tokens at the end of a text.
        max_tokens: the largest number of tokens of the result.
    """
    result = list(ids)
    for tokens in reversed(earlier):
        room = max_tokens - len(result) - len(ending)
        if room < 1:
            break
        if tokens:
            result += [*tokens[-room:], *ending]
    return result


def ending_of(ids: Sequence[int], special: Sequence[int]) -> list[int]:
    """Return the special tokens at the end of a text, given its tokens and which of them are special (0 or 1)."""
    last = max((index for index, is_special in enumerate(special) if not is_special), default=-1)
    return list(ids[last + 1 :])
