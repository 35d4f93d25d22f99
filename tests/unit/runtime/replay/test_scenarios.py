from __future__ import annotations

import collections
import itertools
import json
import math
from pathlib import Path
from typing import Any, Counter, Iterator

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.replay.items import BOUND, END_UTTERANCE, Control, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.scenarios import PRESETS, Arrival, arrive, open_scenario, parse_scenario

PERIOD, FRAMES = 0.1, 5


def chunks(count: int = 40, *names: str, start: float = 0.0) -> Iterator[Item]:
    """Chunks of 5 frames per 0.5 s of each modality."""
    for index in range(count):
        for name in names or ("audio", "vision"):
            values = np.full((FRAMES, 3), index, np.float32)
            yield FrameChunk(name, values, start + index * FRAMES * PERIOD, PERIOD)


def play(faults: Any, items: Any = None, seed: int = 0, **fields: Any) -> list[Arrival]:
    scenario = parse_scenario({"modalities": {"audio": faults}, **fields})
    return list(arrive(chunks() if items is None else items, scenario, seed))


def audio_starts(arrivals: list[Arrival]) -> list[float]:
    items = [arrival.item for arrival in arrivals]
    return [round(item.start or 0, 3) for item in items if isinstance(item, FrameChunk) and item.modality == "audio"]


def describe(arrivals: list[Arrival]) -> list[tuple[Any, ...]]:
    return [(round(a.time, 6), getattr(a.item, "modality", ""), a.item.due, a.faults) for a in arrivals]


def test_without_faults_chunks_arrive_with_their_last_frame() -> None:
    arrivals = list(arrive(chunks(3), PRESETS["clean"]))
    assert [round(arrival.time, 6) for arrival in arrivals] == [0.4, 0.4, 0.9, 0.9, 1.4, 1.4]


def test_chunk_that_begins_before_the_first_one_sent_is_not_lost() -> None:
    """A word that ends early is sent before the frames that began before it."""
    word = WordChunk(("good",), ((0.3, 0.35),))
    frames = FrameChunk("audio", np.zeros((5, 3), np.float32), 0.0, PERIOD)
    assert [arrival.item for arrival in play({"loss": 0.0}, [word, frames])] == [word, frames]


@pytest.mark.parametrize("name", PRESETS)
def test_arrivals_are_in_order_and_a_function_of_the_seed(name: str) -> None:
    arrivals = list(arrive(chunks(), PRESETS[name], 3))
    times = [arrival.time for arrival in arrivals]
    assert times == sorted(times)
    assert describe(arrivals) == describe(list(arrive(chunks(), PRESETS[name], 3)))
    if name in {"lossy", "bursty", "faulty"}:
        assert describe(arrivals) != describe(list(arrive(chunks(), PRESETS[name], 4)))


def test_start_absent_and_lag() -> None:
    starts = audio_starts(play({"start": 1.0, "absent": [[2.0, 3.0], [5.0, 100.0]], "lag": 0.25}))
    assert starts == [1.0, 1.5, 3.0, 3.5, 4.0, 4.5]
    first = next(arrival for arrival in play({"lag": 0.25}) if getattr(arrival.item, "modality", "") == "audio")
    assert first.time == pytest.approx(0.65)


def test_jitter_lets_chunks_overtake_each_other() -> None:
    starts = audio_starts(play({"jitter": 2.0}))
    assert sorted(starts) == [index / 2 for index in range(40)]
    assert starts != sorted(starts)


def test_loss_and_bursts_have_their_rates() -> None:
    def share(faults: Any) -> float:
        return 1 - len(audio_starts(play(faults, chunks(4000)))) / 4000

    assert share({"loss": 0.25}) == pytest.approx(0.25, abs=0.03)
    # A burst of 1 s begins 5 s after the end of the last one, on average.
    assert share({"bursts": {"rate": 0.2, "length": 1.0}}) == pytest.approx(1 / 6, abs=0.03)


