"""Scenarios: modalities that start late, lag, lose chunks, disappear, return, and send bad frames.

`arrive` turns items into arrivals. It is a pure function of the items, the scenario and the seed. It reads the items
one by one, so they may be endless.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import json
import math
from pathlib import Path
from typing import Any, Counter, Iterable, Iterator, Mapping

import numpy as np

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.json_fields import JsonFields
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.replay.items import END_UTTERANCE, RESET, Control, Data, FrameChunk, Item, WordChunk
from edge_msa_runtime.replay.timeline import MAX_JUMP

UTTERANCE, STREAM = "utterance", "stream"
_ALL = "all"

LOST, BURST, ABSENT, BAD, DUPLICATED, SHIFTED = "lost", "burst", "absent", "bad", "duplicated", "shifted"
"""What a scenario did to a chunk."""
_EFFECTS = ("loss", "bursts", "jitter", "bad", "duplicate")
"""Effects with a random generator of their own, so that a change of one does not change the others."""


@dataclasses.dataclass(frozen=True)
class Faults:
    """What happens to one modality.

    Attributes:
        start: seconds; chunks that begin earlier are not sent.
        lag: seconds that every chunk is delayed.
        jitter: every chunk is delayed by a random time from 0 to this many seconds more, so chunks can overtake each
            other.
        loss: share of chunks that are lost, each at random.
        burst_rate: bursts of loss per second (a Poisson process). During a burst, all chunks are lost.
        burst_length: mean length of a burst in seconds (exponential).
        absent: spans (from, to) in seconds in which nothing is sent.
        bad: share of chunks that are damaged: NaN in some frames or a wrong width; for words, invalid times.
        duplicate: share of chunks that arrive twice.
        clock_step: (time, seconds): from this time on, the clock of the sensor is so many seconds ahead.
    """

    start: float = 0.0
    lag: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst_rate: float = 0.0
    burst_length: float = 0.0
    absent: tuple[tuple[float, float], ...] = ()
    bad: float = 0.0
    duplicate: float = 0.0
    clock_step: tuple[tuple[float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What happens to each modality.

    Attributes:
        name: name for logs and tables.
        faults: by modality. Nothing happens to the others.
        clock: whether the times of `start`, `absent` and `clock_step` count from the first chunk of each `utterance` or
            of the `stream`.
        seed: default seed.
    """

    name: str
    faults: Mapping[str, Faults]
    clock: str = UTTERANCE
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the scenario in the format of its file."""
        modalities = {}
        for name, faults in self.faults.items():
            fields = {item.name: getattr(faults, item.name) for item in dataclasses.fields(faults)}
            fields["bursts"] = {"rate": fields.pop("burst_rate"), "length": fields.pop("burst_length")}
            fields["absent"] = [list(span) for span in faults.absent]
            fields["clock_step"] = [list(step) for step in faults.clock_step]
            modalities[name] = {key: fields[key] for key in _FIELDS}
        return {"name": self.name, "seed": self.seed, "clock": self.clock, "modalities": modalities}


@dataclasses.dataclass(frozen=True, eq=False)
class Arrival:
    """An item that reaches the stream.

    Attributes:
        time: when, in seconds, on the clock of the event times; -inf for messages before the first time.
        item: the item; its times or frames differ from those sent if the scenario changed them.
        faults: what the scenario did to it: `bad`, `duplicated` (on the second copy), `shifted`.
    """

    time: float
    item: Item
    faults: tuple[str, ...] = ()


def arrive(
    items: Iterable[Item],
    scenario: Scenario,
    seed: int | None = None,
    counts: dict[str, Counter[str]] | None = None,
) -> Iterator[Arrival]:
    """Yield the arrivals of items in the order in which they reach the stream.

    Control messages are never lost or delayed. A bound never overtakes a chunk of its modality. What is on its way at a
    `reset` arrives just before it, and times may start again after it.

    Args:
        items: items in the order in which they are sent, with times. An item that is due earlier than one before it is
            sent together with that one.
        scenario: what happens to them.
        seed: seed of everything random; None for the seed of the scenario.
        counts: the number of chunks per modality and effect are added to it: `sent`, `lost`, `burst`, `absent`, `bad`,
            `duplicated`, `shifted`.

    Raises:
        UsageError: an item has no time.
    """
    network = _Network(scenario, scenario.seed if seed is None else seed, counts)
    now, number = -math.inf, 0
    waiting: list[tuple[float, int, Arrival]] = []
    for item in items:
        due = now if item.due is None and isinstance(item, Control) else item.due
        if due is None:
            raise UsageError("A scenario needs times, but an item has none. Add a timestamp to it.")
        now = max(now, due)
        if isinstance(item, Control) and item.kind == RESET:
            while waiting:
                arrival = heapq.heappop(waiting)[2]
                yield dataclasses.replace(arrival, time=min(arrival.time, now))
        for arrival in network.send(now, item):
            heapq.heappush(waiting, (arrival.time, number, arrival))
            number += 1
        while waiting and waiting[0][0] <= now:
            yield heapq.heappop(waiting)[2]
        if isinstance(item, Control) and item.kind == RESET:
            now = -math.inf
    while waiting:
        yield heapq.heappop(waiting)[2]


class _Network:
    """The way of all items to the stream."""

    def __init__(self, scenario: Scenario, seed: int, counts: dict[str, Counter[str]] | None) -> None:
        self._channels = {name: _Channel(faults, seed, name) for name, faults in scenario.faults.items()}
        self._per_utterance = scenario.clock == UTTERANCE
        self._counts = counts
        self._started = False

    def send(self, now: float, item: Item) -> list[Arrival]:
        """Return the arrivals of an item that is sent at a time."""
        channel = self._channels.get(item.modality or "")
        if isinstance(item, Control):
            if self._per_utterance and item.kind in {END_UTTERANCE, RESET}:
                self._started = False
            return [Arrival(now, item) if channel is None else channel.bound(now, item)]
        if not self._started:
            for other in self._channels.values():
                other.begin(now if item.start is None else item.start)
            self._started = True
        if channel is None:
            return [Arrival(now, item)]
        arrivals = channel.send(now, item)
        if self._counts is not None:
            self._counts.setdefault(item.modality, collections.Counter()).update(channel.effects)
        return arrivals


class _Channel:
    """The way of one modality to the stream."""

    def __init__(self, faults: Faults, seed: int, modality: str) -> None:
        self._faults = faults
        index = MODALITIES.index(modality)
        self._random = {effect: np.random.default_rng([seed, index, number]) for number, effect in enumerate(_EFFECTS)}
        self._origin = 0.0
        self._burst = (-math.inf, -math.inf)
        self._latest = -math.inf
        self.effects: list[str] = []  # on the last chunk

    def begin(self, origin: float) -> None:
        """Let the times of the faults count from `origin`."""
        self._origin = origin

    def bound(self, now: float, item: Control) -> Arrival:
        """Return the arrival of a bound, after those of the chunks sent before it."""
        self._latest = max(self._latest, now + self._faults.lag)
        return Arrival(self._latest, item)

    def send(self, now: float, item: Data) -> list[Arrival]:
        """Return the arrivals of a chunk: none, one or two."""
        faults = self._faults
        # Every effect takes the same number of random values per chunk, whatever the others do.
        loss = self._random["loss"].random()
        delays = self._random["jitter"].random(2) * faults.jitter + faults.lag
        duplicate = self._random["duplicate"].random()
        bad = self._random["bad"].random(3)
        start = now if item.start is None else item.start
        time = start - self._origin
        in_burst = self._in_burst(start)
        self.effects = ["sent"]
        # A chunk can begin before the first one that was sent; without a start, it is sent too.
        is_early = faults.start > 0 and time < faults.start
        if is_early or any(low <= time < high for low, high in faults.absent):
            self.effects.append(ABSENT)
            return []
        if in_burst:
            self.effects.append(BURST)
            return []
        if loss < faults.loss:
            self.effects.append(LOST)
            return []
        effects = []
        shift = sum(seconds for step, seconds in faults.clock_step if time >= step)
        if shift:
            item = _shift(item, shift)
            effects.append(SHIFTED)
        if bad[0] < faults.bad:
            item = _damage(item, bad[1], bad[2])
            effects.append(BAD)
        arrivals = [Arrival(now + delays[0], item, tuple(effects))]
        if duplicate < faults.duplicate:
            effects.append(DUPLICATED)
            arrivals.append(Arrival(now + delays.max(), item, tuple(effects)))
        self._latest = max(self._latest, arrivals[-1].time)
        self.effects += effects
        return arrivals

    def _in_burst(self, time: float) -> bool:
        if not self._faults.burst_rate:
            return False
        random = self._random["bursts"]
        if self._burst[1] == -math.inf:
            self._next_burst(time, random)
        while self._burst[1] <= time:
            self._next_burst(self._burst[1], random)
        return self._burst[0] <= time

    def _next_burst(self, time: float, random: np.random.Generator) -> None:
        start = time + random.exponential(1 / self._faults.burst_rate)
        self._burst = (start, start + random.exponential(self._faults.burst_length))


def _shift(item: Data, seconds: float) -> Data:
    """Return a chunk whose times are from a clock that is `seconds` ahead."""
    timestamp = None if item.timestamp is None else item.timestamp + seconds
    if isinstance(item, FrameChunk) or item.times is None:
        return dataclasses.replace(item, timestamp=timestamp)
    times = tuple((start + seconds, end + seconds) for start, end in item.times)
    return dataclasses.replace(item, times=times, timestamp=timestamp)


def _damage(item: Data, kind: float, where: float) -> Data:
    """Return a chunk that a stream must not accept as it is. `kind` and `where` are random values from 0 to 1."""
    if isinstance(item, WordChunk):
        if item.times is None:
            return dataclasses.replace(item, timestamp=math.nan)
        return dataclasses.replace(item, times=tuple((start, math.nan) for start, _ in item.times))
    frames = np.array(item.frames, np.float32)
    if kind < 0.5 and frames.ndim == 2 and frames.shape[1] > 1:
        return dataclasses.replace(item, frames=frames[:, :-1])
    if len(frames):
        first = int(where * len(frames))
        frames[first : first + 1 + len(frames) // 4] = np.nan
    return dataclasses.replace(item, frames=frames)


_MAX_BURSTS = 100.0
"""Bursts per second. More are no bursts, and each of them takes time, also between two chunks."""
_FIELDS = ("start", "lag", "jitter", "loss", "bursts", "absent", "bad", "duplicate", "clock_step")


def open_scenario(name: str) -> Scenario:
    """Return a scenario by the name of a preset, or read it from a JSON file.

    Raises:
        UsageError: there is no such preset or file, or the file is not a scenario. The message names the field.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"Scenario {name!r} is neither a file nor one of {', '.join(PRESETS)}. "
            "Pass the path of a JSON file, or a name."
        )
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON: {error}. Correct the file.") from error
    try:
        return parse_scenario(value, path.stem)
    except ValueError as error:
        raise UsageError(f"{path}: {error}. Correct the field, or remove it to use its default.") from error


