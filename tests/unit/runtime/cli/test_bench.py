from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Callable

import pytest

from edge_msa_runtime.cli.main import main

ONE_PROCESS = ("--processes", "1", "--warmup", "0")


def test_bench_measures_bundles_interleaved(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_bundle(names=("language",)))
    assert main(["bench", path, path, "--repeats", "3", *ONE_PROCESS, "--json"]) == 0
    out = capsys.readouterr().out
    assert [result["latencies"][0]["subset"] for result in json.loads(out.splitlines()[-1])] == ["l", "l"]
    assert "p90 ms" in out
    assert "predictions: interleaved" in out


def test_bench_all_measures_every_available_backend(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = str(make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",)))
    assert main(["bench", path, "--all", "--repeats", "2", "--rate", "1000", *ONE_PROCESS, "--json"]) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out.splitlines()[-1])
    assert [(result["backend"], result["rate_hz"]) for result in results] == [("onnxruntime", 1000.0)]
    assert "note: skipped: Cannot import tensorrt" in captured.err
    assert "due at 1000 Hz" in captured.out
    assert main(["bench", path, "--all", "--precision", "int8"]) == 2


def test_bench_takes_a_text(make_text_bundle: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = str(make_text_bundle("table"))
    assert main(["bench", path, "--repeats", "2", *ONE_PROCESS, "--text", "it", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["frames"]["language"] for row in result["latencies"] if row["from_text"]] == [1, 1]


@pytest.mark.case("F3")
def test_bench_measures_the_throughput_of_several_workers(
    shared_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--workers", "2", "--repeats", "3", "--warmup", "0", "--backend", "onnxruntime", "--json"]
    assert main(["bench", str(shared_bundle), *options]) == 0
    out = capsys.readouterr().out
    (result,) = json.loads(out.splitlines()[-1])
    throughput = result["throughput"]
    assert throughput["threads"] == 2
    assert throughput["ratio"] > 0
    assert "throughput of lav: 1 thread" in out


def test_bench_compares_streams_at_once_with_one_after_the_other(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_bundle(batch=4))
    options = ["--streams", "5", "--repeats", "3", "--warmup", "0", "--backend", "onnxruntime", "--json"]
    assert main(["bench", path, *options]) == 0
    out = capsys.readouterr().out
    (result,) = json.loads(out.splitlines()[-1])
    measured = result["stream_throughput"]
    assert (measured["streams"], measured["rounds"]) == (5, 3)
    assert measured["ratio"] > 0
    assert measured["largest_difference"] < 1e-5
    assert "throughput of 5 streams: one after the other" in out
    assert main(["bench", path, "--streams", "0"]) == 2
    assert "streams must be between 1 and 10000, got 0" in capsys.readouterr().err