def test_one_effect_does_not_change_another() -> None:
    lost = audio_starts(play({"loss": 0.3}))
    more = audio_starts(play({"loss": 0.3, "jitter": 1.0, "bad": 0.5}))
    assert sorted(more) == lost


def test_bad_chunks_have_nan_or_a_wrong_width_and_words_invalid_times() -> None:
    arrivals = [arrival for arrival in play({"bad": 1.0}) if getattr(arrival.item, "modality", "") == "audio"]
    assert all(arrival.faults == ("bad",) for arrival in arrivals)
    shapes = collections.Counter(arrival.item.frames.shape[1] for arrival in arrivals)  # type: ignore[union-attr]
    assert set(shapes) == {2, 3}
    assert all(np.isnan(a.item.frames).any() for a in arrivals if a.item.frames.shape[1] == 3)  # type: ignore[union-attr]
    words = [WordChunk(("a",), ((0.0, 0.1),)), WordChunk(("b",), None, 0.5)]
    scenario = parse_scenario({"modalities": {"language": {"bad": 1}}})
    timed, untimed = (arrival.item for arrival in arrive(words, scenario))
    assert isinstance(timed, WordChunk)
    assert isinstance(untimed, WordChunk)
    assert timed.times is not None
    assert math.isnan(timed.times[0][1])
    assert untimed.timestamp is not None
    assert math.isnan(untimed.timestamp)


def test_duplicates_and_a_clock_step() -> None:
    assert audio_starts(play({"duplicate": 1.0}, chunks(2))) == [0.0, 0.0, 0.5, 0.5]
    steps = {"clock_step": [[1.0, 0.5], [2.0, -1.0]]}
    assert audio_starts(play(steps, chunks(6))) == [0.0, 0.5, 1.5, 2.0, 1.5, 2.0]
    words = [WordChunk(("a", "b"), ((1.0, 1.2), (1.2, 1.5)))]
    scenario = parse_scenario({"modalities": {"language": {"clock_step": [[0.0, 10.0]]}}})
    (arrival,) = arrive(words, scenario)
    assert isinstance(arrival.item, WordChunk)
    assert arrival.item.times == ((11.0, 11.2), (11.2, 11.5))
    assert arrival.time == 1.5


def test_times_count_from_each_utterance_or_from_the_stream() -> None:
    items = [*chunks(3, "audio"), Control(END_UTTERANCE, 1.5), *chunks(3, "audio", start=1.5)]
    assert audio_starts(play({"start": 1.0}, items)) == [1.0, 2.5]
    assert audio_starts(play({"start": 1.0}, items, clock="stream")) == [1.0, 1.5, 2.0, 2.5]


def test_control_messages_are_never_lost_and_bounds_do_not_overtake() -> None:
    items = [*chunks(2, "audio"), Control(BOUND, 1.0, "audio"), Control(END_UTTERANCE, 1.0)]
    kinds = [getattr(a.item, "kind", "data") for a in play({"lag": 1.0, "jitter": 3.0}, items)]
    assert kinds == [END_UTTERANCE, "data", "data", BOUND]
    assert len(play({"loss": 1.0}, items)) == 2


def test_items_are_read_one_by_one() -> None:
    endless = chunks(10**9, "audio")
    taken = list(itertools.islice(arrive(endless, PRESETS["faulty"]), 10))
    assert len(taken) == 10


def test_effects_are_counted() -> None:
    counts: dict[str, Counter[str]] = {}
    scenario = parse_scenario({"modalities": {"audio": {"loss": 0.5, "bad": 0.5, "duplicate": 0.5, "start": 2.0}}})
    arrivals = list(arrive(chunks(), scenario, 0, counts))
    audio = counts["audio"]
    assert audio["sent"] == 40
    assert audio["absent"] == 4
    assert len(audio_starts(arrivals)) == 40 - audio["absent"] - audio["lost"] + audio["duplicated"]
    assert audio["bad"] > 0
    assert "vision" not in counts


