from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_msa as em
from edge_msa.errors import DataError
from edge_msa.reporting.stream_log import StreamLog, load_stream_log, parse_stream_log
from edge_msa.reporting.stream_timeline import (
    MAX_POINTS,
    memory_growth,
    subset_rows,
    summarize_stream,
    timeline_plot,
    write_stream_page,
)

FAULTS = {"loss": 0.25, "absent": [], "bursts": {"rate": 0.05, "length": 2.0}, "clock_step": [[3.0, 0.5], [5, 1]]}
HEADER: dict[str, Any] = {
    "record": "stream",
    "version": 1,
    "bundle": "bundle <1>",
    "backend": "openvino",
    "precision": "int8",
    "task": {"low": -3.0, "high": 3.0},
    "modalities": ["language", "audio", "vision"],
    "source": "data.npz",
    "scenario": {"name": "lossy", "seed": 3, "modalities": {"audio": FAULTS}},
    "speed": 0,
    "every": 0.5,
    "coverage": 0.9,
    "stream": {"lateness": {"audio": 0.1}, "max_age": None, "context": True},
}


def records(count: int = 40, *, intervals: bool = True, emotions: bool = False) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [HEADER]
    for index in range(count):
        score = float(np.sin(index / 5))
        row: dict[str, Any] = {
            "record": "prediction",
            "elapsed": 0.5 * (index + 1),
            "final": index % 10 == 9,
            "score": None if emotions else score,
            "subset": "la" if 10 <= index < 20 else "lav",
            "latency_ms": 0.2 + 0.001 * index,
            "delay_ms": 0.3,
            "interval": [score - 1, score + 1] if intervals else None,
            "probabilities": {"joy": 0.5 + score / 3, "anger": 0.1} if emotions else {},
        }
        rows.append(row)
    event = {"record": "event", "modality": "audio", "message": "4 frames"}
    rows += [{**event, "kind": kind, "elapsed": 3.0, "count": 4} for kind in ("late", "gap", "refused", "absent")]
    rows.append({"record": "error", "elapsed": 2.0, "origin": "line 3", "message": "type is missing <b>"})
    counters = {"audio": {"sent": 100, "used": 90, "late": 4, "refused": 6}}
    for index in range(60):
        memory = 1e8 + (2e6 if index > 30 else 0)
        rows.append({"record": "counters", "elapsed": 10.0 * index, "memory_bytes": memory, "counters": counters})
    rows.append({"record": "summary", "interrupted": False, "conditions_after": {"governor": "performance"}})
    return rows


def log_of(rows: list[dict[str, Any]]) -> StreamLog:
    return parse_stream_log([json.dumps(row) for row in rows])


@pytest.fixture
def write_log(tmp_path: Path) -> Callable[..., Path]:
    def write(rows: list[dict[str, Any]], end: str = "\n") -> Path:
        path = tmp_path / "stream.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)) + end, "utf-8")
        return path

    return write


def test_a_log_is_read_as_columns(write_log: Callable[..., Path]) -> None:
    log = load_stream_log(write_log(records()))
    assert (len(log.times), len(log.subsets), int(log.finals.sum())) == (40, 40, 4)
    assert log.intervals.shape == (40, 2)
    assert sorted(log.unused) == [(3.0, "gap", 4), (3.0, "late", 4), (3.0, "refused", 4)]
    assert log.events["absent", "audio"] == 1
    assert log.errors == ((2.0, "line 3", "type is missing <b>"),)
    assert log.seconds == 590.0
    assert log.unreadable == 0


def test_a_log_of_a_killed_process_is_read(write_log: Callable[..., Path]) -> None:
    log = load_stream_log(write_log(records()[:-1], '\n{"record": "predic'))
    assert (len(log.times), log.summary, log.unreadable) == (40, None, 1)
    assert "The log has no end: the replay was killed, or still runs." in list(summarize_stream(log))


def test_the_log_of_a_recording_has_words_and_no_scenario(write_log: Callable[..., Path], tmp_path: Path) -> None:
    header, *rows = records(3)
    words = {"record": "words", "elapsed": 1.0, "words": ["love"], "times": [[0.5, 1.0]]}
    log = load_stream_log(write_log([{name: header[name] for name in header if name != "scenario"}, words, *rows]))
    assert log.unreadable == 0
    page = write_stream_page(log, tmp_path / "page.html", "talk").read_text("utf-8")
    assert "scenario" not in page.split("<h2")[0]


