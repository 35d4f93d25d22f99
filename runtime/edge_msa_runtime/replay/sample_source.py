"""The utterances of a feature file, played one after the other as chunks."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, Sequence

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.sample_ids import position_from_id, video_from_id
from edge_msa_runtime.replay.items import END_UTTERANCE, RESET, Control, FrameChunk, Item, WordChunk

if TYPE_CHECKING:
    from edge_msa_runtime.inputs.samples import Sample

ASSUMED_RATE_HZ = 10.0
"""Of the longest modality of an utterance in which no rate is known."""
WORDS_PER_SECOND = 2.5
"""Of an utterance with words only, about the rate of English speech."""


@dataclasses.dataclass(frozen=True)
class Pace:
    """How utterances are played.

    Attributes:
        rates: frames per second, by modality. The frames of a modality without a rate are spread evenly over the
            utterance, whose length follows from the others.
        chunk: seconds per chunk.
        pause: seconds of silence after each utterance.
        duration: seconds after which no other utterance starts; the utterances are repeated until then. None: each
            utterance is played once.
    """

    rates: Mapping[str, float]
    chunk: float = 0.4
    pause: float = 0.6
    duration: float | None = None


def play_samples(
    read: Callable[[], Iterator[Sample]],
    modalities: Sequence[str],
    pace: Pace,
    on_error: Callable[[str, str], object],
) -> Iterator[Item]:
    """Yield the items of utterances, each followed by `end_utterance`, and by `reset` before another conversation.

    An utterance continues the conversation of the one before it if it is a later part of the same video.

    Args:
        read: yields the samples from the first one each time.
        modalities: what to play, `text` for words.
        pace: rates and times.
        on_error: called with the id and the message for each sample that cannot be played, in the first round.

    Raises:
        UsageError: no sample can be played.
    """
    time, is_first_round = 0.0, True
    previous: tuple[str, float] | None = None
    while True:
        played = 0
        for sample in read():
            if pace.duration is not None and time >= pace.duration:
                return
            try:
                items, length = split_sample(sample, modalities, pace, time)
            except UsageError as error:
                if is_first_round:
                    on_error(f"sample {sample.id}", str(error))
                continue
            place = find_place(sample)
            continues = place is not None and previous is not None and place[0] == previous[0] and place > previous
            if (played or not is_first_round) and not continues:
                yield Control(RESET, time)
            previous = place
            played += 1
            yield from items
            time += length
            yield Control(END_UTTERANCE, time)
            time += pace.pause
        if not played:
            raise UsageError("No utterance can be played. Pass a file with frames or words that the bundle takes.")
        if pace.duration is None:
            return
        is_first_round = False


def find_place(sample: Sample) -> tuple[str, float] | None:
    """Return the video of a sample and its position in it, as the file or the id states them; None if neither does."""
    video = video_from_id(sample.id) if sample.video is None else sample.video
    position = position_from_id(sample.id, video) if sample.position is None else sample.position
    return (video, position) if math.isfinite(position) else None


def split_sample(sample: Sample, modalities: Sequence[str], pace: Pace, start: float) -> tuple[list[Item], float]:
    """Return the chunks of an utterance in the order in which they are due, and its length in seconds.

    Raises:
        UsageError: the sample cannot be read, or has nothing of these modalities.
    """
    if sample.error is not None:
        raise sample.error
    frames = {name: sample.frames[name] for name in modalities if name in sample.frames and len(sample.frames[name])}
    words = tuple((sample.text or "").split()) if "text" in modalities else ()
    if not frames and not words:
        raise UsageError("The sample has no frame and no word that the bundle takes.")
    length = _length(frames, len(words), pace.rates)
    items: list[Item] = []
    for name, rows in frames.items():
        period = 1 / pace.rates[name] if name in pace.rates else length / len(rows)
        items += _frame_chunks(name, rows, sample.valid.get(name), period, pace.chunk, start, f"sample {sample.id}")
    items += _word_chunks(words, length / max(1, len(words)), pace.chunk, start, f"sample {sample.id}")
    return sorted(items, key=lambda item: item.due or 0.0), length


def _length(frames: Mapping[str, Any], words: int, rates: Mapping[str, float]) -> float:
    """Return the seconds of an utterance: those of the longest modality with a known rate, or an estimate."""
    known = [len(rows) / rates[name] for name, rows in frames.items() if name in rates]
    if known:
        return max(known)
    if words:
        return words / WORDS_PER_SECOND
    return max(map(len, frames.values())) / ASSUMED_RATE_HZ


def _frame_chunks(
    name: str, rows: Any, mask: Any, period: float, chunk: float, start: float, origin: str
) -> Iterator[Item]:
    step = max(1, round(chunk / period))
    for first in range(0, len(rows), step):
        part = None if mask is None else mask[first : first + step]
        yield FrameChunk(name, rows[first : first + step], start + first * period, period, part, origin=origin)


def _word_chunks(words: Sequence[str], period: float, chunk: float, start: float, origin: str) -> Iterator[Item]:
    parts: dict[int, list[int]] = {}
    for index in range(len(words)):
        parts.setdefault(math.ceil((index + 1) * period / chunk), []).append(index)
    for indices in parts.values():
        times = tuple((start + index * period, start + (index + 1) * period) for index in indices)
        yield WordChunk(tuple(words[index] for index in indices), times, origin=origin)
