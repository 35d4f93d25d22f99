"""The TensorRT backend with a stand-in for TensorRT and CUDA: builds, cache, buffers, CUDA graphs, errors.

The stand-in computes with ONNX Runtime. These tests show that the backend makes the right calls in the right order.
They do not show that TensorRT accepts the graphs.
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

from edge_msa_runtime import BackendUnavailableError, EdgeMsaError, load
from edge_msa_runtime.backends import open_backend

INPUT = np.array([[0.5, -1, 0.25, 2]], "f4")
VERSIONS = ("8.5.2.2", "8.6.2.3", "10.3.0", "11.4.1")


@pytest.fixture(scope="module")
def expected_output(quantized_graph: Path) -> Any:
    """The output of the graph for INPUT."""
    session = onnxruntime.InferenceSession(str(quantized_graph), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": INPUT})[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_builds_and_runs(
    version: str, quantized_graph: Path, expected_output: Any, stand_in: Any
) -> None:
    stand_in.configure(tensorrt=version)
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    np.testing.assert_array_equal(program.inputs["x"], np.zeros((1, 4)))
    np.testing.assert_array_equal(program({"x": INPUT})["y"], expected_output)
    (build,) = stand_in.events("build")
    assert build["flags"] == (["TF32"] if version.startswith("11") else ["FP16", "INT8", "TF32"])
    assert build["network"] == (0 if version.startswith("10") else 1)
    assert build["sources"] == ["EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"]
    assert build["pid"] != os.getpid()
    sidecar = json.loads(next(stand_in.cache.glob("*.json")).read_text("utf-8"))
    assert sidecar["key"]["tensorrt"] == version
    assert sidecar["build"]["layers"] == {"int8": 1, "fp16": 0, "fp32": 1, "other": 3}
    assert sidecar["build"]["quantized"] == 1
    program.close()


def test_a_run_launches_the_captured_graph(quantized_graph: Path, expected_output: Any, stand_in: Any) -> None:
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    cuda, before = stand_in.cuda, stand_in.cuda.calls.copy()
    for scale in (1, 2):
        program.inputs["x"][...] = INPUT * scale
        program.run()
    assert cuda.calls - before == {"launch": 2, "synchronize": 2}
    program.inputs["x"][...] = INPUT
    program.run()
    np.testing.assert_array_equal(program.outputs["y"], expected_output)
    assert (program.device, program.notes) == ("GPU:0 Orin", ())


def test_close_frees_everything_once(quantized_graph: Path, stand_in: Any) -> None:
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    program.close()
    program.close()
    assert stand_in.cuda.allocated == {}


def test_without_graph_capture_it_runs_and_notes_it(quantized_graph: Path, expected_output: Any, stand_in: Any) -> None:
    stand_in.configure(no_capture=True)
    program = open_backend("tensorrt").load(quantized_graph, "int8")
    np.testing.assert_array_equal(program({"x": INPUT})["y"], expected_output)
    (note,) = program.notes
    assert "without a CUDA graph" in note
    assert "cudaStreamEndCapture failed with 900" in note
    assert stand_in.cuda.calls["launch"] == 0
    program.close()
    assert stand_in.cuda.allocated == {}


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_a_failed_allocation_frees_the_earlier_ones(quantized_graph: Path, stand_in: Any, failing: int) -> None:
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    stand_in.configure(failing_allocation=failing)
    backend = open_backend("tensorrt")
    with pytest.raises(EdgeMsaError, match="cudaMalloc"):
        backend.load(quantized_graph, "int8")
    assert stand_in.cuda.calls["allocate"] == failing
    assert stand_in.cuda.allocated == {}


@pytest.mark.parametrize(
    ("setting", "message"),
    [("no_context", "Not enough memory for the activations"), ("no_start", "could not start a run")],
)
def test_a_plan_that_cannot_start_frees_its_memory(
    quantized_graph: Path, stand_in: Any, setting: str, message: str
) -> None:
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    stand_in.configure(**{setting: True})
    with pytest.raises(EdgeMsaError, match=message):
        open_backend("tensorrt").load(quantized_graph, "int8")
    assert stand_in.cuda.allocated == {}


def test_each_precision_is_built_once_with_shared_timings(quantized_graph: Path, stand_in: Any) -> None:
    backend = open_backend("tensorrt")
    for precision in ("int8", "int8", "fp32"):
        backend.load(quantized_graph, precision).close()
    first, second = stand_in.events("build")
    assert (first["flags"], second["flags"]) == (["FP16", "INT8", "TF32"], [])
    assert (first["timing"], second["timing"]) == ("", "timing 10.3.0 +")
    assert sorted(path.suffix for path in stand_in.cache.iterdir()) == [".cache", ".json", ".json", ".plan", ".plan"]


@pytest.mark.parametrize("content", [b"no timings", b"timing 8.5.2.2 +"])
def test_an_invalid_timing_cache_is_ignored(quantized_graph: Path, stand_in: Any, content: bytes) -> None:
    backend = open_backend("tensorrt")
    backend.load(quantized_graph, "int8").close()
    next(stand_in.cache.glob("timing-*")).write_bytes(content)
    backend.load(quantized_graph, "fp32").close()
    assert stand_in.events("build")[1]["timing"] == ""


def test_a_plan_of_another_version_is_never_loaded(
    quantized_graph: Path, stand_in: Any, caplog: pytest.LogCaptureFixture
) -> None:
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    (plan,) = stand_in.cache.glob("*.plan")
    old_plan, old_sidecar = plan.read_bytes(), plan.with_suffix(".json").read_bytes()
    stand_in.configure(tensorrt="10.16.2")
    backend = open_backend("tensorrt")
    backend.load(quantized_graph, "int8").close()
    (plan,) = set(stand_in.cache.glob("*.plan")) - {plan}
    # A cache whose old files were copied to the names of this version.
    plan.write_bytes(old_plan)
    plan.with_suffix(".json").write_bytes(old_sidecar)
    loads = len(stand_in.events("deserialize"))
    caplog.clear()
    backend.load(quantized_graph, "int8").close()
    expected = "(it was built for tensorrt 10.3.0, now 10.16.2); building graph.onnx at int8"
    assert expected in caplog.text
    assert len(stand_in.events("build")) == 3
    # Three loads of the new plan: inspection in the build process, check before it is stored, final load.
    assert len(stand_in.events("deserialize")) == loads + 3


def test_a_truncated_plan_is_built_again(
    quantized_graph: Path, stand_in: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_backend("tensorrt")
    backend.load(quantized_graph, "int8").close()
    (plan,) = stand_in.cache.glob("*.plan")
    content = plan.read_bytes()
    plan.write_bytes(content[:-9])
    backend.load(quantized_graph, "int8").close()
    assert f"cannot be used (it has {len(content) - 9} bytes instead of {len(content)}); building" in caplog.text
    assert plan.read_bytes() == content


@pytest.mark.parametrize(
    ("settings", "precision", "message"),
    [
        ({"build": "refuse"}, "int8", r"cannot build graph\.onnx at int8 \(Could not find any implementation"),
        ({"free_mib": 100}, "int8", "needs 512 MiB, but 100 MiB are free"),
        ({"tensorrt": "11.4.1"}, "fp16", "takes the precision from the graph"),
    ],
)
def test_a_failed_build_is_a_one_line_error(
    quantized_graph: Path, stand_in: Any, settings: dict[str, Any], precision: str, message: str
) -> None:
    stand_in.configure(**settings)
    with pytest.raises(BackendUnavailableError, match=message) as caught:
        open_backend("tensorrt").load(quantized_graph, precision)
    assert "\n" not in str(caught.value)
    assert [path for path in stand_in.cache.rglob("*") if path.suffix != ".cache"] == []


def test_a_file_that_is_not_a_graph_is_a_one_line_error(tmp_path: Path, stand_in: Any) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendUnavailableError, match=r"cannot parse broken\.onnx: Failed to parse") as caught:
        open_backend("tensorrt").load(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)
    assert list(stand_in.cache.iterdir()) == []


def test_shared_memory_uses_the_estimate_of_the_system(
    quantized_graph: Path, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.configure(free_mib=100, integrated=1)
    monkeypatch.setattr("edge_msa_runtime.backends.tensorrt.cuda.available_bytes", lambda: 600 << 20)
    open_backend("tensorrt").load(quantized_graph, "int8").close()
    assert stand_in.events("workspace") == [["WORKSPACE", 300 << 20]]


def test_without_a_driver_tensorrt_is_not_called(stand_in: Any) -> None:
    stand_in.configure(no_driver=True)  # creating the stand-in's Runtime would crash, as with TensorRT 8.6.0
    with pytest.raises(BackendUnavailableError, match="Cannot reach a CUDA driver"):
        open_backend("tensorrt")


def test_a_version_before_8_5_is_an_error(stand_in: Any) -> None:
    stand_in.configure(tensorrt="8.4.1")
    with pytest.raises(BackendUnavailableError, match=r"TensorRT must be 8\.5 or later, got 8\.4\.1"):
        open_backend("tensorrt")


def test_a_bundle_for_another_version_falls_back_with_auto(
    make_bundle: Callable[..., Path], stand_in: Any, seal: Any
) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",))
    seal(path, {"profile": {"tensorrt": "10.3", "jetpack": "6.2"}})
    stand_in.configure(tensorrt="8.5.2.2")
    message = r"TensorRT 8\.5\.2\.2 is installed, but the bundle needs 10\.3 .* \(JetPack 6\.2\)\. .* TensorRT 8\.5"
    for options in ({"backend": "tensorrt"}, {"strict": True}):
        with pytest.raises(BackendUnavailableError, match=message):
            load(path, **options)
    with load(path) as session:
        assert session.backend == "onnxruntime"
        assert "TensorRT 8.5.2.2 is installed" in session.fallbacks[0]
    assert "tensorrt" in sys.modules
    assert stand_in.events("build") == []
