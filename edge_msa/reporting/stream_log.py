"""Read the log of a replayed stream, which `edge-msa-run stream --log` writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import DataError
from edge_msa_runtime.replay.log import VERSION

Array = NDArray[np.float64]
UNUSED = ("late", "duplicate", "overflow", "masked", "refused")
"""Kinds of events with frames that were sent and not used."""
MISSING = "gap"
"""Kind of event with frames that never arrived."""


@dataclass(frozen=True)
class StreamLog:
    """The log of a replayed stream as columns. Times are seconds of stream time since the start.

    Attributes:
        header: What was played, on what and how.
        times: (N,) Moments of the predictions, ascending.
        scores: (N,) Scores; NaN for classes and emotions.
        intervals: (N, 2) Bounds of the intervals; NaN without intervals.
        probabilities: (N,) Probability of each class or emotion, by label; empty for scores.
        subsets: N subsets.
        finals: (N,) Which predictions ended an utterance.
        latency_ms: (N,) Latencies.
        delay_ms: (N,) Delays from the arrival of the newest frame.
        unused: Time, kind and number of frames of every event with frames that were not used, or that never arrived.
        events: Number of events by kind and modality.
        errors: Time, origin and message of every error of the input.
        counters: The newest counters by modality.
        memory: (M, 2) Times and resident bytes of the process.
        summary: The last record; None if the replay was killed.
        unreadable: Number of lines that are not records.
    """

    header: Mapping[str, Any]
    times: Array
    scores: Array
    intervals: Array
    probabilities: Mapping[str, Array]
    subsets: tuple[str, ...]
    finals: NDArray[np.bool_]
    latency_ms: Array
    delay_ms: Array
    unused: tuple[tuple[float, str, int], ...]
    events: Mapping[tuple[str, str], int]
    errors: tuple[tuple[float, str, str], ...]
    counters: Mapping[str, Mapping[str, int]]
    memory: Array
    summary: Mapping[str, Any] | None
    unreadable: int

    @property
    def seconds(self) -> float:
        """Stream time from the start to the last record."""
        ends = [float(self.times[-1]) if len(self.times) else 0.0]
        if len(self.memory):
            ends.append(float(self.memory[-1, 0]))
        return max(ends)


def load_stream_log(path: Path) -> StreamLog:
    """Read a log. Lines that are not complete are skipped, such as the last one of a killed process.

    Raises:
        DataError: The file cannot be read, or is not a log of this version.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return parse_stream_log(file, str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}. Pass the log of `edge-msa-run stream --log`.") from error


def parse_stream_log(lines: Iterable[str], name: str = "the log") -> StreamLog:
    """Return the log in these lines.

    Raises:
        DataError: The first line does not start a log of this version.
    """
    collected = _Collected()
    header: Mapping[str, Any] | None = None
    for line in lines:
        record = _parse(line)
        if header is None:
            header = _check_header(record, name)
        elif record is None or not collected.add(record):
            collected.unreadable += bool(line.strip())
    if header is None:
        raise DataError(f"{name} is empty. Pass the log of `edge-msa-run stream --log`.")
    return collected.to_log(header)


def _parse(line: str) -> Mapping[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _check_header(record: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    if record is None or record.get("record") != "stream":
        raise DataError(f"{name} is not the log of a stream. Pass the log of `edge-msa-run stream --log`.")
    if record.get("version") != VERSION:
        raise DataError(f"{name} must have version {VERSION}, got {record.get('version')!r}. Run the stream again.")
    return record


@dataclass
class _Collected:
    """The records of a log while it is read."""

    predictions: list[tuple[Any, ...]] = field(default_factory=list)
    probabilities: list[Mapping[str, float]] = field(default_factory=list)
    unused: list[tuple[float, str, int]] = field(default_factory=list)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[tuple[float, str, str]] = field(default_factory=list)
    counters: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    memory: list[tuple[float, float]] = field(default_factory=list)
    summary: Mapping[str, Any] | None = None
    unreadable: int = 0

    def add(self, record: Mapping[str, Any]) -> bool:
        """Add a record, and return whether it is valid."""
        try:
            match record.get("record"):
                case "prediction":
                    self._add_prediction(record)
                case "event":
                    self._add_event(record)
                case "error":
                    self.errors.append((float(record["elapsed"]), str(record["origin"]), str(record["message"])))
                case "counters":
                    self._add_counters(record)
                case "words":
                    pass
                case "summary":
                    self.summary = record
                case _:
                    return False
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def _add_prediction(self, record: Mapping[str, Any]) -> None:
        low, high = record.get("interval") or (np.nan, np.nan)
        score = np.nan if record["score"] is None else record["score"]
        numbers = (record["elapsed"], score, low, high, record["latency_ms"], record["delay_ms"])
        self.predictions.append((*map(float, numbers), bool(record["final"]), str(record["subset"])))
        self.probabilities.append(record.get("probabilities") or {})

    def _add_event(self, record: Mapping[str, Any]) -> None:
        kind, count = str(record["kind"]), int(record["count"])
        self.events[kind, str(record["modality"])] += 1
        if kind in {*UNUSED, MISSING}:
            self.unused.append((float(record["elapsed"]), kind, count))

    def _add_counters(self, record: Mapping[str, Any]) -> None:
        self.counters = {name: dict(values) for name, values in record["counters"].items()}
        if record.get("memory_bytes") is not None:
            self.memory.append((float(record["elapsed"]), float(record["memory_bytes"])))

    def to_log(self, header: Mapping[str, Any]) -> StreamLog:
        """Return everything as columns."""
        numbers = np.array([row[:6] for row in self.predictions], np.float64).reshape(-1, 6)
        labels = dict.fromkeys(label for item in self.probabilities for label in item)
        return StreamLog(
            header=header,
            times=numbers[:, 0],
            scores=numbers[:, 1],
            intervals=numbers[:, 2:4],
            probabilities={
                label: np.array([item.get(label, np.nan) for item in self.probabilities]) for label in labels
            },
            subsets=tuple(row[7] for row in self.predictions),
            finals=np.array([row[6] for row in self.predictions], np.bool_),
            latency_ms=numbers[:, 4],
            delay_ms=numbers[:, 5],
            unused=tuple(self.unused),
            events=dict(self.events),
            errors=tuple(self.errors),
            counters=self.counters,
            memory=np.array(self.memory, np.float64).reshape(-1, 2),
            summary=self.summary,
            unreadable=self.unreadable,
        )