def test_an_item_without_a_time_is_refused() -> None:
    with pytest.raises(UsageError, match="needs times"):
        list(arrive([FrameChunk("audio", np.zeros((1, 3)))], PRESETS["clean"]))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_json(name: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.json"
    path.write_text(json.dumps(PRESETS[name].to_json()), "utf-8")
    assert open_scenario(str(path)) == PRESETS[name]
    assert open_scenario(name) is PRESETS[name]


def test_all_sets_defaults_for_every_modality() -> None:
    scenario = parse_scenario({"modalities": {"all": {"loss": 0.5, "lag": 1}, "vision": {"lag": 0}}})
    assert [faults.loss for faults in scenario.faults.values()] == [0.5] * 3
    assert scenario.faults["audio"].lag == 1
    assert scenario.faults["vision"].lag == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the scenario must be an object"),
        ({"speed": 1}, "speed is not a known field"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"seed": 0.5}, "seed must be an integer"),
        ({"name": 3}, "name must be a string"),
        ({"clock": "day"}, "clock must be 'utterance' or 'stream'"),
        ({"modalities": []}, "modalities must be an object"),
        ({"modalities": {"video": {}}}, "modalities.video must be one of all, language, audio, vision"),
        ({"modalities": {"audio": 3}}, "modalities.audio must be an object"),
        ({"modalities": {"audio": {"los": 1}}}, "modalities.audio.los is not a known field"),
        ({"modalities": {"audio": {"loss": 1.5}}}, "modalities.audio.loss must be from 0 to 1, got 1.5"),
        ({"modalities": {"all": {"bad": -1}}}, "modalities.all.bad must be from 0 to 1"),
        ({"modalities": {"audio": {"duplicate": "x"}}}, "modalities.audio.duplicate must be a finite number"),
        ({"modalities": {"audio": {"lag": math.inf}}}, "modalities.audio.lag must be a finite number"),
        ({"modalities": {"audio": {"lag": 1e9}}}, "modalities.audio.lag must be from 0 to 3600, got 1e.09"),
        ({"modalities": {"audio": {"jitter": -0.1}}}, "modalities.audio.jitter must be from 0 to 3600"),
        ({"modalities": {"audio": {"start": None}}}, "modalities.audio.start must be a finite number"),
        ({"modalities": {"audio": {"bursts": 1}}}, "modalities.audio.bursts must be an object"),
        ({"modalities": {"audio": {"bursts": {"rate": 1}}}}, "modalities.audio.bursts.length must be more than 0"),
        ({"modalities": {"audio": {"bursts": {"length": 1}}}}, "modalities.audio.bursts.rate must be more than 0"),
        ({"modalities": {"audio": {"absent": [1, 2]}}}, r"modalities.audio.absent\[0\] must be two numbers"),
        ({"modalities": {"audio": {"absent": [[2, 1]]}}}, r"modalities.audio.absent\[0\] must be \[from, to\]"),
        ({"modalities": {"audio": {"clock_step": [[1, "a"]]}}}, r"modalities.audio.clock_step\[0\]\[1\] must be"),
    ],
)
def test_an_invalid_field_is_named(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        parse_scenario(value)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(value), "utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        open_scenario(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'losy' is neither a file nor one of clean, .*lossy"):
        open_scenario("losy")
    path = tmp_path / "half.json"
    path.write_text('{"seed": 1', "utf-8")
    with pytest.raises(UsageError, match="is not valid JSON"):
        open_scenario(str(path))


def test_bursts_have_a_largest_rate() -> None:
    with pytest.raises(ValueError, match=r"modalities\.all\.bursts\.rate must be from 0 to 100, got 1e\+09"):
        parse_scenario({"modalities": {"all": {"bursts": {"rate": 1e9, "length": 1e-9}}}})
