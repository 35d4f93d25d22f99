"""`edge-msa-run build` with the stand-in: which plans are built and cached, and failures of the build process."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edge_msa_runtime
from edge_msa_runtime.cli.main import main

PLANS = {("step", None), ("fuse", None), ("window", None), ("window", 5)}
"""Role and length of the graphs of a bundle with language only."""
STAND_INS = Path(__file__).parents[1] / "stand_ins"


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> str:
    """A bundle with language only, whose int8 graphs are the same files as its fp32 graphs."""
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",))
    graphs = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    int8_graphs = [{**graph, "precision": "int8"} for graph in graphs if graph["backend"] == "tensorrt"]
    seal(path, {"graphs": [*graphs, *int8_graphs], "profile": {"tensorrt": "10.3", "jetpack": "6.2"}})
    return str(path)


def _build(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, list[dict[str, Any]]]:
    assert main(["build", *arguments, "--json"]) == 0
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])["graphs"]


def _cached_files(stand_in: Any) -> list[str]:
    return [path.name for path in stand_in.cache.rglob("*")] if stand_in.cache.exists() else []


def test_build_caches_every_plan(bundle: str, stand_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out, graphs = _build(capsys, bundle)
    assert {(graph["role"], graph["length"]) for graph in graphs} == PLANS
    assert {(graph["precision"], graph["cached"], graph["tensorrt"]) for graph in graphs} == {("fp32", False, "10.3.0")}
    assert all(graph["bytes"] > 100 and graph["layers"]["fp32"] and graph["seconds"] > 0 for graph in graphs)
    pattern = r"^\d/4   window l       fp32  built in \d+\.\d s, 0\.00 MB, layers: \d+ fp32"
    assert re.search(pattern, out, re.MULTILINE)
    again, graphs = _build(capsys, bundle)
    assert all(graph["cached"] for graph in graphs)
    assert "cached, built in" in again
    assert main(["verify", bundle, "--strict"]) == 0
    assert len(stand_in.events("build")) == len(PLANS)


def test_build_takes_precision_and_workspace(bundle: str, stand_in: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out, graphs = _build(capsys, bundle, "--precision", "all", "--subset", "l", "--workspace", "64")
    assert [graph["precision"] for graph in graphs].count("int8") == len(PLANS)
    assert out.count("no layer of this graph is quantized") == 2 * len(PLANS)  # in the text and in the JSON
    assert {size for _, size in stand_in.events("workspace")} == {64 << 20}
    _, graphs = _build(capsys, bundle, "--workspace", "128")
    assert not any(graph["cached"] for graph in graphs)


def test_build_of_one_subset_builds_only_its_graphs(
    make_bundle: Callable[..., Path], stand_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_bundle(backends=("tensorrt",), names=("language", "audio")))
    _, graphs = _build(capsys, path, "--subset", "a")
    assert {(graph["role"], *graph["modalities"]) for graph in graphs} == {
        ("step", "audio"),
        ("fuse", "language", "audio"),
        ("window", "audio"),
    }
    assert main(["build", path, "--subset", "lv"]) == 2
    assert "Unknown subset 'lv'. Available in this bundle: l, a, la." in capsys.readouterr().err
    assert len(stand_in.events("build")) == 3


@pytest.mark.slow
def test_best_of_keeps_the_fastest_plan(
    make_bundle: Callable[..., Path], stand_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(make_bundle(backends=("tensorrt",), names=("audio",), windows=False))
    stand_in.configure(delays_ms=[5, 0])
    out, graphs = _build(capsys, bundle, "--best-of", "2")
    assert len(graphs) == 2
    for graph in graphs:
        assert graph["p50_ms"][1] == min(graph["p50_ms"]) < 5
    assert "fastest of 2" in out
    headers = [path.read_bytes().split(b"\n")[1] for path in stand_in.cache.glob("*.plan")]
    assert {json.loads(header)["delay_ms"] for header in headers} == {0}
    assert {event["timing"] for event in stand_in.events("build")} == {""}
    assert list(stand_in.cache.glob("timing-*")) == []
    # A cached plan is built again only if more candidates are requested than it was selected from.
    assert all(graph["cached"] for graph in _build(capsys, bundle)[1])
    assert not any(graph["cached"] for graph in _build(capsys, bundle, "--best-of", "3")[1])
    assert stand_in.cuda.allocated == {}


def test_a_bundle_without_tensorrt_graphs_needs_no_build(
    shared_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(shared_bundle)]) == 0
    message = "fake has no TensorRT graphs; nothing to build. Its backends need no build: onnxruntime, openvino.\n"
    assert capsys.readouterr().out == message


@pytest.mark.parametrize(
    ("settings", "arguments", "code", "message"),
    [
        ({"build": "SIGKILL"}, (), 4, "fuse.onnx at fp32 was killed, probably because memory ran out"),
        ({"build": "SIGSEGV"}, (), 4, "crashed with SIGSEGV. Use another --precision, or --backend onnxruntime."),
        ({"build": "exit"}, (), 4, "exited with code 7 (terminate called after throwing an instance)"),
        ({"build": "no memory"}, (), 4, "Not enough memory to build the plan"),
        ({"build": "refuse"}, (), 4, "Could not find any implementation for node fuse"),
        ({"free_mib": 400}, ("--workspace", "200"), 4, "needs 712 MiB, but 400 MiB are free"),
        ({"tensorrt": "8.6.2.3"}, (), 4, "TensorRT 8.6.2.3 is installed, but the bundle needs 10.3 or a later 10.x"),
        ({"tensorrt": "8.4.0"}, (), 4, "TensorRT must be 8.5 or later, got 8.4.0"),
        ({"no_driver": True}, (), 4, "Cannot reach a CUDA driver"),
        ({}, ("--device", "GPU:1"), 4, "GPU:1 does not exist. This machine has 1 GPU"),
        ({}, ("--device", "DLA"), 4, "must be GPU or GPU:N, got 'DLA'"),
        ({}, ("--precision", "fp16"), 2, "fp16"),
        ({}, ("--best-of", "0"), 2, "--best-of must be at least 1, got 0"),
        ({}, ("--workspace", "0"), 2, "--workspace must be at least 1 MiB, got 0"),
    ],
)
def test_a_failure_is_one_line_and_leaves_no_files(
    bundle: str,
    stand_in: Any,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    stand_in.configure(**settings)
    assert main(["build", bundle, *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert len([line for line in captured.err.splitlines() if line.startswith("edge-msa-run: ")]) == 1
    assert captured.out == ""
    assert _cached_files(stand_in) == []


def test_an_unusable_cache_is_detected_before_the_build(
    bundle: str, stand_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.cache.write_bytes(b"")
    assert main(["build", bundle]) == 1
    assert "Cannot write to the backend cache" in capsys.readouterr().err
    assert stand_in.events("build") == []


def test_a_read_only_cache_still_provides_plans(
    bundle: str, stand_in: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: Any) -> str:
        raise OSError(30, "Read-only file system")

    assert main(["build", bundle]) == 0
    monkeypatch.setattr("tempfile.mkdtemp", fail)
    assert main(["verify", bundle, "--backend", "tensorrt"]) == 0
    capsys.readouterr()
    assert main(["build", bundle, "--best-of", "2"]) == 1
    error = capsys.readouterr().err
    assert "(Read-only file system). Free some space or set EDGE_MSA_CACHE to a writable folder." in error
    assert len(stand_in.events("build")) == len(PLANS)


def _command(*arguments: str) -> list[str]:
    runtime = Path(edge_msa_runtime.__path__[0]).parent
    imports = (
        f"import sys; sys.path[:0] = [{str(runtime)!r}, {str(STAND_INS)!r}]; "
        "from edge_msa_runtime.cli.main import main; "
    )
    return [sys.executable, "-c", f"{imports}sys.exit(main({list(arguments)!r}))"]


def test_a_full_disk_is_a_one_line_error(bundle: str, stand_in: Any) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(
        _command("build", bundle), capture_output=True, text=True, check=False, preexec_fn=limit_file_size
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("edge-msa-run: Cannot write to the backend cache")
    assert "(File too large)" in last
    assert _cached_files(stand_in) == []


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("The condition did not become true within 300 s.")


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_an_interrupted_build_ends_its_build_process(
    bundle: str, stand_in: Any, number: signal.Signals, code: int
) -> None:
    stand_in.configure(build="hang")
    process = subprocess.Popen(_command("build", bundle), stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: bool(stand_in.events("build")))
    (builder,) = (event["pid"] for event in stand_in.events("build"))
    assert any(name.startswith(".build-") for name in _cached_files(stand_in))
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == code
    assert number != signal.SIGINT or error.splitlines()[-1] == "interrupted"
    _wait_for(lambda: _has_ended(builder) and not _cached_files(stand_in))
    stand_in.configure()
    assert main(["build", bundle]) == 0