def parse_scenario(value: Any, name: str = "scenario") -> Scenario:
    """Return the scenario that a JSON value describes. All fields have defaults.

    An example: `{"name": "lossy", "seed": 0, "clock": "utterance", "modalities": {"all": {"loss": 0.2}}}`. The fields
    of a modality are those of `Faults`, with `"bursts": {"rate": 0.2, "length": 1.0}`. `all` sets defaults for every
    modality.

    Args:
        value: the JSON value.
        name: name of the scenario if the value has none.

    Raises:
        ValueError: a field is unknown or invalid. The message names it.
    """
    fields = _fields(value, "", {"name": name, "seed": 0, "clock": UTTERANCE, "modalities": {}})
    clock = fields.text("clock")
    if clock not in {UTTERANCE, STREAM}:
        raise ValueError(f"clock must be {UTTERANCE!r} or {STREAM!r}, got {clock[:20]!r}")
    seed = fields.integer("seed")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    modalities = fields.mapping("modalities")
    for key in modalities:
        if key not in {_ALL, *MODALITIES}:
            raise ValueError(f"modalities.{key} must be one of {_ALL}, {', '.join(MODALITIES)}")
    common = _object(modalities.get(_ALL, {}), "modalities.all")
    _parse_faults(common, "modalities.all")
    faults = {}
    for key in MODALITIES if _ALL in modalities else [key for key in MODALITIES if key in modalities]:
        path = f"modalities.{key}"
        faults[key] = _parse_faults({**common, **_object(modalities.get(key, {}), path)}, path)
    return Scenario(fields.text("name"), faults, clock, seed)


