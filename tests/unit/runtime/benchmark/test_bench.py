from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import Session, UsageError, load, timing
from edge_msa_runtime.benchmark.bench import BenchResult, bench_sessions, create_inputs
from edge_msa_runtime.modalities import Subset
from tests.unit.runtime import fake_bundles, toy_text
from tests.unit.runtime.fake_clock import FakeClock


def bench_session(session: Session, **options: Any) -> BenchResult:
    (result,) = bench_sessions([session], **options)
    return result


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    found = FakeClock()
    monkeypatch.setattr(timing, "time", found)
    return found


def test_percentiles_of_every_subset_are_ordered(shared_bundle: Path) -> None:
    result = bench_session(load(shared_bundle), repeats=130, warmup=2)
    assert [row.subset for row in result.latencies] == [subset.value for subset in Subset]
    for row in result.latencies:
        values = list(row.values_ms.values())
        assert list(row.values_ms) == ["p50", "p90", "p95"]
        assert values == sorted(values)
        assert 0 < values[0] < row.mean_ms * 10
        assert row.distribution_ms[10] == row.p50_ms
    assert result.latencies[3].frames == {"language": 11, "audio": 14}
    assert result.load_ms is not None
    assert result.load_ms.value > 0
    assert result.file_bytes == sum(path.stat().st_size for path in (shared_bundle / "graphs").iterdir())


def test_a_percentile_without_enough_predictions_is_null(shared_bundle: Path) -> None:
    result = bench_session(load(shared_bundle), repeats=63, warmup=0, subsets=[Subset.L])
    (row,) = json.loads(json.dumps(result.to_json()))["latencies"]
    assert row["predictions"] == 63
    assert row["latency_ms"]["p50"] == {"value": result.latencies[0].p50_ms, "low": None, "high": None}
    assert row["latency_ms"]["p90"] is None


def test_sessions_are_measured_interleaved(
    shared_bundle: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    fast, slow = load(shared_bundle), load(shared_bundle, "openvino")
    order: list[str] = []

    def delay(session: Session, seconds: float) -> None:
        original = session.predict

        def predict(**inputs: Any) -> Any:
            order.append(session.backend)
            clock.sleep(seconds)
            return original(**inputs)

        monkeypatch.setattr(session, "predict", predict)

    delay(fast, 0.001)
    delay(slow, 0.02)
    results = bench_sessions([fast, slow], repeats=25, warmup=0, subsets=[Subset.A])
    # Each block has two untimed predictions and twenty timed ones.
    assert order == [*["onnxruntime"] * 22, *["openvino"] * 22, *["onnxruntime"] * 7, *["openvino"] * 7]
    assert [result.latencies[0].p50_ms for result in results] == pytest.approx([1.0, 20.0])


def test_a_single_session_makes_no_extra_predictions(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = load(shared_bundle)
    original, calls = session.predict, []

    def predict(**inputs: Any) -> Any:
        calls.append(inputs)
        return original(**inputs)

    monkeypatch.setattr(session, "predict", predict)
    bench_session(session, repeats=25, warmup=3, subsets=[Subset.A])
    assert len(calls) == 28


def test_random_inputs_have_the_length_of_the_window(bundle_path: Path, seal: Callable[..., None]) -> None:
    (bundle_path / "golden.npz").unlink()
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {name: value for name, value in files.items() if name != "golden.npz"}})
    inputs = create_inputs(load(bundle_path), [Subset.L])
    assert inputs[Subset.L]["language"].shape == (12, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
        ({"rate": 0.0}, r"rate must be between 0\.01 and 10000 Hz, got 0"),
        ({"rate": -1.0}, "rate must be between"),
        ({"rate": float("nan")}, "rate must be between"),
        ({"rate": 1e6}, "rate must be between"),
    ],
)
def test_options_out_of_range_are_errors(shared_bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench_session(load(shared_bundle), **options)


def test_with_a_rate_latency_starts_when_a_prediction_is_due(
    shared_bundle: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, original = load(shared_bundle), Session.predict
    is_first = [True]

    def predict(self: Session, **inputs: Any) -> Any:
        if is_first:
            is_first.pop()
            clock.sleep(0.25)  # the first prediction delays those that become due meanwhile
        return original(self, **inputs)

    monkeypatch.setattr(Session, "predict", predict)
    started = clock.now
    result = bench_session(session, repeats=80, warmup=0, subsets=[Subset.A], rate=160.0)
    assert clock.now - started == pytest.approx(80 / 160.0)
    assert result.rate_hz == 160.0
    longest = result.latencies[0].latency_ms["max"]
    assert longest is not None
    assert longest.value == pytest.approx(250)
    # The next ones waited too, each for 1 / 160 s less: four of 80 took longer than the 95th percentile.
    assert result.latencies[0].distribution_ms[19] == pytest.approx(250 - 3.95 * 1e3 / 160)


def test_a_result_describes_the_machine(shared_bundle: Path) -> None:
    result = bench_session(load(shared_bundle), repeats=1, warmup=0, subsets=[Subset.A]).to_json()
    assert {"machine", "system", "python", "numpy"} <= set(result["machine"])
    assert isinstance(result["before"], dict)
    assert isinstance(result["after"], dict)


def test_golden_texts_are_tokenized_in_every_prediction(make_text_bundle: Callable[[str], Path]) -> None:
    folder = make_text_bundle("table")
    fake_bundles.write_golden_text(folder, "i love the films", toy_text.encode_text("i love the films", "table"))
    with load(folder) as session:
        result = bench_session(session, repeats=3, warmup=0, subsets=[Subset.L, Subset.LA])
        needed = session.bundle.needed_files(session.backend, session.precision)
        assert result.file_bytes == session.bundle.size(needed)
    assert {"language/tokenizer.json", "language/table.npz"} < set(needed)
    with_text, without = result.latencies  # subset la has no golden case, so it gets random frames
    assert with_text.from_text
    assert with_text.frames == {"language": 5}  # the last word has two tokens
    assert not without.from_text
