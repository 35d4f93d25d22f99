"""`edge-msa-run build` against the stand-in: what is built, what is kept, and what a builder may do to its process."""

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


@pytest.fixture(scope="module")
def bundle(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> str:
    """A bundle of language alone, whose int8 graphs are its float ones."""
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",))
    graphs = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    more = [{**graph, "precision": "int8"} for graph in graphs if graph["backend"] == "tensorrt"]
    seal(path, {"graphs": [*graphs, *more], "profile": {"tensorrt": "10.3", "jetpack": "6.2"}})
    return str(path)


def _built(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, list[dict[str, Any]]]:
    assert main(["build", *arguments, "--json"]) == 0
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])["graphs"]


def _left(standin: Any) -> list[str]:
    return [path.name for path in standin.cache.rglob("*")] if standin.cache.exists() else []


def test_all_that_prediction_needs_is_built_and_then_found(
    bundle: str, standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out, graphs = _built(capsys, bundle)
    assert {(graph["role"], graph["length"]) for graph in graphs} == PLANS
    assert {(graph["precision"], graph["kept"], graph["tensorrt"]) for graph in graphs} == {("fp32", False, "10.3.0")}
    assert all(graph["bytes"] > 100 and graph["layers"]["fp32"] and graph["seconds"] > 0 for graph in graphs)
    assert re.search(r"^\d/4   window l       fp32  built in \d+\.\d s, 0\.00 MB, layers: fp32 \d+", out, re.MULTILINE)
    again, graphs = _built(capsys, bundle)
    assert all(graph["kept"] for graph in graphs)
    assert "in the cache, built in" in again
    assert main(["verify", bundle, "--strict"]) == 0
    assert len(standin.events("build")) == len(PLANS)


def test_every_precision_and_one_subset(bundle: str, standin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out, graphs = _built(capsys, bundle, "--precision", "all", "--subset", "l", "--workspace", "64")
    assert [graph["precision"] for graph in graphs].count("int8") == len(PLANS)
    assert out.count("no layer of this graph is quantized") == len(PLANS) + len(PLANS)  # for people, and in JSON
    assert {size for _, size in standin.events("workspace")} == {64 << 20}
    _, graphs = _built(capsys, bundle, "--workspace", "128")
    assert not any(graph["kept"] for graph in graphs)


def test_a_subset_needs_its_own_graphs_alone(
    make_bundle: Callable[..., Path], standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_bundle(backends=("tensorrt",), names=("language", "audio")))
    _, graphs = _built(capsys, path, "--subset", "a")
    assert {(graph["role"], *graph["modalities"]) for graph in graphs} == {
        ("step", "audio"),
        ("fuse", "language", "audio"),
        ("window", "audio"),
    }
    assert main(["build", path, "--subset", "lv"]) == 2
    assert "unknown subset 'lv'; this bundle reads l, a, la" in capsys.readouterr().err
    assert len(standin.events("build")) == 3


def test_of_several_plans_the_fastest_is_kept(
    make_bundle: Callable[..., Path], standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(make_bundle(backends=("tensorrt",), names=("audio",), windows=False))
    standin(delays_ms=[1, 0])
    out, graphs = _built(capsys, bundle, "--best-of", "2")
    assert len(graphs) == 2
    for graph in graphs:
        assert graph["p50_milliseconds"][1] == min(graph["p50_milliseconds"]) < 1
    assert "p50 of 2:" in out
    heads = [path.read_bytes().split(b"\n")[1] for path in standin.cache.glob("*.plan")]
    assert {json.loads(head)["delay_ms"] for head in heads} == {0}
    assert {event["timing"] for event in standin.events("build")} == {""}
    assert list(standin.cache.glob("timing-*")) == []
    # Fewer candidates than were tried are no reason to build again, more are.
    assert all(graph["kept"] for graph in _built(capsys, bundle)[1])
    assert not any(graph["kept"] for graph in _built(capsys, bundle, "--best-of", "3")[1])
    assert standin.cuda.held == {}


def test_a_bundle_without_graphs_for_tensorrt_needs_nothing(
    shared_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(shared_bundle)]) == 0
    said = "fake has no graphs for tensorrt: onnxruntime, openvino read its graphs as they are, nothing is built\n"
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("settings", "arguments", "code", "said"),
    [
        ({"build": "SIGKILL"}, (), 4, "fuse.onnx at fp32 was killed, as the system does when memory runs out"),
        ({"build": "SIGSEGV"}, (), 4, "crashed with SIGSEGV; use another --precision, or --backend onnxruntime"),
        ({"build": "exit"}, (), 4, "ended with code 7 (terminate called after throwing an instance)"),
        ({"build": "no memory"}, (), 4, "no memory is left for building"),
        ({"build": "refuse"}, (), 4, "Could not find any implementation for node fuse"),
        ({"free_mib": 400}, ("--workspace", "200"), 4, "needs 712 MiB, 400 MiB are free"),
        ({"tensorrt": "8.6.2.3"}, (), 4, "is for tensorrt 10.3 (JetPack 6.2), here is 8.6.2.3"),
        ({"tensorrt": "8.4.0"}, (), 4, "8.4.0 is too old"),
        ({"no_driver": True}, (), 4, "no CUDA driver answers"),
        ({}, ("--device", "GPU:1"), 4, "there is no GPU:1; this machine has 1"),
        ({}, ("--device", "DLA"), 4, "tensorrt has no device 'DLA'"),
        ({}, ("--precision", "fp16"), 2, "no graphs at 'fp16' for tensorrt, only fp32, int8"),
        ({}, ("--best-of", "0"), 2, "--best-of is 0"),
        ({}, ("--workspace", "0"), 2, "--workspace is 0 MiB"),
    ],
)
def test_what_goes_wrong_is_one_line_and_leaves_nothing(
    bundle: str,
    standin: Any,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    standin(**settings)
    assert main(["build", bundle, *arguments]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert len([line for line in captured.err.splitlines() if line.startswith("error")]) == 1
    assert captured.out == ""
    assert _left(standin) == []


def test_a_cache_that_is_no_folder_is_found_before_anything_is_built(
    bundle: str, standin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    standin.cache.write_bytes(b"")
    assert main(["build", bundle]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert standin.events("build") == []


def test_a_read_only_cache_still_serves_what_is_in_it(
    bundle: str, standin: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(**_: Any) -> str:
        raise OSError(30, "Read-only file system")

    assert main(["build", bundle]) == 0
    monkeypatch.setattr("tempfile.mkdtemp", read_only)
    assert main(["verify", bundle, "--backend", "tensorrt"]) == 0
    capsys.readouterr()
    assert main(["build", bundle, "--best-of", "2"]) == 1
    err = capsys.readouterr().err
    assert "cannot be written (Read-only file system); free some space or set EDGE_MSA_CACHE" in err
    assert len(standin.events("build")) == len(PLANS)


def _command(*arguments: str) -> list[str]:
    runtime, standin = Path(edge_msa_runtime.__path__[0]).parent, Path(__file__).parent / "standin"
    # A shell's background job, as these tests may be, ignores Ctrl-C and hang-up, and so would what it starts.
    listens = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); s.signal(s.SIGHUP, s.SIG_DFL); "
    code = (
        f"import sys; sys.path[:0] = [{str(runtime)!r}, {str(standin)!r}]; from edge_msa_runtime.cli.main import main; "
    )
    return [sys.executable, "-c", f"{listens}{code}sys.exit(main({list(arguments)!r}))"]


def test_a_full_disk_is_one_line(bundle: str, standin: Any) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    done = subprocess.run(_command("build", bundle), capture_output=True, text=True, check=False, preexec_fn=full)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: the backend cache")
    assert "cannot be written (File too large)" in last
    assert _left(standin) == []


def _wait_for(there: Callable[[], bool]) -> None:
    for _ in range(600):
        if there():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about within 30 s")


def _gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGKILL, -9), (signal.SIGTERM, -15), (signal.SIGHUP, -1)],
)
def test_an_interrupted_build_takes_its_process_along_and_leaves_nothing(
    bundle: str, standin: Any, number: signal.Signals, code: int
) -> None:
    standin(build="hang")
    process = subprocess.Popen(_command("build", bundle), stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: bool(standin.events("build")))
    (builder,) = (event["pid"] for event in standin.events("build"))
    assert any(name.startswith(".build-") for name in _left(standin))
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert number != signal.SIGINT or err.splitlines()[-1] == "interrupted"
    _wait_for(lambda: _gone(builder) and not _left(standin))
    standin()
    assert main(["build", bundle]) == 0


def test_nothing_depends_on_a_clock_that_can_jump() -> None:
    for path in Path(edge_msa_runtime.__path__[0]).rglob("*.py"):
        text = path.read_text("utf-8")
        assert not [word for word in ("time.time(", "st_mtime", "datetime", "getmtime") if word in text], path
