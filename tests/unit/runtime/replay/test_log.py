from __future__ import annotations

import errno
import io
import json
import math
from typing import Any

import pytest

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.replay.items import WordChunk
from edge_msa_runtime.replay.log import LogWriter
from edge_msa_runtime.streams.events import StreamEvent, Tally
from tests.unit.runtime.replay.made_predictions import make


def parse(text: str) -> list[dict[str, Any]]:
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_every_line_is_a_record_of_plain_json() -> None:
    file = io.StringIO()
    log = LogWriter(file, {"bundle": "fake"})
    log.on_prediction(make(1.5, 0.123456789, ages={"audio": 0.25}, warnings=("clipped",)))
    log.on_event(2.0, StreamEvent("refused", "audio", 1, math.nan, "bad"))
    log.on_error(2.5, "line 3", "type is missing")
    log.on_counters(3.0, {"audio": Tally().snapshot()})
    log.finish({"predictions": 1})
    records = parse(file.getvalue())
    assert [item["record"] for item in records] == ["stream", "prediction", "event", "error", "counters", "summary"]
    header, prediction, event, error, counters, summary = records
    assert header == {"record": "stream", "version": 1, "bundle": "fake"}
    assert (prediction["score"], prediction["elapsed"], prediction["final"]) == (0.123457, 1.5, False)
    assert prediction["ages"] == {"audio": 0.25}
    assert prediction["warnings"] == ["clipped"]
    assert event["timestamp"] is None
    assert error["origin"] == "line 3"
    assert counters["counters"]["audio"]["sent"] == 0
    assert counters["memory_bytes"] is None or counters["memory_bytes"] > 1e6
    assert summary["predictions"] == 1


def test_words_are_logged_only_if_they_are_wanted() -> None:
    file = io.StringIO()
    for has_words in (False, True):
        LogWriter(file, {}, words=has_words).on_words(1.0, WordChunk(("love",), ((0.5, 0.75),)))
    assert [item["record"] for item in parse(file.getvalue())] == ["stream", "stream", "words"]
    assert parse(file.getvalue())[-1]["times"] == [[0.5, 0.75]]


def test_a_flushed_log_is_complete_after_each_line() -> None:
    class File(io.StringIO):
        flushed = ""

        def flush(self) -> None:
            self.flushed = self.getvalue()

    file = File()
    log = LogWriter(file, {}, flush=True)
    log.on_prediction(make(1.0, 0.5))
    assert len(parse(file.flushed)) == 2


def test_a_full_disk_names_the_log_once() -> None:
    class Full(io.StringIO):
        name = "stream.jsonl"

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    log = LogWriter(Full(), {})
    with pytest.raises(
        DataError, match=r"Cannot write the log stream\.jsonl \(No space left on device\)\. Free disk space"
    ):
        log.finish({})
    log.on_error(1.0, "line 1", "bad")  # nothing more happens
    log.finish({})