def test_invalid_records_are_counted() -> None:
    rows = [*records(3), {"record": "prediction"}, {"record": "event", "kind": "late"}, {"record": "other"}]
    assert log_of(rows).unreadable == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("x\n", "is not the log of a stream"),
        ('{"record": "sweep"}\n', "is not the log of a stream"),
        ('{"record": "stream", "version": 99}\n', "must have version 1, got 99"),
    ],
)
def test_a_file_that_is_not_a_log_is_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=message):
        em.report_stream(path, output=tmp_path / "page.html")
    with pytest.raises(DataError, match="cannot be read"):
        em.report_stream(tmp_path / "absent.jsonl", output=tmp_path / "page.html")


def test_the_summary_says_what_happened() -> None:
    sentences = list(summarize_stream(log_of(records())))
    assert sentences[0] == "40 predictions and 4 utterances in 590.0 seconds of stream time."
    assert "Not used of the frames that were sent: 10.0 % of audio." in sentences
    assert "The memory of the process changed by +2.0 MB after the first minute." in sentences
    assert "1 lines or samples of the input could not be used. They are listed below." in sentences


def test_memory_growth_needs_enough_values() -> None:
    assert memory_growth(log_of(records()[:70])) is None
    assert memory_growth(log_of(records())) == 2e6


def test_rows_are_by_subset() -> None:
    rows = list(subset_rows(log_of(records())))
    assert [(row["subset"], row["predictions"], row["share"]) for row in rows] == [("la", 10, 0.25), ("lav", 30, 0.75)]
    assert rows[0]["interval_width"] == pytest.approx(2.0)
    assert next(subset_rows(log_of(records(intervals=False))))["interval_width"] is None


@pytest.mark.parametrize(
    ("count", "kind"),
    [(1, "scores"), (40, "intervals"), (40, "emotions"), (MAX_POINTS + 400, "scores"), (MAX_POINTS + 400, "intervals")],
)
def test_the_timeline_is_drawn_for_few_and_many_predictions(count: int, kind: str) -> None:
    rows = records(count, intervals=kind == "intervals", emotions=kind == "emotions")
    svg = timeline_plot(log_of(rows))
    texts = set(re.findall(r"<text[^>]*>([^<]*)</text>", svg))
    assert {"modalities of the predictions", "latency of the predictions, ms", "memory of the process, MB"} <= texts
    wanted = {"intervals": "score with its 90 % interval", "scores": "score", "emotions": "probability of each emotion"}
    assert any(text.startswith(wanted[kind]) for text in texts)
    assert {"late", "refused", "missing (never arrived)"} <= texts
    assert ("audio" in texts, "vision" in texts) == (True, True)
    assert len(svg) < 500_000


def test_without_predictions_there_is_no_timeline() -> None:
    assert timeline_plot(log_of([HEADER])) == ""


def test_the_page_works_offline_and_escapes_texts(write_log: Callable[..., Path], tmp_path: Path) -> None:
    page = em.report_stream(write_log(records()), output=tmp_path / "page.html")
    html = page.path.read_text("utf-8")
    assert "edge-msa: stream of bundle &lt;1&gt;" in html
    assert "line 3: type is missing &lt;b&gt;" in html
    assert "scenario lossy, seed 3 · openvino int8 · played from data.npz" in html
    assert "loss 0.25, bursts rate 0.05 and length 2, clock_step (3, 0.5) and (5, 1)" in html
    assert "audio 0.1 s" in html
    assert "loss 0.25" in html
    assert "<dt>governor at the end</dt><dd>performance</dd>" in html
    assert not re.search(r'(?:src|href)="https?:', html)
    assert str(page).startswith("40 predictions")
    assert [row["subset"] for row in page.rows] == ["la", "lav"]
    assert len(page.to_pandas()) == 2
    assert repr(page) == f"<StreamPage {tmp_path / 'page.html'}>"


def test_a_log_without_predictions_has_a_page(write_log: Callable[..., Path], tmp_path: Path) -> None:
    page = em.report_stream(write_log([HEADER]), output=tmp_path / "page.html", title="nothing")
    assert "<h1>nothing</h1>" in page.path.read_text("utf-8")


def test_the_log_is_not_overwritten_by_its_page(write_log: Callable[..., Path]) -> None:
    log = write_log(records())
    with pytest.raises(em.UsageError, match=r"stream\.jsonl"):
        em.report_stream(log, output=log, overwrite=True)
