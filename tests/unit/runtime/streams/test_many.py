"""Predictions from several streams at once."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, Stream, UsageError, load
from edge_msa_runtime.errors import InferenceError
from edge_msa_runtime.modalities import MODALITIES

BACKENDS = ["onnxruntime", "openvino"]
BATCH = 4
Frames = Callable[..., Any]


@pytest.fixture(scope="module")
def batch_bundle(make_bundle: Callable[..., Path]) -> Path:
    """A bundle whose graphs take four streams at once."""
    return make_bundle(batch=BATCH)


@pytest.fixture(params=BACKENDS)
def session(request: pytest.FixtureRequest, batch_bundle: Path) -> Iterator[Session]:
    pytest.importorskip(request.param)
    with load(batch_bundle, request.param) as opened:
        yield opened


class CallCounter:
    """Counts the runs of each graph of a session, and can let graphs fail."""

    def __init__(self, session: Session) -> None:
        self.runs: Counter[str] = Counter()
        self.failing: set[str] = set()
        backend = session.graphs.backend
        compile_graph = backend.compile

        def compile_counted(path: Path, precision: str = "fp32") -> Callable[[], Any]:
            create = compile_graph(path, precision)
            return lambda: self._wrap(create(), path.stem)

        backend.compile = compile_counted  # type: ignore[method-assign]

    def _wrap(self, program: Any, name: str) -> Any:
        run = program.run

        def run_counted() -> None:
            self.runs[name] += 1
            if name in self.failing:
                raise InferenceError(f"{name} failed")
            run()

        program.run = run_counted
        return program

    def take(self) -> dict[str, int]:
        """Return the runs since the last call."""
        runs = dict(self.runs)
        self.runs.clear()
        return runs


def push_all(streams: list[Stream], frames: Frames, now: float, counts: dict[str, int]) -> None:
    """Push frames of the same modalities to each stream; the values differ between streams."""
    for number, stream in enumerate(streams):
        for name, count in counts.items():
            stream.push(name, frames(name, count, int(now) + number), now, period=0.04)


def outputs_of(predictions: list[Any]) -> list[Any]:
    return [None if prediction is None else prediction.outputs for prediction in predictions]


def test_results_equal_those_of_one_stream_after_the_other(session: Session, frames: Frames) -> None:
    rng = np.random.default_rng(2)
    options: list[dict[str, Any]] = [{}, {"lateness": 0.3}, {"max_gap": 1.5}, {"window": 2.5}]
    many = [session.create_stream(**options[number % 4]) for number in range(11)]
    single = [session.create_stream(**options[number % 4]) for number in range(11)]
    for now in range(8):
        for number in range(11):
            for name in MODALITIES:
                if rng.random() < 0.5:
                    values = frames(name, int(rng.integers(1, 23)), now * 11 + number)
                    for stream in (many[number], single[number]):
                        stream.push(name, values, float(now), period=0.03)
        predictions = session.predict_many(many)
        for stream, prediction in zip(single, predictions):
            if not stream.subset:
                assert prediction is None
                continue
            expected = stream.predict()
            assert prediction is not None
            assert not isinstance(prediction, Exception)
            assert prediction.outputs == pytest.approx(expected.outputs, abs=1e-5)
            assert (prediction.subset, prediction.ages, prediction.masked) == (
                expected.subset,
                expected.ages,
                expected.masked,
            )
    assert [stream.counters for stream in many] == [stream.counters for stream in single]


def test_words_are_encoded_as_by_single_streams(make_bundle: Any, frames: Frames) -> None:
    from tests.unit.runtime import toy_text

    for kind in ("table", "encoder"):
        path = make_bundle(names=("language", "audio"), batch=BATCH)
        toy_text.add_text_encoder(path, kind)
        with load(path, "onnxruntime") as session:
            streams = [[session.create_stream(truncate="start") for _ in range(5)] for _ in range(2)]
            for word in ("i", "love", "it", "not", "good", "was", "it", "at", "all"):
                for row in streams:
                    for number, stream in enumerate(row):
                        stream.push_text([word] * (1 + number))
                        stream.push("audio", frames("audio", 2, number))
                expected = [stream.predict().outputs for stream in streams[1]]
                assert outputs_of(session.predict_many(streams[0])) == [pytest.approx(e, abs=1e-5) for e in expected]


def test_each_graph_runs_once_for_several_streams(session: Session, frames: Frames) -> None:
    calls = CallCounter(session)
    session.prepare("lav", streams=BATCH)
    streams = [session.create_stream() for _ in range(BATCH)]
    push_all(streams, frames, 0.0, {"language": 4, "audio": 5, "vision": 3})
    calls.take()
    session.predict_many(streams)
    assert calls.take() == {"step-language-x4": 1, "step-audio-x4": 1, "step-vision-x4": 1, "fuse-x4": 1}


def test_nothing_of_an_absent_modality_runs(session: Session, frames: Frames) -> None:
    calls = CallCounter(session)
    session.predict(language=frames("language", 10), audio=frames("audio", 10))
    assert calls.take() == {"window-la": 1}
    streams = [session.create_stream(max_gap=1.0) for _ in range(BATCH)]
    push_all(streams, frames, 0.0, {"language": 4, "audio": 5})
    streams[0].predict()
    session.predict_many(streams)
    push_all(streams, frames, 5.0, {"audio": 5})  # language is absent now
    calls.take()
    assert {prediction.subset for prediction in session.predict_many(streams)} == {"a"}  # type: ignore[union-attr]
    streams[0].predict()
    assert {name for name in calls.take() if not name.startswith("fuse")} == {"step-audio-x4"}
    streams[0].push("vision", frames("vision", 3), 5.0, period=0.04)
    calls.take()
    assert streams[0].predict().subset == "av"
    assert calls.take() == {"step-vision": 1, "fuse": 1}


def test_few_streams_and_bundles_without_batches_run_one_by_one(
    session: Session, shared_bundle: Path, frames: Frames
) -> None:
    with load(shared_bundle, session.backend) as other:
        for opened, count in ((session, 1), (other, 6)):
            calls = CallCounter(opened)
            streams = [opened.create_stream() for _ in range(count)]
            push_all(streams, frames, 0.0, {"audio": 5})
            opened.predict_many(streams)
            assert set(calls.take()) == {"step-audio", "fuse"}


def test_backends_without_a_gain_predict_one_by_one(
    batch_bundle: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_msa_runtime.backends.base.Backend.gains_from_batches", False)
    with load(batch_bundle, "onnxruntime") as session:
        calls = CallCounter(session)
        streams = [session.create_stream() for _ in range(BATCH)]
        push_all(streams, frames, 0.0, {"audio": 5})
        session.predict_many(streams)
        assert calls.take() == {"step-audio": BATCH, "fuse": BATCH}


def test_a_stream_with_nothing_to_predict_from_gives_none(session: Session, frames: Frames) -> None:
    streams = [session.create_stream() for _ in range(3)]
    assert session.predict_many(streams) == [None, None, None]
    streams[1].push("audio", frames("audio", 5), 0.0, period=0.04)
    first, second, third = session.predict_many(streams)
    assert first is third is None
    assert second is not None
    assert session.predict_many([]) == []


def test_an_error_of_one_stream_loses_no_frames_of_the_others(session: Session, frames: Frames) -> None:
    streams = [session.create_stream() for _ in range(5)]
    push_all(streams, frames, 0.0, {"audio": 12, "vision": 2})
    streams[2].close()
    with pytest.raises(UsageError, match="This stream is closed"):
        session.predict_many(streams)
    results = session.predict_many(streams, return_errors=True)
    assert isinstance(results[2], UsageError)
    for number in (0, 1, 3, 4):
        single = session.create_stream()
        for name, count in (("audio", 12), ("vision", 2)):
            single.push(name, frames(name, count, number), 0.0, period=0.04)
        assert results[number].outputs == pytest.approx(single.predict().outputs, abs=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("failing", ["step-vision-x4", "step-audio", "fuse-x4"])
def test_frames_come_back_if_a_graph_fails(session: Session, frames: Frames, failing: str) -> None:
    calls = CallCounter(session)
    streams = [session.create_stream(lateness=0.1) for _ in range(BATCH)]
    single = [session.create_stream(lateness=0.1) for _ in range(BATCH)]
    for row in (streams, single):
        push_all(row, frames, 0.0, {"audio": 5, "vision": 4})
        session.predict_many(row)
        push_all(row, frames, 1.0, {"vision": 7})
        row[0].push("audio", frames("audio", 5), 1.0, period=0.04)
    calls.failing = {failing}
    waiting = [stream.counters for stream in streams]
    results = session.predict_many(streams, return_errors=True)
    failed = [number for number, result in enumerate(results) if isinstance(result, InferenceError)]
    assert failed == ([0] if failing == "step-audio" else [0, 1, 2, 3])
    if failing == "step-vision-x4":
        assert [stream.counters["vision"] for stream in streams] == [counters["vision"] for counters in waiting]
    calls.failing = set()
    expected = [stream.predict() for stream in single]
    for prediction, reference in zip(session.predict_many(streams), expected):
        assert prediction.outputs == pytest.approx(reference.outputs, abs=1e-5)  # type: ignore[union-attr]
    assert [stream.counters for stream in streams] == [stream.counters for stream in single]


def test_an_interrupt_loses_no_frames(session: Session, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = [session.create_stream() for _ in range(BATCH)]
    push_all(streams, frames, 0.0, {"audio": 5})

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = [stream.counters for stream in streams]
    with monkeypatch.context() as patch:
        patch.setattr(session.graphs, "step_many", interrupt)
        with pytest.raises(KeyboardInterrupt):
            session.predict_many(streams)
    assert [stream.counters for stream in streams] == before
    assert all(session.predict_many(streams))


def test_threads_with_the_same_streams_in_other_orders_do_not_block(session: Session, frames: Frames) -> None:
    streams = [session.create_stream() for _ in range(6)]
    errors: list[Exception] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(30):
                order = [streams[number] for number in rng.permutation(6)]
                for stream in order[:3]:
                    stream.push("audio", frames("audio", 3, seed))
                session.predict_many(order)
                order[0].predict()
        except Exception as error:  # noqa: BLE001 - checked below
            errors.append(error)

    push_all(streams, lambda name, count, _: frames(name, count), 0.0, {})
    for stream in streams:
        stream.push("audio", frames("audio", 1))
    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert errors == []
    for stream in streams:
        counters = stream.counters["audio"]
        assert counters.sent == counters.used + counters.dropped + counters.refused


def test_events_are_reported_after_the_locks_are_released(session: Session, frames: Frames) -> None:
    streams: list[Stream] = []
    events = []

    def report(event: Any) -> None:
        events.append(event.kind)
        others = threading.Thread(target=lambda: [stream.predict() for stream in streams], daemon=True)
        others.start()
        others.join(30)
        assert not others.is_alive()

    streams += [session.create_stream(on_event=report) for _ in range(2)]
    for stream in streams:
        stream.push("audio", frames("audio", 3), 0.0, period=0.04)
        stream.push("audio", frames("audio", 3), 1.0, period=0.04)
    session.predict_many(streams)
    assert events == ["gap", "gap"]


def test_only_different_streams_of_the_session_are_accepted(session: Session, batch_bundle: Path) -> None:
    stream = session.create_stream()
    with load(batch_bundle, session.backend) as other:
        for streams, problem in (
            ([stream, other.create_stream()], r"streams\[1\] must be a stream of this session"),
            ([stream, "stream"], r"streams\[1\] must be a stream of this session, got 'stream'"),
            ([stream, stream], "streams must be different"),
        ):
            with pytest.raises(UsageError, match=problem):
                session.predict_many(streams)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="streams must be a whole number of at least 1, got 0"):
        session.prepare(streams=0)
    session.close()
    with pytest.raises(UsageError, match="This session is closed"):
        session.predict_many([stream])


def test_the_moment_of_all_predictions_can_be_passed(session: Session, frames: Frames) -> None:
    streams = [session.create_stream() for _ in range(2)]
    push_all(streams, frames, 0.0, {"audio": 10})
    predictions = session.predict_many(streams, at=0.1)
    assert [prediction.ages["audio"] for prediction in predictions] == [pytest.approx(0.02)] * 2  # type: ignore[union-attr]
    assert {stream.counters["audio"].queued for stream in streams} == {7}