def _parse_faults(value: Mapping[str, Any], path: str) -> Faults:
    fields = _fields(value, path, {**dict.fromkeys(_FIELDS, 0), "bursts": {}, "absent": [], "clock_step": []})
    bursts = _fields(fields.raw("bursts"), f"{path}.bursts", {"rate": 0, "length": 0})
    rate, length = _limited(bursts, "rate", _MAX_BURSTS), _limited(bursts, "length")
    if bool(rate) != bool(length):
        missing = "length" if rate else "rate"
        raise ValueError(f"{bursts.path(missing)} must be more than 0, as the other field of bursts is")
    spans = _pairs(fields, "absent")
    for index, (low, high) in enumerate(spans):
        if not 0 <= low < high:
            raise ValueError(
                f"{fields.path('absent')}[{index}] must be [from, to] with 0 <= from < to, got [{low:g}, {high:g}]"
            )
    return Faults(
        start=_limited(fields, "start"),
        lag=_limited(fields, "lag", MAX_JUMP),
        jitter=_limited(fields, "jitter", MAX_JUMP),
        loss=_limited(fields, "loss", 1),
        burst_rate=rate,
        burst_length=length,
        absent=spans,
        bad=_limited(fields, "bad", 1),
        duplicate=_limited(fields, "duplicate", 1),
        clock_step=_pairs(fields, "clock_step"),
    )


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path} must be an object, got {repr(value)[:40]}")  # noqa: TRY004 - as in JsonFields
    return value


