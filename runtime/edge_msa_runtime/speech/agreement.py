"""Decide which words of repeated hypotheses about growing sound are final: those that two hypotheses agree on.

The policy is local agreement (Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by
Partial Hypothesis Selection"; Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System").
"""

from __future__ import annotations

from typing import Sequence

from edge_msa_runtime.text.words import Word


class LocalAgreement:
    """Final words, and those of the last hypothesis that may still change.

    Attributes:
        until: end of the last final word in seconds; 0 without one.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self._context: list[Word] = []
        self._pending: list[Word] = []

    @property
    def context(self) -> list[Word]:
        """The final words that the next hypothesis may contain again."""
        return self._context

    def update(self, hypothesis: Sequence[Word], *, final: bool = False, before: float | None = None) -> list[Word]:
        """Return the words that become final with a hypothesis.

        Args:
            hypothesis: all words of the current sound, with the final ones in `context` again.
            final: whether all words are final, because the utterance has ended.
            before: words that end before this time are final too.
        """
        new = list(hypothesis)[overlap(self._context, hypothesis) :]
        count = len(new) if final else _common(self._pending, new)
        if before is not None:
            count = max(count, sum(word.end is not None and word.end < before for word in new))
        agreed = [self._ordered(word) for word in new[:count]]
        self._pending = new[count:]
        self._context += agreed
        return agreed

    def drop(self, until: float) -> None:
        """Forget the final words up to a time, because the sound before it is not used any longer."""
        self._context = [word for word in self._context if word.end is not None and word.end > until]

    def forget(self) -> None:
        """Forget all words but the time of the last final one, because new sound starts."""
        self._context, self._pending = [], []

    def _ordered(self, word: Word) -> Word:
        """Return a word that does not start before the end of the one before it."""
        start = max(self.until, word.start or 0.0)
        self.until = max(start, word.end or 0.0)
        return Word(word.text, start, self.until)


def normalize(text: str) -> str:
    """Return a word without case and punctuation, as recognizers change both."""
    return "".join(letter for letter in text.casefold() if letter.isalnum()) or text


def overlap(known: Sequence[Word], hypothesis: Sequence[Word]) -> int:
    """Return how many first words of a hypothesis correspond to the known words.

    It is the number whose words differ least from the known ones. A second between the ends counts as one different
    word.
    """
    if not known or not hypothesis:
        return 0
    end = known[-1].end or 0.0
    begin = hypothesis[0].start or 0.0
    distances = _prefix_distances(
        [normalize(word.text) for word in known], [normalize(word.text) for word in hypothesis]
    )
    ends = [begin, *(word.end or 0.0 for word in hypothesis)]
    costs = [distance + abs(moment - end) for distance, moment in zip(distances, ends)]
    return min(range(len(costs)), key=costs.__getitem__)


def _prefix_distances(known: Sequence[str], words: Sequence[str]) -> list[int]:
    """Return the edit distance of `known` from each beginning of `words`."""
    row = list(range(len(words) + 1))
    for number, text in enumerate(known, 1):
        previous, row = row, [number]
        for column, word in enumerate(words, 1):
            row.append(min(previous[column] + 1, row[-1] + 1, previous[column - 1] + (word != text)))
    return row


def _common(earlier: Sequence[Word], later: Sequence[Word]) -> int:
    count = 0
    for first, second in zip(earlier, later):
        if normalize(first.text) != normalize(second.text):
            break
        count += 1
    return count
