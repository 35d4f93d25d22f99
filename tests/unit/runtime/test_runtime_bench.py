from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime import Session, UsageError, load
from edge_msa_runtime.benchmark.bench import bench_inputs, bench_session, bench_sessions, peak_memory_bytes
from edge_msa_runtime.modalities import Subset


def test_every_subset_has_ordered_percentiles(shared_bundle: Path) -> None:
    result = bench_session(load(shared_bundle), repeats=100, warmup=2)
    assert [row.subset for row in result.latencies] == [subset.value for subset in Subset]
    for row in result.latencies:
        assert row.p99 is not None
        assert 0 < row.p50 <= row.p90 <= row.p99
    assert result.latencies[3].frames == {"language": 11, "audio": 14}
    assert result.load_milliseconds > 0
    assert result.file_bytes == sum(path.stat().st_size for path in (shared_bundle / "graphs").iterdir())


def test_p99_needs_a_hundred_predictions(shared_bundle: Path) -> None:
    result = bench_session(load(shared_bundle), repeats=99, warmup=0, subsets=[Subset.L])
    assert result.latencies[0].p99 is None
    assert json.loads(json.dumps(result.to_json()))["latencies"][0]["count"] == 99


def test_sessions_take_turns_and_the_slower_one_is_told_apart(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    quick, slow = load(shared_bundle), load(shared_bundle, "openvino")
    order: list[str] = []

    def watched(session: Session, delay: float) -> None:
        inner = session.predict

        def predict(**given: Any) -> Any:
            order.append(session.backend)
            time.sleep(delay)
            return inner(**given)

        monkeypatch.setattr(session, "predict", predict)

    watched(quick, 0.0)
    watched(slow, 0.004)
    results = bench_sessions([quick, slow], repeats=25, warmup=0, subsets=[Subset.A])
    # Two untimed calls lead each turn; a turn has twenty timed ones.
    assert order == [*["onnxruntime"] * 22, *["openvino"] * 22, *["onnxruntime"] * 7, *["openvino"] * 7]
    assert results[0].latencies[0].p50 < 4 <= results[1].latencies[0].p50


def test_a_session_that_is_alone_reads_no_more_than_it_was_asked_to(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, calls = load(shared_bundle), []
    inner = session.predict

    def predict(**given: Any) -> Any:
        calls.append(given)
        return inner(**given)

    monkeypatch.setattr(session, "predict", predict)
    bench_session(session, repeats=25, warmup=3, subsets=[Subset.A])
    assert len(calls) == 28


def test_without_golden_vectors_inputs_are_as_long_as_the_window(bundle_path: Path, seal: Callable[..., None]) -> None:
    (bundle_path / "golden.npz").unlink()
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {name: value for name, value in files.items() if name != "golden.npz"}})
    inputs = bench_inputs(load(bundle_path), [Subset.L])
    assert inputs[Subset.L]["language"].shape == (12, 4)


@pytest.mark.parametrize("options", [{"repeats": 0}, {"warmup": -1}])
def test_nothing_to_measure_is_refused(shared_bundle: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="give at least 1, 1 and 0"):
        bench_session(load(shared_bundle), **options)


def test_peak_memory_is_more_than_what_is_held() -> None:
    held = bytearray(30_000_000)
    peak = peak_memory_bytes()
    assert peak is None or peak > len(held)


def test_paced_predictions_count_from_when_they_were_due(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, inner = load(shared_bundle), Session.predict
    late = [True]

    def predict(self: Session, **given: Any) -> Any:
        if late:
            late.pop()
            time.sleep(0.25)  # the first holds up those that are due meanwhile
        return inner(self, **given)

    monkeypatch.setattr(Session, "predict", predict)
    started = time.perf_counter()
    result = bench_session(session, repeats=20, warmup=0, subsets=[Subset.A], rate=40.0)
    assert time.perf_counter() - started >= 20 / 40.0
    assert result.rate_hz == 40.0
    assert result.latencies[0].p90 > 100
    assert result.latencies[0].p50 < 100


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), 1e6])
def test_a_rate_that_nothing_can_keep_is_refused(shared_bundle: Path, rate: float) -> None:
    with pytest.raises(UsageError, match=r"give one from 0\.01 to 10000"):
        bench_session(load(shared_bundle), rate=rate)


def test_a_result_tells_the_machine_it_was_measured_on(shared_bundle: Path) -> None:
    told = bench_session(load(shared_bundle), repeats=1, warmup=0, subsets=[Subset.A]).to_json()
    assert {"machine", "system", "python", "numpy"} <= set(told["machine"])
    assert isinstance(told["before"], dict)
    assert isinstance(told["after"], dict)
