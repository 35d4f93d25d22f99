"""The log of a replayed stream: JSON lines that `edge-msa report --stream` draws.

Every line has a `record`: `stream` (first: what was played, and the conditions), `prediction`, `words`, `event`,
`error`, `counters` (every 10 seconds of stream time, with the memory of the process), and `summary` (last). All but the
first and the last have `elapsed`, the seconds of stream time since the start.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import IO, TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.process_memory import resident_memory_bytes
from edge_msa_runtime.replay.status import MadePrediction, Observer

if TYPE_CHECKING:
    from edge_msa_runtime.replay.items import WordChunk
    from edge_msa_runtime.streams.events import StreamCounters, StreamEvent

VERSION = 1
PREDICTION_FIELDS = (
    "score",
    "label",
    "interval",
    "probabilities",
    "prediction_set",
    "subset",
    "ages",
    "masked",
    "latency_ms",
    "delay_ms",
)
"""Fields of a prediction in a stream log and on the pages of live streams."""


class LogWriter(Observer):
    """Writes the log. Lines are complete at any time, so that a log of a killed process can be read.

    If the file cannot be written, for example because the disk is full, the first write raises a DataError. Later ones
    do nothing.

    Args:
        file: an open text file.
        header: fields of the first line.
        flush: whether to flush each prediction to disk, for a replay in real time.
        words: whether to write the words.
    """

    def __init__(self, file: IO[str], header: Mapping[str, Any], *, flush: bool = False, words: bool = False) -> None:
        self._file = file
        self._has_failed = False
        self._has_words = words
        self._flush = flush
        self._write("stream", {"version": VERSION, **header})

    def on_prediction(self, made: MadePrediction) -> None:
        """Write a prediction."""
        prediction = made.prediction
        fields = {name: getattr(prediction, name) for name in PREDICTION_FIELDS}
        if prediction.warnings:
            fields["warnings"] = prediction.warnings
        self._write("prediction", {"elapsed": made.elapsed, "at": made.at, "final": made.is_final, **fields})

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Write words, if they are wanted."""
        if self._has_words:
            self._write("words", {"elapsed": elapsed, "words": words.words, "times": words.times})

    def on_event(self, elapsed: float, event: StreamEvent) -> None:
        """Write an event."""
        fields = {"kind": event.kind, "modality": event.modality, "count": event.count, "timestamp": event.timestamp}
        self._write("event", {"elapsed": elapsed, **fields, "message": event.message})

    def on_error(self, elapsed: float, origin: str, message: str) -> None:
        """Write an error of the input."""
        self._write("error", {"elapsed": elapsed, "origin": origin, "message": message})

    def on_counters(self, elapsed: float, counters: Mapping[str, StreamCounters]) -> None:
        """Write the counters and the memory of the process."""
        values = {name: item.to_json() for name, item in counters.items()}
        self._write("counters", {"elapsed": elapsed, "memory_bytes": resident_memory_bytes(), "counters": values})

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the last line, and all to the disk."""
        self._flush = True
        self._write("summary", summary)

    def _write(self, record: str, fields: Mapping[str, Any]) -> None:
        line = json.dumps({"record": record, **_rounded(fields)}, separators=(",", ":"), ensure_ascii=False)
        if self._has_failed:
            return
        try:
            self._file.write(line + "\n")
            if self._flush:
                self._file.flush()
        except OSError as error:
            self._has_failed = True
            with contextlib.suppress(OSError):  # what is left cannot be written either
                self._file.close()
            raise DataError(
                f"Cannot write the log {self._file.name} ({error.strerror}). Free disk space, or choose another path."
            ) from error


def _rounded(value: Any) -> Any:
    """Return JSON values whose numbers have at most 6 decimals. JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
