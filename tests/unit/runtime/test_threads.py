"""One session, used from several threads and streams at once."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import Session, Stream, UsageError, load
from edge_msa_runtime.modalities import MODALITIES, Subset

BACKENDS = ["onnxruntime", "openvino"]
CLOSED = "This session is closed"


@pytest.fixture(scope="module", params=[(name, workers) for name in BACKENDS for workers in (1, 3)])
def session(request: pytest.FixtureRequest, make_text_bundle: Callable[[str], Path]) -> Iterator[Session]:
    """A session for each backend that accepts text, with fewer workers than threads."""
    name, workers = request.param
    pytest.importorskip(name)
    with load(make_text_bundle("encoder"), name, workers=workers) as opened:
        yield opened


def run_in_threads(work: Callable[[int], None], count: int) -> None:
    """Run `work(number)` in threads that start at the same time, and raise their first error."""
    start, errors = threading.Barrier(count), []

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_loading_counts_every_program(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    created = []
    with load(shared_bundle, "onnxruntime", workers=3) as session:
        compile_graph = session.graphs.backend.compile

        def compile_slowly(path: Path, precision: str) -> Callable[[], Any]:
            create = compile_graph(path, precision)

            def create_slowly() -> Any:
                created.append(path)
                time.sleep(0.01)
                return create()

            return create_slowly

        monkeypatch.setattr(session.graphs.backend, "compile", compile_slowly)
        before = session.load_ms
        session.prepare("l")
        assert len(created) == 3 * len(set(created)) > 3
        assert session.load_ms - before >= 10 * len(created)


def make_inputs(frames: Callable[..., Any]) -> list[dict[str, Any]]:
    """Inputs of every kind: text, subsets, short and full windows, and more frames than the window."""
    inputs: list[dict[str, Any]] = [{"text": text} for text in ("i love it", "i", "it was not good at all")]
    inputs += [{"language": frames("language", count, count)} for count in (1, 5, 12, 20)]
    inputs += [{"audio": frames("audio", count, count)} for count in (3, 9, 30)]
    inputs += [{"text": "love", "audio": frames("audio", 4)}]
    return inputs


def compare_with_one_thread(session: Session, inputs: list[dict[str, Any]], threads: int, predictions: int) -> None:
    """Predict in random order from several threads, and compare every bit with the predictions of one thread."""
    expected = [session.predict(**item).outputs for item in inputs]

    def predict(number: int) -> None:
        generator = np.random.default_rng(number)
        for _ in range(predictions):
            index = int(generator.integers(len(inputs)))
            assert session.predict(**inputs[index]).outputs == expected[index]

    run_in_threads(predict, threads)


def stream_outputs(session: Session, seed: int) -> Iterator[tuple[float, ...] | None]:
    """Push chunks of all modalities to a new stream; yield after every push, and the prediction at the end."""
    generator = np.random.default_rng(seed)
    stream = session.create_stream()
    for step in range(6):
        stream.push_text(str(generator.choice(["i", "love", "it", "not"])))
        stream.push("audio", generator.standard_normal((1 + seed % 5, 2)).astype("f4"))
        yield stream.predict().outputs if step % 2 else None
    yield stream.predict().outputs


def compare_interleaved_streams(session: Session, streams: int, threads: int, rounds: int) -> None:
    """Advance streams in random order from several threads, and compare every prediction with those of one thread."""
    expected = [list(stream_outputs(session, seed)) for seed in range(streams)]

    def advance(number: int) -> None:
        generator = np.random.default_rng(number)
        for _ in range(rounds):
            running = {seed: stream_outputs(session, seed) for seed in range(number, streams, threads)}
            actual: dict[int, list[Any]] = {seed: [] for seed in running}
            while running:
                seed = int(generator.choice(list(running)))
                try:
                    actual[seed].append(next(running[seed]))
                except StopIteration:
                    del running[seed]
            for seed, outputs in actual.items():
                assert outputs == expected[seed]

    run_in_threads(advance, threads)


@pytest.mark.case("F3")
def test_threads_get_the_predictions_of_one_thread(session: Session, frames: Callable[..., Any]) -> None:
    compare_with_one_thread(session, make_inputs(frames), threads=8, predictions=60)


@pytest.mark.case("F3")
def test_interleaved_streams_of_threads_stay_independent(session: Session) -> None:
    compare_interleaved_streams(session, streams=16, threads=4, rounds=1)


@pytest.mark.slow
@pytest.mark.case("F3")
def test_many_predictions_from_threads_equal_those_of_one(session: Session, frames: Callable[..., Any]) -> None:
    compare_with_one_thread(session, make_inputs(frames), threads=8, predictions=2000)
    compare_interleaved_streams(session, streams=16, threads=8, rounds=50)


@pytest.mark.case("F3")
@pytest.mark.parametrize("backend", BACKENDS)
def test_workers_do_not_change_predictions(backend: str, shared_bundle: Path, frames: Callable[..., Any]) -> None:
    pytest.importorskip(backend)
    inputs = {name: frames(name, 7) for name in MODALITIES}
    with load(shared_bundle, backend) as one, load(shared_bundle, backend, workers=4) as four:
        four.prepare("lav")
        outputs = [four.predict(**inputs).outputs for _ in range(4)]
        assert outputs == [one.predict(**inputs).outputs] * 4
        assert (one.workers, four.workers) == (1, 4)


@pytest.mark.case("F3")
def test_threads_compile_each_graph_once(
    shared_bundle: Path, frames: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {name: frames(name, 7) for name in MODALITIES}
    with load(shared_bundle, "onnxruntime", workers=4) as session:
        backend, compiled = session._graphs.backend, []
        compile_graph = backend.compile

        def count(path: Path, precision: str) -> Any:
            compiled.append(path.name)
            return compile_graph(path, precision)

        monkeypatch.setattr(backend, "compile", count)

        def work(number: int) -> None:
            if number % 2:
                session.prepare(Subset.LAV)
            session.predict(**inputs)
            stream = session.create_stream()
            for name, values in inputs.items():
                stream.push(name, values)
            stream.predict()

        run_in_threads(work, 8)
    assert len(compiled) == len(set(compiled)) > 0


@pytest.mark.case("F3")
def test_two_threads_push_into_one_stream(shared_bundle: Path, frames: Callable[..., Any]) -> None:
    chunks = {name: [frames(name, 3, seed) for seed in range(40)] for name in ("audio", "vision")}
    with load(shared_bundle, "onnxruntime", workers=2) as session:
        alone, shared = session.create_stream(), session.create_stream()
        for pair in zip(*chunks.values()):
            for name, chunk in zip(chunks, pair):
                alone.push(name, chunk)

        def push(number: int) -> None:
            name = list(chunks)[number]
            for chunk in chunks[name]:
                shared.push(name, chunk)
                assert name[0] in shared.subset

        run_in_threads(push, 2)
        assert shared.predict().outputs == alone.predict().outputs


@pytest.mark.case("F3")
def test_more_workers_than_the_limit_is_a_usage_error(shared_bundle: Path) -> None:
    for workers in (0, 257):
        with pytest.raises(UsageError, match=f"workers must be between 1 and 256, got {workers}"):
            load(shared_bundle, workers=workers)


def _uses(session: Session, stream: Stream, frames: Callable[..., Any]) -> list[Callable[[], object]]:
    audio = frames("audio", 3)
    return [
        lambda: session.predict(audio=audio),
        lambda: session.prepare("a"),
        session.create_stream,
        session.__enter__,
        lambda: session.count_tokens("i"),
        lambda: stream.push("audio", audio),
        stream.predict,
        stream.reset,
    ]


@pytest.mark.case("F35")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_session_refuses_every_use(
    backend: str, make_text_bundle: Callable[[str], Path], frames: Callable[..., Any]
) -> None:
    pytest.importorskip(backend)
    session = load(make_text_bundle("table"), backend)
    stream = session.create_stream()
    stream.push("audio", frames("audio", 3))
    for _ in range(2):
        session.close()
    for use in _uses(session, stream, frames):
        with pytest.raises(UsageError, match=CLOSED):
            use()


@pytest.mark.case("F35")
def test_a_session_closed_before_its_first_prediction_stays_closed(
    shared_bundle: Path, frames: Callable[..., Any]
) -> None:
    session = load(shared_bundle)
    session.close()
    with pytest.raises(UsageError, match=CLOSED):
        session.predict(audio=frames("audio", 3))


@pytest.mark.case("F35")
@pytest.mark.parametrize("backend", BACKENDS)
def test_closing_while_threads_predict_is_safe(backend: str, shared_bundle: Path, frames: Callable[..., Any]) -> None:
    pytest.importorskip(backend)
    audio = frames("audio", 3)
    session = load(shared_bundle, backend, workers=2)
    expected = session.predict(audio=audio).outputs
    refused: list[str] = []

    def work(number: int) -> None:
        if number == 0:
            session.close()
            return
        try:
            while True:
                assert session.predict(audio=audio).outputs == expected
        except UsageError as error:
            refused.append(str(error))

    run_in_threads(work, 6)
    assert len(refused) == 5
    assert all(CLOSED in message for message in refused)
