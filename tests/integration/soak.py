"""Hours of stream time as fast as possible: memory, latency, and the difference between int8 and fp32.

    make soak BUNDLE=bundle-laptop HOURS=24

plays a conversation with seeded faults on a bundle that has fp32 and int8: audio at 100 Hz, vision at 25 Hz, a frame of
language per word, utterances of 2 to 10 seconds that end with pauses. `test_soak.py` runs the same code for a shorter
time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.golden import load_golden
from edge_msa_runtime.process_memory import resident_memory_bytes
from edge_msa_runtime.replay.items import END_UTTERANCE, RESET, Control, FrameChunk, Item
from edge_msa_runtime.replay.player import Player, PlayOptions
from edge_msa_runtime.replay.scenarios import PRESETS, arrive
from edge_msa_runtime.replay.status import MadePrediction, Observer, Status

RATES = {"audio": (100.0, 10), "vision": (25.0, 5)}
"""Frames per second, and frames per chunk."""
UTTERANCES_PER_CONVERSATION = 50
EVERY = 0.5
OPTIONS: dict[str, Any] = {"lateness": 0.1, "max_gap": 1.0, "bad_frames": "drop"}
WARM_UP_SECONDS = 60.0
Array = NDArray[np.float64]


def feature_pools(bundle: emr.Session, seed: int = 0, size: int = 2000) -> dict[str, NDArray[np.float32]]:
    """Return random frames (size, d) of each modality, smooth over time, with the scale of the golden inputs."""
    rng = np.random.default_rng(seed)
    pools = {}
    for name in bundle.manifest.modalities:
        golden = np.concatenate([case.frames[name] for case in load_golden(bundle.bundle) if name in case.frames])
        noise = rng.normal(size=(size, golden.shape[1]))
        for index in range(1, size):
            noise[index] = 0.8 * noise[index - 1] + 0.6 * noise[index]
        pools[name] = (golden.mean(axis=0) + golden.std(axis=0) * noise).astype(np.float32)
    return pools


def talk(pools: Mapping[str, NDArray[np.float32]], seconds: float, seed: int = 0) -> Iterator[Item]:
    """Yield the items of conversations that last so many seconds in total."""
    rng = np.random.default_rng(seed)
    time, number = 0.0, 0
    while time < seconds:
        end = time + float(rng.uniform(2, 10))
        items: list[Item] = []
        for name, (rate, step) in RATES.items():
            for index in range(int((end - time) * rate) // step if name in pools else 0):
                start = time + index * step / rate
                items.append(FrameChunk(name, _part(pools[name], step, rng), start, 1 / rate))
        word = time + float(rng.uniform(0.2, 0.5))
        while word < end and "language" in pools:
            items.append(FrameChunk("language", _part(pools["language"], 1, rng), word))
            word += float(rng.uniform(0.2, 0.5))
        yield from sorted(items, key=lambda item: item.due or 0.0)
        yield Control(END_UTTERANCE, end)
        time, number = end + float(rng.uniform(0.5, 3)), number + 1
        if number % UTTERANCES_PER_CONVERSATION == 0:
            yield Control(RESET, time)


def _part(pool: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    first = int(rng.integers(len(pool) - count))
    return pool[first : first + count]


class Recorder(Observer):
    """Keeps scores and memory in arrays that are allocated before."""

    def __init__(self, seconds: float) -> None:
        self.scores = np.full(int(seconds / EVERY * 1.5) + 1000, np.nan)
        self.times = np.full(len(self.scores), np.nan)
        self.memory = np.full((int(seconds / 10) + 100, 2), np.nan)
        self.count = self.reports = 0

    def on_prediction(self, made: MadePrediction) -> None:
        """Keep the score, or the first output."""
        self.scores[self.count] = made.prediction.outputs[0]
        self.times[self.count] = made.elapsed
        self.count += 1

    def on_counters(self, elapsed: float, counters: object) -> None:
        """Keep the memory."""
        del counters
        if self.reports < len(self.memory):
            self.memory[self.reports] = elapsed, resident_memory_bytes() or np.nan
            self.reports += 1


@dataclass(frozen=True)
class Soak:
    """What was measured at one precision."""

    status: Status
    recorder: Recorder
    wall_seconds: float

    @property
    def memory_slope(self) -> float:
        """Bytes per hour of stream time after the first minute, by least squares."""
        memory = self.recorder.memory[: self.recorder.reports]
        memory = memory[memory[:, 0] >= WARM_UP_SECONDS]
        return float(np.polyfit(memory[:, 0] / 3600, memory[:, 1], 1)[0])

    @property
    def memory_growth(self) -> float:
        """Bytes by which the last value exceeds the first one after the first minute."""
        memory = self.recorder.memory[: self.recorder.reports]
        memory = memory[memory[:, 0] >= WARM_UP_SECONDS, 1]
        return float(memory[-1] - memory[0])


def soak(session: emr.Session, seconds: float, scenario: str = "faulty", seed: int = 0) -> Soak:
    """Play a conversation of so many seconds as fast as possible."""
    status, recorder = Status(), Recorder(seconds)
    session.prepare()
    hold = OPTIONS["lateness"]
    player = Player(session, PlayOptions(every=EVERY, hold=hold, stream=OPTIONS), status, [recorder])
    started = time.monotonic()
    player.play(arrive(talk(feature_pools(session), seconds, seed), PRESETS[scenario], seed))
    return Soak(status, recorder, time.monotonic() - started)


class Stepper:
    """Steps of one utterance: a chunk of every modality, and a prediction.

    Args:
        session: a session.
    """

    def __init__(self, session: emr.Session) -> None:
        self._stream = session.create_stream(**OPTIONS)
        self._chunks = {name: pool[:40] for name, pool in feature_pools(session).items()}
        self.steps = 0
        self.score = 0.0

    def step(self) -> float:
        """Do one step, and return its milliseconds."""
        at, first = 0.1 * self.steps, 5 * (self.steps % 8)
        started = time.perf_counter()
        for name, pool in self._chunks.items():
            self._stream.push(name, pool[first : first + 5], at, period=0.02)
        self.score = self._stream.predict().outputs[0]
        self.steps += 1
        return (time.perf_counter() - started) * 1e3


def latency_ratio(session: emr.Session, steps: int = 10_000, pairs: int = 300) -> tuple[float, float, float]:
    """Return the median latency in ms of step 10 and of steps after `steps`, and the median of their quotients.

    Each step 10 of a new stream is measured next to one step of the old stream.
    """
    old = Stepper(session)
    while old.steps < steps:
        old.step()
    new_ms, old_ms = [], []
    for index in range(pairs):
        new = Stepper(session)
        while new.steps < 9:
            new.step()
        measured = [old.step, new.step] if index % 2 else [new.step, old.step]
        old.step()  # both follow a step of the same kind
        values = {id(step.__self__): step() for step in measured}  # type: ignore[attr-defined]
        old_ms.append(values[id(old)])
        new_ms.append(values[id(new)])
    quotients = [late / early for late, early in zip(old_ms, new_ms, strict=True)]
    return statistics.median(new_ms), statistics.median(old_ms), statistics.median(quotients)


def state_drift(reference: emr.Session, quantized: emr.Session, steps: int = 10_000) -> dict[int, float]:
    """Return the difference of two precisions within one utterance, after 10, 100, ... steps."""
    pair, marks = (Stepper(reference), Stepper(quantized)), {10**power for power in range(1, 6) if 10**power <= steps}
    differences = {}
    for step in range(1, steps + 1):
        for stepper in pair:
            stepper.step()
        if step in marks:
            differences[step] = abs(pair[0].score - pair[1].score)
    return differences


def hourly_differences(first: Recorder, second: Recorder, seconds: float, parts: int) -> list[float]:
    """Return the mean absolute difference of two replays in each of several equal parts of the time."""
    count = min(first.count, second.count)
    np.testing.assert_array_equal(first.times[:count], second.times[:count])
    difference = np.abs(first.scores[:count] - second.scores[:count])
    edges = np.linspace(0, seconds, parts + 1)
    index = np.clip(np.searchsorted(edges, first.times[:count], side="right") - 1, 0, parts - 1)
    return [float(difference[index == part].mean()) for part in range(parts)]


def run(bundle: Path, hours: float, show: Callable[[str], object] = print) -> dict[str, Any]:
    """Measure everything on a bundle, and return it as plain JSON values."""
    seconds, results, recorders = 3600 * hours, {}, {}
    for precision in ("fp32", "int8"):
        with emr.load(bundle, precision=precision) as session:
            done = soak(session, seconds)
            new_ms, old_ms, ratio = latency_ratio(session)
        recorders[precision] = done.recorder
        values = {
            "backend": session.backend,
            "hours": hours,
            "wall_seconds": done.wall_seconds,
            "memory_slope_bytes_per_hour": done.memory_slope,
            "memory_growth_bytes": done.memory_growth,
            "step_10_ms": new_ms,
            "step_10000_ms": old_ms,
            "latency_ratio": ratio,
            **done.status.to_json(),
        }
        results[precision] = values
        show(
            f"{precision}: {hours:g} h in {done.wall_seconds:.0f} s, {values['predictions']} predictions, "
            f"memory {done.memory_slope / 1e3:+.1f} KB per hour after the first minute, "
            f"{done.memory_growth / 1e3:+.1f} KB in total; step 10 {new_ms:.3f} ms, step 10,000 {old_ms:.3f} ms, "
            f"quotient {ratio:.3f}"
        )
    parts = hourly_differences(recorders["fp32"], recorders["int8"], seconds, 4)
    with emr.load(bundle, precision="fp32") as reference, emr.load(bundle, precision="int8") as quantized:
        drift = state_drift(reference, quantized)
    show(f"int8 - fp32, mean absolute difference by quarter of the time: {', '.join(f'{item:.4f}' for item in parts)}")
    show(f"int8 - fp32 within one utterance: {', '.join(f'step {step} {item:.4f}' for step, item in drift.items())}")
    return {**results, "differences_by_quarter": parts, "differences_by_step": drift}


def main() -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.bundle, options.hours, show=lambda line: print(line, file=sys.stderr, flush=True))
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
