from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa_runtime.backends import BACKENDS, BackendOptions, open_backend
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, UsageError

HERE = tuple(name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name))


def _inputs(path: Path, frames: Callable[..., Any]) -> dict[str, Any]:
    del path
    return {"frames.language": frames("language", 12)[None], "valid.language": np.ones((1, 12), "f4")}


@pytest.mark.parametrize("name", HERE)
def test_a_program_called_on_arrays_gives_copies(name: str, shared_bundle: Path, frames: Callable[..., Any]) -> None:
    path = shared_bundle / "graphs/window-l.onnx"
    program = open_backend(name).load(path)
    given = _inputs(path, frames)
    first = program(given)["prediction"]
    kept = first.copy()
    program({name: value * 0 for name, value in given.items()})
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(program(given)["prediction"], kept)
    assert program.device == "CPU"


@pytest.mark.parametrize("name", HERE)
def test_bound_buffers_are_what_run_reads_and_writes(
    name: str, shared_bundle: Path, frames: Callable[..., Any]
) -> None:
    path = shared_bundle / "graphs/window-l.onnx"
    backend = open_backend(name, BackendOptions(threads=2))
    program, fresh = backend.load(path), backend.load(path)
    prediction = program.outputs["prediction"]
    for scale in (1, 2):
        given = {
            key: value * (scale if key.startswith("frames") else 1) for key, value in _inputs(path, frames).items()
        }
        for key, value in given.items():
            program.inputs[key][...] = value
        program.run()
        np.testing.assert_array_equal(prediction, fresh(given)["prediction"])


@pytest.mark.parametrize("name", HERE)
def test_inputs_that_are_not_the_graph_s_are_refused(
    name: str, shared_bundle: Path, frames: Callable[..., Any]
) -> None:
    path = shared_bundle / "graphs/window-l.onnx"
    program, given = open_backend(name).load(path), _inputs(path, frames)
    with pytest.raises(UsageError, match="the graph takes"):
        program({"frames.language": given["frames.language"]})
    with pytest.raises(UsageError, match=r"frames\.language has shape \(12, 4\)"):
        program({**given, "frames.language": given["frames.language"][0]})


@pytest.mark.parametrize("name", HERE)
def test_a_file_that_is_no_graph_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendUnavailableError, match=rf"{name} \S+ cannot load broken\.onnx") as caught:
        open_backend(name).load(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match=r"absent\.onnx is not there"):
        open_backend(name).load(tmp_path / "absent.onnx")


@pytest.mark.parametrize("name", HERE)
def test_a_graph_of_unknown_shape_is_refused(name: str, tmp_path: Path) -> None:
    puts = [helper.make_tensor_value_info(put, TensorProto.FLOAT, ["n"]) for put in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", puts[:1], puts[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "g.onnx")
    with pytest.raises(BackendUnavailableError, match="every size must be a number"):
        open_backend(name).load(tmp_path / "g.onnx")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("onnxruntime", "pip install onnxruntime"),
        ("openvino", "pip install openvino"),
        ("tensorrt", "sudo apt-get install tensorrt python3-libnvinfer"),
    ],
)
def test_a_missing_backend_is_told_with_the_command_that_installs_it(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError) as caught:
        open_backend(name)
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", HERE)
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(BackendUnavailableError, match="NPX"):
        open_backend(name, BackendOptions(device="NPX"))


def test_onnx_runtime_leaves_nothing_at_home(shared_bundle: Path, tmp_path: Path) -> None:
    code = "import sys; from edge_msa_runtime import load; load(sys.argv[1], 'onnxruntime').prepare('l')"
    homes = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    alone = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code, str(shared_bundle)], check=True, env={**alone, **homes})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_backend_gets_the_closest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'tensorrt'"):
        open_backend("tensort")


def test_backends_load_no_vendor_before_they_are_opened() -> None:
    code = "import sys, edge_msa_runtime.backends as e; print(sorted(set(e.BACKENDS) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(BACKENDS) == 3