def _fields(value: Any, path: str, defaults: Mapping[str, Any]) -> JsonFields:
    return JsonFields({**defaults, **_object(value, path or "the scenario")}, path, defaults)


def _limited(fields: JsonFields, name: str, highest: float = math.inf) -> float:
    """Return a number from 0 to `highest`."""
    value = fields.number(name)
    if not 0 <= value <= highest:
        limits = "0 or more" if highest == math.inf else f"from 0 to {highest:g}"
        raise ValueError(f"{fields.path(name)} must be {limits}, got {value:g}")
    return float(value)


def _pairs(fields: JsonFields, name: str) -> tuple[tuple[float, float], ...]:
    """Return an array of pairs of numbers."""
    pairs = []
    for item, path in fields.array(name):
        if not isinstance(item, (list, tuple)) or len(item) != 2:
            raise ValueError(f"{path} must be two numbers, got {repr(item)[:40]}")
        low, high = JsonFields({path: item}, "", [path]).numbers(path)
        pairs.append((float(low), float(high)))
    return tuple(pairs)


PRESETS: Mapping[str, Scenario] = {
    name: parse_scenario({"name": name, "modalities": modalities})
    for name, modalities in {
        "clean": {},
        "late-start": {"vision": {"start": 2.0}, "audio": {"start": 1.0}},
        "lossy": {"all": {"loss": 0.25}},
        "bursty": {"all": {"bursts": {"rate": 0.3, "length": 1.0}}},
        "returning": {"vision": {"absent": [[0.5, 2.5]]}, "audio": {"absent": [[1.5, 3.0]]}},
        "lagging": {"language": {"lag": 0.8, "jitter": 0.2}},
        "faulty": {
            "all": {"jitter": 0.05, "loss": 0.05, "bad": 0.05, "duplicate": 0.05},
            "vision": {"bursts": {"rate": 0.05, "length": 2.0}, "clock_step": [[3.0, 0.5]]},
        },
    }.items()
}
"""Scenarios with a name. Their times suit utterances of 2 to 10 seconds."""
