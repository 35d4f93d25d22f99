from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import edge_msa as em
from edge_msa.workflows import bench_live
from edge_msa_runtime.benchmark.live import LiveBenchmark, Stages, Window

EMPTY = {"p50": None, "p90": None, "p99": None, "max": None}
STAGES = Stages(25.0, 0.0127, 0.0081, (640, 480), 195, 1.0, {**EMPTY, "p50": 8.5}, 8.4)
WINDOW = Window(60.0, 145, (0.9, 1.5), 12.0, (0.9, 1.2), 3, 250_000_000, 0.4)
RESULT = LiveBenchmark(STAGES, (WINDOW,), {**EMPTY, "p50": 0.9}, EMPTY, 0, 1e3, -0.1, 2, 897, 3)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Measure nothing, and return what was asked for."""
    found: list[Any] = []

    def measure(session: Any, media: Path, **options: Any) -> LiveBenchmark:
        found.append((session.backend, media, options.pop("on_window"), options))
        return RESULT

    monkeypatch.setattr(bench_live, "load", lambda _, **options: nullcontext(SimpleNamespace(**options)))
    monkeypatch.setattr(bench_live, "measure", measure)
    return found


def test_the_measurement_is_a_table_of_minutes(requests: list[Any]) -> None:
    table = em.bench_live("bundle", media="talk.mp4", minutes=2, asr="whisper:tiny.en")
    (request,) = requests
    assert request[:2] == ("auto", Path("talk.mp4"))
    assert request[3] == {"asr": "whisper:tiny.en", "face_model": None, "minutes": 2.0}
    (row,) = table.rows
    assert (row["predictions"], row["dropped"], row["memory_bytes"]) == (145, 3, 250_000_000)
    assert "vision  p50 8.50" in str(table)
    assert "(within 15 ms)" in str(table)
    assert repr(table) == "<LiveMeasurement of 1.0 min>"
    assert table.to_json()["stages"]["audio_share"] == 0.0127


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes must be a positive number, got 0"),
        ({"minutes": float("inf")}, "minutes must be a positive number, got inf"),
        ({"backend": "x"}, "Unknown backend 'x'"),
        ({"threads": 0}, "threads must be"),
    ],
)
def test_an_invalid_argument_is_refused(requests: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(em.UsageError, match=message):
        em.bench_live("bundle", media="talk.mp4", **options)
    assert requests == []
