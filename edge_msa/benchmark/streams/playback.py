"""Play a scenario for utterances of the synthetic data: which frames have arrived at which moment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Split
from edge_msa.data.synthetic.world import Array, world
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.replay.items import FrameChunk
from edge_msa_runtime.replay.scenarios import BAD, Arrival, Scenario, arrive

PERIOD = 0.2
"""Seconds between frames of audio and vision. Words are evenly spaced over the utterance, which lasts 3.2 to 4 s."""
STEP = 0.4
"""Seconds between two moments."""
_SEED_STRIDE = 1_000_003  # between the seeds of two utterances
_TOLERANCE = 1e-6
_WIDTHS = {"language": world().language.longest, "audio": world().audio.longest, "vision": world().vision.longest}
"""Largest number of frames of each modality, T."""


@dataclass(frozen=True, eq=False)
class Utterance:
    """The frames of one utterance, by modality."""

    frames: Mapping[str, FloatArray]
    """(T, d), not normalized. Absent modalities are omitted."""
    periods: Mapping[str, float]
    """Seconds between frames. The first frame of every modality begins at 0, and a frame is sent when it has ended."""

    @property
    def duration(self) -> float:
        """When the last frame ends."""
        return max(len(frames) * self.periods[name] for name, frames in self.frames.items())

    def count_due(self, modality: str, time: float) -> int:
        """Return how many frames of a modality have ended at a time."""
        return min(len(self.frames[modality]), int(time / self.periods[modality] + _TOLERANCE))

    def chunks(self) -> list[Chunk]:
        """Return the frames of each modality between two moments as one chunk, in the order in which they are sent."""
        chunks = []
        for name, frames in self.frames.items():
            period = self.periods[name]
            number_of_moments = math.ceil(self.duration / STEP - _TOLERANCE)
            ends = [self.count_due(name, (number + 1) * STEP) for number in range(number_of_moments)]
            for first, end in zip([0, *ends], ends, strict=False):
                if end > first:
                    part = frames[first:end]
                    chunks.append(Chunk(name, part, first * period, period, arrival=end * period, index=first))
        return sorted(chunks, key=lambda chunk: chunk.due or 0.0)


@dataclass(frozen=True, eq=False)
class Chunk(FrameChunk):
    """Frames, and which ones they are."""

    index: int = -1
    """Position of the first frame in its modality."""


@dataclass(frozen=True, eq=False)
class Playback:
    """One scenario, played for N utterances with M moments in total."""

    scenario: Scenario
    utterances: tuple[Utterance, ...]
    rows: NDArray[np.int64]
    """Utterance of each moment, (M,), ascending."""
    times: Array
    """Time of each moment since the start of its utterance in seconds, (M,)."""
    arrivals: tuple[tuple[Arrival, ...], ...]
    """What has arrived since the previous moment of the utterance, for each moment, in order."""
    seen: Mapping[str, BoolArray]
    """Which frames have arrived, intact, up to each moment, by modality, (M, T)."""
    new: Mapping[str, BoolArray]
    """Which of them have arrived since the previous moment, (M, T)."""

    due: Mapping[str, NDArray[np.int64]]
    """How many frames have ended at each moment, whether they have arrived or not, by modality, (M,)."""

    @property
    def first(self) -> BoolArray:
        """Whether a moment is the first one of its utterance, (M,)."""
        return np.concatenate([[True], self.rows[1:] != self.rows[:-1]])

    @property
    def is_complete(self) -> BoolArray:
        """Whether every modality that was due since the previous moment has sent something since then, (M,)."""
        before = {name: np.where(self.first, 0, np.roll(due, 1)) for name, due in self.due.items()}
        sent = [new.any(axis=1) | (self.due[name] == before[name]) for name, new in self.new.items()]
        return np.asarray(np.all(sent, axis=0))


def split_utterances(split: Split) -> tuple[Utterance, ...]:
    """Return the utterances of a split of the synthetic data, with event times."""
    masks = {name: split.modalities[name].valid for name in MODALITIES}
    values = {name: split.modalities[name].take() for name in MODALITIES}
    utterances = []
    for row in range(len(split)):
        frames = {name: values[name][row][masks[name][row]] for name in MODALITIES}
        duration = PERIOD * max(len(frames["audio"]), len(frames["vision"]))
        periods = {"language": duration / len(frames["language"]), "audio": PERIOD, "vision": PERIOD}
        utterances.append(Utterance(frames, periods))
    return tuple(utterances)


def play(utterances: tuple[Utterance, ...], scenario: Scenario, seed: int) -> Playback:
    """Play a scenario for utterances, each with a stream of its own.

    Args:
        utterances: The utterances.
        scenario: What happens to their frames.
        seed: Seed of everything random. What happens to an utterance does not depend on the others.
    """
    rows: list[int] = []
    times: list[float] = []
    arrivals: list[tuple[Arrival, ...]] = []
    for row, utterance in enumerate(utterances):
        for time, arrived in _moments(utterance, scenario, seed + row * _SEED_STRIDE):
            rows.append(row)
            times.append(time)
            arrivals.append(arrived)
    new = _new_frames(arrivals)
    due = {
        name: np.array([utterances[row].count_due(name, time) for row, time in zip(rows, times, strict=True)])
        for name in MODALITIES
    }
    return Playback(
        scenario,
        utterances,
        np.array(rows),
        np.array(times),
        tuple(arrivals),
        {name: _seen_so_far(mask, np.array(rows)) for name, mask in new.items()},
        new,
        due,
    )


def _moments(utterance: Utterance, scenario: Scenario, seed: int) -> Iterator[tuple[float, tuple[Arrival, ...]]]:
    """Yield every moment of an utterance, up to the first one at its end or after it, with its arrivals."""
    waiting = list(arrive(utterance.chunks(), scenario, seed))
    for index in range(1, math.ceil(utterance.duration / STEP - _TOLERANCE) + 1):
        time = index * STEP
        count = sum(arrival.time <= time + _TOLERANCE for arrival in waiting)  # they are in the order of their times
        yield time, tuple(waiting[:count])
        waiting = waiting[count:]


def _new_frames(arrivals: list[tuple[Arrival, ...]]) -> dict[str, BoolArray]:
    new = {name: np.zeros((len(arrivals), width), dtype=np.bool_) for name, width in _WIDTHS.items()}
    for moment, arrived in enumerate(arrivals):
        for arrival in arrived:
            if BAD not in arrival.faults and isinstance(arrival.item, Chunk):
                first = arrival.item.index
                new[arrival.item.modality][moment, first : first + len(arrival.item.frames)] = True
    return new


def _seen_so_far(new: BoolArray, rows: NDArray[np.int64]) -> BoolArray:
    """Return which frames have arrived at each moment or an earlier one of the same utterance."""
    seen = new.copy()
    for moment in range(1, len(rows)):
        if rows[moment] == rows[moment - 1]:
            seen[moment] |= seen[moment - 1]
    return seen
