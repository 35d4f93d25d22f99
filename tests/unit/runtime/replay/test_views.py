from __future__ import annotations

import dataclasses
import importlib.util
import io
from typing import Any

import pytest

from edge_msa_runtime.replay import views
from edge_msa_runtime.replay.items import WordChunk
from edge_msa_runtime.replay.status import MadePrediction, Status
from edge_msa_runtime.replay.views import (
    LineView,
    LiveView,
    draw_bar,
    draw_probabilities,
    format_result,
    format_summary,
)
from edge_msa_runtime.streams.events import StreamEvent, Tally
from tests.unit.runtime.replay.made_predictions import make


def filled_status() -> Status:
    status = Status()
    status.seconds = 12.0
    status.on_prediction(make(12.0, 1.25, subset="la", ages={"language": 0.2, "audio": 0.0, "vision": 3.0}))
    status.on_event(3.0, StreamEvent("late", "audio", 4, 2.5, "4 frames of audio [bold] are late"))
    tally = Tally()
    tally.encoded, tally.late = 90, 10
    status.start(lambda: {"audio": tally.snapshot(), "vision": Tally().snapshot()})
    return status


def test_one_line_per_prediction() -> None:
    lines: list[str] = []
    view = LineView(Status(), lines.append)
    view.on_prediction(make(2.5, -0.5, label="negative", subset="la", ages={"language": 0.25, "audio": 0.0}))
    view.on_prediction(make(3.0, 0.5, is_final=True))
    view.on_prediction(make(3.0, 0.25, made_at=3.5))
    assert " ".join(lines[0].split()) == "2.50 s la -0.50 negative ages l 0.2 a 0.0 s 0.50 ms"
    assert lines[1].endswith("end of utterance")
    assert lines[2].endswith("0.50 ms  made at 3.50 s")
    view.on_prediction(make(4.11, 0.25, made_at=4.06))  # input that is ahead of the clock
    assert "made at" not in lines[3]


def test_words_are_shown_if_they_are_wanted() -> None:
    words = WordChunk(("love", "it"), ((0.1, 0.4), (0.5, 0.75)))
    lines: list[str] = []
    LineView(Status(), lines.append).on_words(0.75, words)
    assert lines == []
    LineView(Status(), lines.append, words=True).on_words(0.75, words)
    assert lines == ["      0.75 s  love it"]


def test_an_emotion_is_shown_with_its_probability() -> None:
    made = make(1.0, None, label="joy", probabilities={"joy": 0.75, "anger": 0.5})
    assert format_result(made) == "joy 0.75"
    assert draw_probabilities(made.prediction.probabilities) == [
        f"joy    {'━' * 23:31} 0.75",
        f"anger  {'━' * 16:31} 0.50",
    ]


def test_a_class_is_shown_with_what_else_is_in_its_set() -> None:
    shares = {"joy": 0.5, "anger": 0.3, "calm": 0.2}
    made = make(1.0, None, label="joy", probabilities=shares, prediction_set=("joy", "anger"))
    assert format_result(made) == "joy 0.50 (or anger)"
    abstained = make(1.0, None, label="uncertain", probabilities=shares, prediction_set=("joy", "anger"))
    assert format_result(abstained) == "uncertain: joy 0.50, anger 0.30"


@pytest.mark.parametrize(("score", "place"), [(-3.0, 0), (0.0, 15), (3.0, 30)])
def test_the_bar_shows_the_score_on_the_scale(score: float, place: int) -> None:
    bar = draw_bar(make(1.0, score), (-3.0, 3.0))
    assert len(bar) == 31
    assert bar.index("●") == place


def test_the_live_view_shows_everything_and_leaves_nothing() -> None:
    rich: Any = pytest.importorskip("rich.console")
    status = filled_status()
    status.overdue = 2
    output = io.StringIO()
    console = rich.Console(file=output, force_terminal=True, width=100)
    with LiveView(status, "bundle: scenario lossy", (-3.0, 3.0), console) as view:
        assert status.latest is not None
        view.on_prediction(status.latest)
        view.on_event(3.0, status.recent[0][1])
        view.on_counters(3.0, status.counters)
    plain = rich.Console(file=io.StringIO(), width=100, color_system=None, record=True)
    plain.print(view.render())
    text = plain.export_text()
    for part in ("bundle: scenario lossy", "+1.25 positive", "●", "from la", "100", "late", "[bold] are late", "3.0 s"):
        assert part in text
    assert "1 prediction, 2 left out to keep real time, 0 utterances" in text
    assert output.getvalue().count("\x1b[?25h") == 1  # the cursor is back


def test_the_live_view_without_predictions() -> None:
    rich: Any = pytest.importorskip("rich.console")
    plain = rich.Console(file=io.StringIO(), width=100, record=True)
    plain.print(LiveView(Status(), "bundle", None).render())
    assert "nothing to predict from yet" in plain.export_text()


def test_the_summary_has_percentiles_and_counters() -> None:
    lines = format_summary(filled_status().to_json())
    assert lines[0].startswith("12.0 s of stream time in 0.")
    assert "1 prediction (la 1), 0 utterances" in lines[0]
    assert lines[1].split()[:3] == ["latency", "p50", "0.50"]
    assert "audio           100        90        10" in "\n".join(lines)
    faults = {"audio": {"sent": 10, "lost": 2, "bad": 1}, "vision": {"sent": 5}}
    assert "  faults of audio: 2 lost, 1 bad of 10 chunks" in format_summary({**Status().to_json(), "faults": faults})
    assert ", 3 left out to keep real time, " in format_summary({**Status().to_json(), "overdue": 3})[0]
    empty = format_summary(Status().to_json())
    assert len(empty) == 1


def test_rich_is_found_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rich" else object())
    assert not views.has_rich()


def test_a_status_counts_and_keeps_the_first_errors() -> None:
    status = filled_status()
    for line in range(30):
        status.on_error(1.0, f"line {line}", "no")
    value = status.to_json()
    assert value["errors"] == 30
    assert value["first_errors"][0] == "line 0: no"
    assert len(value["first_errors"]) == 10
    assert value["events"] == {"late": 1}
    assert value["counters"]["audio"]["sent"] == 100
    assert dataclasses.is_dataclass(status.latest)
    assert isinstance(status.latest, MadePrediction)
