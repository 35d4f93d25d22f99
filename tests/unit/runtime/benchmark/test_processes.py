"""Benchmarks in fresh processes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from edge_msa_runtime import BackendUnavailableError, EdgeMsaError, UsageError, load
from edge_msa_runtime.benchmark import processes, worker
from edge_msa_runtime.benchmark.latency_statistics import CANNOT_TELL, FASTER, SLOWER, Comparison, Measured, compare
from edge_msa_runtime.benchmark.processes import Job, Plan, bench_processes, start_worker
from edge_msa_runtime.child_process import child_command
from edge_msa_runtime.modalities import Subset

ORT = {"backend": "onnxruntime", "precision": "fp32"}
QUICK = Plan(processes=2, repeats=80, subsets=("a", "la"), looks=1, energy=False)


def test_every_job_has_its_own_processes(shared_bundle: Path) -> None:
    rounds: list[tuple[int, int]] = []
    results = bench_processes(
        [Job(str(shared_bundle), ORT), Job(str(shared_bundle), ORT)],
        QUICK,
        on_round=lambda done, total: rounds.append((done, total)),
    )
    assert rounds == [(0, 2), (1, 2)]
    for result in results:
        assert (result.processes, [row.subset for row in result.latencies]) == (2, ["a", "la"])
        assert [row.predictions for row in result.latencies] == [80, 80]
        for row in result.latencies:
            p50 = row.latency_ms["p50"]
            assert p50 is not None
            assert p50.low is not None
            assert p50.high is not None
            assert 0 < p50.low <= p50.value <= p50.high
            assert row.warmup >= 60
        for item in (result.load_ms, result.start_ms):
            assert item is not None
            assert item.low is not None
            assert 0 < item.low <= item.value
        assert result.latencies[1].frames == {"language": 11, "audio": 14}
    assert results[0].comparisons == ()
    (comparison,) = results[1].comparisons
    assert (comparison.backend, comparison.precision, comparison.subset) == ("onnxruntime", "fp32", "la")
    assert comparison.ratio.value > 0
    json.dumps([result.to_json() for result in results], allow_nan=False)


def test_a_job_can_be_slowed_down(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slowed: list[float] = []

    class StoppedError(Exception):
        pass

    def prolong(call: Callable[[], object], share: float) -> None:
        call()
        slowed.append(share)

    def send(_: object, request: dict[str, Any]) -> None:
        with load(**request["session"]) as session:
            answers = worker.Worker(session, (Subset.A,), slowdown=request["slowdown"]).time("a", 3, 0, None)
        assert len(answers["ms"]) == 3
        raise StoppedError

    monkeypatch.setattr(worker, "_prolong", prolong)
    monkeypatch.setattr(processes.WorkerProcess, "send", send)
    with pytest.raises(StoppedError), start_worker(Job(str(shared_bundle), ORT, slowdown=0.5), QUICK, ()):
        pass
    assert slowed == [0.5] * 3


def test_a_slowdown_is_a_share_of_the_time_of_a_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()  # each look at the clock takes a second
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    worker._prolong(lambda: [next(seconds) for _ in range(9)], 3.0)
    assert next(seconds) == 10 + 3 * 10 + 1


def test_a_comparison_that_is_open_gets_more_processes(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = [CANNOT_TELL, SLOWER, SLOWER]

    def decide(*arguments: object) -> object:
        result = compare(*arguments)  # type: ignore[arg-type]
        return Comparison(verdicts.pop(0), result.ratio, result.processes)

    monkeypatch.setattr(processes, "compare", decide)
    jobs = [Job(str(shared_bundle), ORT), Job(str(shared_bundle), ORT)]
    plan = Plan(processes=2, repeats=6, warmup=0, subsets=("a", "la"), looks=3, energy=False)
    first, second = bench_processes(jobs, plan)
    assert second.comparisons[0].processes == 4
    assert (first.processes, second.processes) == (4, 4)
    assert [row.predictions for row in first.latencies] == [6, 12]  # only the compared subset has more


def test_a_backend_that_is_missing_is_left_out_or_an_error(shared_bundle: Path) -> None:
    plan = Plan(processes=1, repeats=2, warmup=0, subsets=("a",), energy=False)
    missing = Job(str(shared_bundle), {**ORT, "device": "GPU:7", "strict": True})
    skipped: list[str] = []
    with pytest.raises((BackendUnavailableError, UsageError)):
        bench_processes([missing], plan, on_unavailable=lambda _, error: skipped.append(str(error)))


def test_errors_of_a_process_are_raised_in_one_line(tmp_path: Path, shared_bundle: Path) -> None:
    with pytest.raises(EdgeMsaError, match="No folder at"):
        bench_processes([Job(str(tmp_path / "missing"))], QUICK)
    with pytest.raises(UsageError, match="has no int4 graphs"):
        bench_processes([Job(str(shared_bundle), {"precision": "int4", "backend": "onnxruntime"})], QUICK)
    plan = Plan(processes=1, repeats=1, warmup=0, subsets=("a",))
    with start_worker(Job(str(shared_bundle), ORT), plan, ()) as worker:
        worker._process.kill()
        with pytest.raises(EdgeMsaError, match="with onnxruntime fp32 ended with code -9: no output"):
            worker.ask("memory")


def test_a_process_that_hangs_is_ended(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(processes=1, repeats=1, warmup=0, subsets=("a",))
    with start_worker(Job(str(shared_bundle), ORT), plan, ()) as worker:
        monkeypatch.setattr(processes, "_TIMEOUT_SECONDS", 0.2)
        with pytest.raises(EdgeMsaError, match=r"took longer than 0\.2 s\. Free the machine"):
            worker.ask("run", subset="a", seconds=60.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"processes": 0}, "processes must be between 1 and 100, got 0"),
        ({"processes": 101}, "processes must be between 1 and 100, got 101"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"warmup": -1}, "warmup must be at least 0, got -1"),
        ({"rate": 0.0}, r"rate must be between 0\.01 and 10000 Hz, got 0"),
    ],
)
def test_plans_out_of_range_are_errors(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Plan(**options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="At least one bundle"):
        bench_processes([])


def test_predictions_are_shared_out_over_processes() -> None:
    assert Plan(processes=5, repeats=1000).repeats_per_process == 200
    assert Plan(processes=3, repeats=700).repeats_per_process == 234


def test_what_a_library_prints_does_not_disturb_the_answers(shared_bundle: Path) -> None:
    command = child_command("edge_msa_runtime.benchmark.worker")
    command[-1] = (
        "import edge_msa_runtime.loading as m; f = m.load; m.load = lambda **o: [print('hello'), f(**o)][1]; "
        + (command[-1])
    )
    config = {"session": {"bundle": str(shared_bundle), **ORT}, "subsets": ["a"], "text": None, "slowdown": 0}
    line = json.dumps({**config, "started": 0.0}) + "\n"
    done = subprocess.run(command, input=line, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["session"]["backend"] == "onnxruntime"
    assert done.stderr.strip() == "hello"
    assert sys.executable in command


def test_bundles_are_compared_at_the_same_precision_and_with_fp32(shared_bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.symlink_to(shared_bundle)
    plan = Plan(processes=2, repeats=4, warmup=0, subsets=("a",), looks=1, energy=False)
    first, second = bench_processes([Job(str(shared_bundle), ORT), Job(str(copy), ORT)], plan)
    assert first.comparisons == ()
    assert [item.bundle for item in second.comparisons] == [first.bundle]
    assert isinstance(second.comparisons[0].ratio, Measured)
    assert second.comparisons[0].verdict != FASTER or second.comparisons[0].ratio.value < 1
