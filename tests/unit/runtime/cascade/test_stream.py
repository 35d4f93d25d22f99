from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.cascade.manifest import Estimate

MakeCascade = Callable[..., Path]
ALWAYS = {"spread": Estimate(1.0, (0.0, 0.0, 0.0), 0.01), "share": 1.0, "subsets": ("l", "a", "la")}
SURE, UNSURE = "the", "i love it"


@pytest.fixture(scope="module")
def session(shared_cascade: Path) -> Iterator[emr.Session]:
    with emr.load(shared_cascade) as opened:
        yield opened


@pytest.fixture(scope="module")
def always(make_cascade: MakeCascade) -> Iterator[emr.Session]:
    """A cascade that asks its last member every time, and takes its answer."""
    with emr.load(make_cascade(**ALWAYS)) as opened:
        yield opened


def _count_calls(session: emr.Session, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of every graph that the last member runs."""
    calls: list[str] = []
    graphs = session.members[1].graphs
    for name in ("step_one", "fuse", "encode_text"):
        function = getattr(graphs, name)

        def record(*arguments: Any, name: str = name, function: Any = function) -> Any:
            calls.append(name)
            return function(*arguments)

        monkeypatch.setattr(graphs, name, record)
    return calls


def test_a_stream_predicts_what_the_session_predicts(session: emr.Session, frames: Callable[..., Any]) -> None:
    for text in (SURE, UNSURE):
        stream = session.create_stream()
        stream.push_text(text)
        stream.push("audio", frames("audio", 7))
        streamed, whole = stream.predict(), session.predict(text=text, audio=frames("audio", 7))
        assert streamed.member == whole.member
        assert streamed.score == pytest.approx(whole.score, abs=1e-5)
        assert streamed.interval == pytest.approx(whole.interval, abs=1e-5)


def test_the_large_member_runs_no_graph_until_it_is_asked(
    session: emr.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _count_calls(session, monkeypatch)
    stream = session.create_stream()
    stream.push_text(SURE)
    assert stream.predict().member == "small"
    assert not calls
    stream.push_text("film i love it")
    assert stream.predict().member == "large"
    assert "fuse" in calls


def test_a_member_that_is_asked_late_knows_all_words(always: emr.Session, session: emr.Session) -> None:
    stream = session.create_stream()
    stream.push_text(SURE)
    stream.predict()
    stream.push_text("film i love it")
    expected = always.members[1].predict(text=f"{SURE} film i love it").score
    small = always.members[0].predict(text=f"{SURE} film i love it").score
    assert expected is not None
    assert small is not None
    assert stream.predict().score == pytest.approx(0.25 * small + 0.75 * expected, abs=1e-5)


@pytest.mark.parametrize("timed", [True, False])
def test_the_next_utterance_has_nothing_of_the_one_before(
    session: emr.Session, frames: Callable[..., Any], timed: bool
) -> None:
    stream = session.create_stream()
    stream.push_text(SURE, timestamp=1.0 if timed else None)  # which the large member never encodes
    ended = stream.end_utterance(1.0 if timed else None)
    assert ended is not None
    assert ended.member == "small"
    stream.push_text(UNSURE, timestamp=2.0 if timed else None)
    stream.push("audio", frames("audio", 7), 2.0 if timed else None, period=0.01 if timed else None)
    prediction, expected = stream.predict(), session.predict(text=UNSURE, audio=frames("audio", 7))
    assert prediction.member == "large"
    assert prediction.score == pytest.approx(expected.score, abs=1e-5)


def test_frames_after_the_end_belong_to_the_next_utterance_of_every_member(
    always: emr.Session, frames: Callable[..., Any]
) -> None:
    stream = always.create_stream()
    values = frames("audio", 10)
    stream.push("audio", values, 0.0, period=1.0)
    first = stream.end_utterance(5.0)
    second = stream.predict()
    assert first is not None
    assert first.score == pytest.approx(always.members[1].predict(audio=values[:6]).score, abs=1e-5)
    assert second.score == pytest.approx(always.members[1].predict(audio=values[6:]).score, abs=1e-5)


def test_voice_activity_ends_the_utterance_of_every_member(always: emr.Session, frames: Callable[..., Any]) -> None:
    stream = always.create_stream(pause=0.5)
    values = frames("audio", 6)
    stream.push("audio", values[:3], 0.0, period=0.1)
    stream.voice_activity(active=True, timestamp=0.2)
    ended = stream.voice_activity(active=False, timestamp=0.8)
    assert ended is not None
    assert ended.member == "large"
    stream.push("audio", values[3:], 1.0, period=0.1)
    assert stream.predict().score == pytest.approx(always.members[1].predict(audio=values[3:]).score, abs=1e-5)


def test_forgotten_frames_are_forgotten_by_every_member(always: emr.Session, frames: Callable[..., Any]) -> None:
    stream = always.create_stream()
    stream.push_text(UNSURE)
    stream.push("audio", frames("audio", 5))
    stream.forget("audio")
    assert stream.predict().score == pytest.approx(always.members[1].predict(text=UNSURE).score, abs=1e-5)
    stream.reset()
    with pytest.raises(emr.NothingToPredictError):
        stream.predict()
    stream.push_text(SURE)
    assert stream.predict().score == pytest.approx(always.members[1].predict(text=SURE).score, abs=1e-5)


def test_a_window_moves_for_every_member(always: emr.Session, frames: Callable[..., Any]) -> None:
    stream = always.create_stream(window=3.0)
    values = frames("audio", 8)
    for second, row in enumerate(values):
        stream.push("audio", row[None], float(second))
    assert stream.predict().score == pytest.approx(always.members[1].predict(audio=values[-3:]).score, abs=1e-5)


def test_a_full_queue_of_a_member_that_is_not_asked_loses_nothing(
    make_cascade: MakeCascade, frames: Callable[..., Any]
) -> None:
    values = frames("audio", 40)
    path = make_cascade(**{**ALWAYS, "spread": Estimate(0.0, (1.0, 0.0, 0.0), 0.001), "threshold": 1e9})
    with emr.load(path) as session:
        stream = session.create_stream(max_queue=8)
        for row in values:
            stream.push("audio", row[None])
            stream.predict()
        (other,) = stream._others  # type: ignore[attr-defined]
        assert other.predict().score == pytest.approx(session.members[1].predict(audio=values).score, abs=1e-5)


def test_predict_many_asks_on_for_each_stream(session: emr.Session) -> None:
    streams = [session.create_stream() for _ in range(3)]
    for stream, text in zip(streams, (SURE, UNSURE, SURE)):
        stream.push_text(text)
    predictions = session.predict_many(streams)
    assert [item.member for item in predictions if isinstance(item, emr.Prediction)] == ["small", "large", "small"]


def test_events_are_reported_once(session: emr.Session, frames: Callable[..., Any]) -> None:
    events: list[Any] = []
    stream = session.create_stream(on_event=events.append)
    stream.push("audio", frames("audio", 2), 5.0, period=1.0)
    stream.push("audio", frames("audio", 1), 1.0, period=1.0)
    assert [event.kind for event in events] == ["late"]
