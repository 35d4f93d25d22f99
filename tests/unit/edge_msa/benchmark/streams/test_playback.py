from __future__ import annotations

import numpy as np
import pytest

from edge_msa.benchmark.streams.measure import SCENARIOS, synthetic_utterances
from edge_msa.benchmark.streams.playback import STEP, Playback, play, split_utterances
from edge_msa_runtime.replay.scenarios import PRESETS, Faults, Scenario

UTTERANCES = split_utterances(synthetic_utterances(40))


def play_faults(seed: int = 0, **faults: Faults) -> Playback:
    return play(UTTERANCES, Scenario("test", faults), seed)


def test_frames_of_an_utterance_end_together() -> None:
    for utterance in UTTERANCES:
        words = len(utterance.frames["language"])
        assert words * utterance.periods["language"] == pytest.approx(utterance.duration)
        assert 3.2 <= utterance.duration <= 4.0 + 1e-9


def test_everything_arrives_without_faults() -> None:
    playback = play_faults()
    for name, due in playback.due.items():
        assert (playback.seen[name].sum(axis=1) == due).all()
    assert playback.is_complete.all()
    assert np.allclose(playback.times[playback.first], STEP)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_are_deterministic(name: str) -> None:
    first, again, other = (play(UTTERANCES, PRESETS[name], seed) for seed in (3, 3, 4))
    assert all(np.array_equal(first.seen[name], again.seen[name]) for name in first.seen)
    is_random = name in {"lossy", "bursty"}
    assert is_random != all(np.array_equal(first.seen[name], other.seen[name]) for name in first.seen) or (
        name == "lagging"  # the jitter is random, but it rarely moves a word past a moment
    )


def test_utterances_do_not_affect_each_other() -> None:
    whole = play(UTTERANCES, PRESETS["bursty"], 0)
    part = play(UTTERANCES[:10], PRESETS["bursty"], 0)
    count = len(part.rows)
    assert np.array_equal(whole.seen["vision"][:count], part.seen["vision"])


def test_share_of_lost_frames_is_that_of_the_scenario() -> None:
    playback = play(UTTERANCES * 4, Scenario("test", {"audio": Faults(loss=0.25)}), 0)
    last = np.append(playback.first[1:], True)
    arrived = playback.seen["audio"][last].sum() / playback.due["audio"][last].sum()
    assert arrived == pytest.approx(0.75, abs=0.05)
    assert (playback.seen["vision"].sum(axis=1) == playback.due["vision"]).all()


def test_nothing_is_seen_before_it_arrives() -> None:
    playback = play_faults(language=Faults(lag=0.8), vision=Faults(start=2.0), audio=Faults(absent=((0.5, 2.5),)))
    for moment, (row, time) in enumerate(zip(playback.rows, playback.times, strict=True)):
        starts = {
            name: UTTERANCES[row].periods[name] * np.flatnonzero(mask[moment]) for name, mask in playback.seen.items()
        }
        assert (starts["language"] <= time - 0.8 + 1e-6).all()
        assert (starts["vision"] >= 2.0 - 1e-6).all()
        assert not ((starts["audio"] > 0.65) & (starts["audio"] < 2.35)).any()  # chunks that begin from 0.5 to 2.5
    assert not playback.is_complete[playback.first].any()


def test_moment_is_complete_if_every_due_modality_has_sent_something() -> None:
    playback = play_faults(vision=Faults(absent=((0.0, 9.0),)))
    due = playback.due["vision"]
    nothing_due = np.append(False, due[1:] == due[:-1]) & ~playback.first
    assert np.array_equal(playback.is_complete, nothing_due)


def test_damaged_frames_are_not_seen() -> None:
    playback = play_faults(audio=Faults(bad=1.0))
    assert not playback.seen["audio"].any()
    assert playback.seen["vision"].any()
