"""The TensorRT backend's own steps against a stand-in for the vendor: builds, cache, buffers, replay, refusals.

The stand-in computes by ONNX Runtime. It shows that our calls are in order, not that TensorRT takes them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnxruntime
import pytest

from edge_msa_runtime import BackendUnavailableError, EdgeMsaError, InferenceError, load
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.golden import verify_bundle
from edge_msa_runtime.cli.main import main

GIVEN = np.array([[0.5, -1, 0.25, 2]], "f4")
VERSIONS = ("8.5.2.2", "8.6.2.3", "10.3.0", "11.4.1")


@pytest.fixture(scope="module")
def wanted(quantized_graph: Path) -> Any:
    """What the graph gives for GIVEN."""
    session = onnxruntime.InferenceSession(str(quantized_graph), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": GIVEN})[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_with_what_it_has_and_runs(
    version: str, quantized_graph: Path, wanted: Any, standin: Any
) -> None:
    standin(tensorrt=version)
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    np.testing.assert_array_equal(program.inputs["x"], np.zeros((1, 4)))
    np.testing.assert_array_equal(program({"x": GIVEN})["y"], wanted)
    (built,) = standin.events("build")
    assert built["flags"] == (["TF32"] if version.startswith("11") else ["FP16", "INT8", "TF32"])
    assert built["network"] == (0 if version.startswith("10") else 1)
    assert built["sources"] == ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"]
    assert built["pid"] != os.getpid()
    sidecar = json.loads(next(standin.cache.glob("*.json")).read_text("utf-8"))
    assert sidecar["key"]["tensorrt"] == version
    assert sidecar["built"]["layers"] == {"int8": 1, "fp16": 0, "fp32": 1, "other": 3}
    assert sidecar["built"]["quantized"] == 1
    program.close()


def test_a_run_replays_what_was_captured_and_all_is_freed(quantized_graph: Path, wanted: Any, standin: Any) -> None:
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    cuda, before = standin.cuda, standin.cuda.calls.copy()
    for scale in (1, 2):
        program.inputs["x"][...] = GIVEN * scale
        program.run()
    assert cuda.calls - before == {"replay": 2, "synchronize": 2}
    program.inputs["x"][...] = GIVEN
    program.run()
    np.testing.assert_array_equal(program.outputs["y"], wanted)
    assert (program.device, program.notes) == ("GPU:0 Orin", ())
    program.close()
    program.close()
    assert cuda.held == {}


def test_where_nothing_can_be_captured_it_runs_all_the_same_and_says_so(
    quantized_graph: Path, wanted: Any, standin: Any
) -> None:
    standin(no_capture=True)
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    np.testing.assert_array_equal(program({"x": GIVEN})["y"], wanted)
    (note,) = program.notes
    assert "without a CUDA graph" in note
    assert "cudaStreamEndCapture failed with 900" in note
    assert standin.cuda.calls["replay"] == 0
    program.close()
    assert standin.cuda.held == {}


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_what_was_allotted_before_an_error_is_freed(quantized_graph: Path, standin: Any, failing: int) -> None:
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    standin(failing_allocation=failing)
    backend = open_backend("tensorrt")
    with pytest.raises(InferenceError, match="cudaMalloc"):
        backend.load(quantized_graph, "int8")
    assert standin.cuda.calls["allocate"] == failing
    assert standin.cuda.held == {}


@pytest.mark.parametrize(
    ("setting", "said"), [("no_context", "no memory for a plan's activations"), ("no_start", "failed to start")]
)
def test_a_plan_that_cannot_start_frees_what_it_holds(
    quantized_graph: Path, standin: Any, setting: str, said: str
) -> None:
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    standin(**{setting: True})
    with pytest.raises(EdgeMsaError, match=said):
        open_backend("tensorrt").load(quantized_graph, "int8")
    assert standin.cuda.held == {}


def test_a_plan_is_built_once_a_precision_and_timings_are_shared(quantized_graph: Path, standin: Any) -> None:
    backend = open_backend("tensorrt")
    for precision in ("int8", "int8", "fp32"):
        backend.load(quantized_graph, precision).close()
    first, second = standin.events("build")
    assert (first["flags"], second["flags"]) == (["FP16", "INT8", "TF32"], [])
    assert (first["timing"], second["timing"]) == ("", "timing 10.3.0 +")
    assert sorted(path.suffix for path in standin.cache.iterdir()) == [".cache", ".json", ".json", ".plan", ".plan"]


@pytest.mark.parametrize("content", [b"no timings", b"timing 8.5.2.2 +"])
def test_timings_that_are_not_whole_or_not_from_here_are_left(
    quantized_graph: Path, standin: Any, content: bytes
) -> None:
    backend = open_backend("tensorrt")
    backend.load(quantized_graph, "int8").close()
    next(standin.cache.glob("timing-*")).write_bytes(content)
    backend.load(quantized_graph, "fp32").close()
    assert standin.events("build")[1]["timing"] == ""


def test_a_plan_of_another_version_is_never_loaded_and_both_are_told(
    quantized_graph: Path, standin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    (plan,) = standin.cache.glob("*.plan")
    old = (plan.read_bytes(), plan.with_suffix(".json").read_bytes())
    standin(tensorrt="10.16.2")
    backend = open_backend("tensorrt")
    backend.load(quantized_graph, "int8").close()
    (plan,) = set(standin.cache.glob("*.plan")) - {plan}
    # A cache that was copied under names of this version, as a script of someone's might.
    plan.write_bytes(old[0])
    plan.with_suffix(".json").write_bytes(old[1])
    seen = len(standin.events("deserialize"))
    caplog.clear()
    backend.load(quantized_graph, "int8").close()
    assert "it was built for tensorrt 10.3.0, here 10.16.2: building graph.onnx at int8" in caplog.text
    assert len(standin.events("build")) == 3
    assert len(standin.events("deserialize")) == seen + 3  # the child's look, the check before it is kept, the load


def test_a_truncated_plan_is_built_again_and_told(
    quantized_graph: Path, standin: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_backend("tensorrt")
    backend.load(quantized_graph, "int8").close()
    (plan,) = standin.cache.glob("*.plan")
    whole = plan.read_bytes()
    plan.write_bytes(whole[:-9])
    backend.load(quantized_graph, "int8").close()
    assert f"is not loaded, it has {len(whole) - 9} bytes, {len(whole)} were built: building" in caplog.text
    assert plan.read_bytes() == whole


@pytest.mark.parametrize(
    ("settings", "precision", "said"),
    [
        ({"build": "refuse"}, "int8", r"cannot build graph\.onnx at int8 \(Could not find any implementation"),
        ({"free_mib": 100}, "int8", "needs 512 MiB, 100 MiB are free"),
        ({"tensorrt": "11.4.1"}, "fp16", "takes fp16 from the graph alone"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    quantized_graph: Path, standin: Any, settings: dict[str, Any], precision: str, said: str
) -> None:
    standin(**settings)
    with pytest.raises(BackendUnavailableError, match=said) as caught:
        open_backend("tensorrt").load(quantized_graph, precision)
    assert "\n" not in str(caught.value)
    assert [path for path in standin.cache.rglob("*") if path.suffix != ".cache"] == []


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path, standin: Any) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendUnavailableError, match=r"cannot read broken\.onnx: Failed to parse") as caught:
        open_backend("tensorrt").load(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)
    assert list(standin.cache.iterdir()) == []


def test_memory_that_is_shared_with_the_cpu_is_asked_of_the_system(
    quantized_graph: Path, standin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin(free_mib=100, integrated=1)
    monkeypatch.setattr("edge_msa_runtime.backends.tensorrt.cuda.available_bytes", lambda: 600 << 20)
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    assert standin.events("workspace") == [["WORKSPACE", 300 << 20]]


def test_without_a_driver_the_vendor_is_not_touched(standin: Any) -> None:
    standin(no_driver=True)  # the stand-in's Runtime would end this process, as TensorRT 8.6.0's does
    with pytest.raises(BackendUnavailableError, match="no CUDA driver answers"):
        open_backend("tensorrt")


def test_a_tensorrt_that_is_too_old_is_refused(standin: Any) -> None:
    standin(tensorrt="8.4.1")
    with pytest.raises(BackendUnavailableError, match=r"8\.4\.1 is too old, 8\.5 is the oldest"):
        open_backend("tensorrt")


def test_a_bundle_is_verified_and_read_by_plans(make_bundle: Callable[..., Path], standin: Any, seal: Any) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",))
    seal(path, {"profile": {"tensorrt": "10.3", "jetpack": "6.2"}})
    with load(path) as session:
        assert (session.backend, session.device) == ("tensorrt", "GPU:0 Orin")
        found = verify_bundle(session)
    assert found.passed
    assert (len(found.checks), found.notes) == (2, ())
    assert standin.cuda.held == {}


def test_a_bundle_for_another_jetpack_is_refused_and_auto_goes_on_saying_why(
    make_bundle: Callable[..., Path], standin: Any, seal: Any
) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",))
    seal(path, {"profile": {"tensorrt": "10.3", "jetpack": "6.2"}})
    standin(tensorrt="8.5.2.2")
    said = r"is for tensorrt 10\.3 \(JetPack 6\.2\), here is 8\.5\.2\.2; .* a --target whose tensorrt is 8\.5"
    for how in ({"backend": "tensorrt"}, {"strict": True}):
        with pytest.raises(BackendUnavailableError, match=said):
            load(path, **how)
    with load(path) as session:
        assert session.backend == "onnxruntime"
        assert "here is 8.5.2.2" in session.passed_over[0]
    assert "tensorrt" in sys.modules
    assert standin.events("build") == []


@pytest.mark.parametrize("command", [["verify"], ["verify", "--all"], ["bench", "--repeats", "2", "--warmup", "0"]])
def test_that_nothing_could_be_captured_is_told_once_by_every_command(
    make_bundle: Callable[..., Path], standin: Any, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    standin(no_capture=True)
    path = str(make_bundle(backends=("tensorrt",), names=("language",), windows=False))
    assert main([command[0], path, *command[1:], "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("note: tensorrt runs without a CUDA graph") == 1
    told = json.loads(captured.out.splitlines()[-1])
    (note,) = (told[0] if isinstance(told, list) else told)["notes"]
    assert "cudaStreamEndCapture failed with 900" in note
