from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge_msa.benchmark.streams.measure import synthetic_utterances
from edge_msa.benchmark.streams.playback import Playback, Utterance, play, split_utterances
from edge_msa.benchmark.streams.predictions import (
    hold_predictions,
    no_memory_predictions,
    repeat_predictions,
    stream_predictions,
)
from edge_msa_runtime.replay.scenarios import PRESETS, Faults, Scenario
from edge_msa_runtime.session import Session

SAMPLES = synthetic_utterances(12)


@dataclass
class CountingSession:
    """A session whose predictions are the mean of the first feature over all frames. It keeps the frames."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def predict(self, **frames: Any) -> SimpleNamespace:
        self.calls.append(frames)
        return SimpleNamespace(score=float(np.concatenate([part[:, 0] for part in frames.values()]).mean()))

    def create_stream(self, **options: Any) -> CountingStream:
        return CountingStream(options)


class CountingStream:
    """A stream whose predictions are the mean of the first feature over all frames up to a time."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.values: list[tuple[float, float]] = []

    def push(self, modality: str, frames: Any, timestamp: float, *, period: float) -> None:
        assert self.options["lateness"].get(modality, 0.0) >= 0
        self.values += [(timestamp + index * period, frame[0]) for index, frame in enumerate(frames)]

    def predict(self, at: float) -> SimpleNamespace:
        score = float(np.mean([value for time, value in self.values if time <= at]))
        return SimpleNamespace(score=score, interval=(score - 1, score + 1) if at > 0.5 else None)


def session() -> tuple[Session, list[dict[str, Any]]]:
    fake = CountingSession()
    return cast("Session", fake), fake.calls


def counted_playback(scenario: Scenario) -> Playback:
    """Return a playback of utterances in which every frame of a modality is its number, from 1."""
    utterances = tuple(
        Utterance(
            {name: np.arange(1, len(part) + 1, dtype=np.float32)[:, None] for name, part in item.frames.items()},
            item.periods,
        )
        for item in split_utterances(SAMPLES)
    )
    return play(utterances, scenario, 0)


def test_stream_predicts_from_the_frames_that_have_arrived() -> None:
    playback = counted_playback(PRESETS["lagging"])
    predictions = stream_predictions(session()[0], playback)
    for moment in (0, 3, 17):
        seen = [np.flatnonzero(mask[moment]) + 1 for mask in playback.seen.values()]
        assert predictions.scores[moment] == pytest.approx(np.concatenate(seen).mean())


def test_intervals_are_those_of_the_stream_where_it_has_any() -> None:
    playback = counted_playback(PRESETS["clean"])
    predictions = stream_predictions(session()[0], playback)
    late = playback.times > 0.5
    assert np.isnan(predictions.intervals[~late]).all()
    assert predictions.intervals[late] == pytest.approx(predictions.scores[late, None] + [-1, 1])


def test_prediction_holds_while_a_modality_sends_nothing() -> None:
    playback = counted_playback(Scenario("gap", {"audio": Faults(absent=((0.8, 2.0),))}))
    predictions = np.arange(1.0, len(playback.rows) + 1)
    held = hold_predictions(playback, predictions)
    first = playback.first.nonzero()[0][1]  # of the second utterance
    assert held[first : first + 2].tolist() == predictions[first : first + 2].tolist()
    assert held[first + 2 : first + 5].tolist() == [predictions[first + 1]] * 3
    assert held[first + 5] == predictions[first + 5]


def test_prior_holds_until_every_modality_has_sent_something() -> None:
    playback = counted_playback(Scenario("late", {"vision": Faults(start=0.8)}))
    held = hold_predictions(playback, np.ones(len(playback.rows)))
    assert np.array_equal(held[playback.times < 1.0], np.zeros(int((playback.times < 1.0).sum())))
    assert held[playback.times > 1.0].all()


def test_last_frame_replaces_those_that_are_missing() -> None:
    playback = counted_playback(Scenario("gap", {"audio": Faults(absent=((0.8, 2.0),)), "vision": Faults(start=0.8)}))
    fake, calls = session()
    start = {name: np.full(1, -7, np.float32) for name in ("language", "audio", "vision")}
    repeat_predictions(fake, playback, start)
    assert calls[1]["vision"][:, 0].tolist() == [-7] * 4  # nothing has arrived yet
    assert calls[2]["vision"][:, 0].tolist() == [-7, -7, -7, -7, 5, 6]
    assert calls[3]["audio"][:, 0].tolist() == [1, 2, 3, 4, 4, 4, 4, 4]
    assert calls[5]["audio"][:, 0].tolist() == [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 11, 12]


def test_nothing_is_repeated_without_faults() -> None:
    playback = counted_playback(PRESETS["clean"])
    fake, _ = session()
    start = {name: np.zeros(1, np.float32) for name in ("language", "audio", "vision")}
    assert repeat_predictions(fake, playback, start) == pytest.approx(stream_predictions(fake, playback).scores)


def test_without_memory_only_the_newest_frames_count() -> None:
    gap = Faults(absent=((0.25, 2.0),))
    playback = counted_playback(Scenario("gap", {"language": gap, "audio": gap, "vision": gap}))
    fake, calls = session()
    predictions = no_memory_predictions(fake, playback)
    assert predictions[1:5].tolist() == [0] * 4  # nothing has arrived: the prior
    assert calls[0]["audio"][:, 0].tolist() == [1, 2]
    assert calls[1]["audio"][:, 0].tolist() == [11, 12]
    assert not any(len(part) == 0 for call in calls for part in call.values())
