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

from edge_msa_runtime.backend_info import BACKEND_INFO
from edge_msa_runtime.backends import BACKENDS, BackendOptions, open_backend
from edge_msa_runtime.errors import BackendUnavailableError, BundleError, UsageError

INSTALLED = tuple(name for name in ("onnxruntime", "openvino") if importlib.util.find_spec(name))


@pytest.fixture
def graph(shared_bundle: Path) -> Path:
    return shared_bundle / "graphs/window-l.onnx"


@pytest.fixture
def inputs(frames: Callable[..., Any]) -> dict[str, Any]:
    return {"frames.language": frames("language", 12)[None], "valid.language": np.ones((1, 12), "f4")}


@pytest.mark.parametrize("name", INSTALLED)
def test_calling_a_program_returns_copies(name: str, graph: Path, inputs: dict[str, Any]) -> None:
    program = open_backend(name).load(graph)
    first = program(inputs)["prediction"]
    expected = first.copy()
    program({name: value * 0 for name, value in inputs.items()})
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(program(inputs)["prediction"], expected)
    assert program.device == "CPU"


@pytest.mark.parametrize("name", INSTALLED)
def test_run_uses_the_bound_buffers(name: str, graph: Path, inputs: dict[str, Any]) -> None:
    backend = open_backend(name, BackendOptions(threads=2))
    program, other = backend.load(graph), backend.load(graph)
    prediction = program.outputs["prediction"]
    for scale in (1, 2):
        scaled = {key: value * (scale if key.startswith("frames") else 1) for key, value in inputs.items()}
        for key, value in scaled.items():
            program.inputs[key][...] = value
        program.run()
        np.testing.assert_array_equal(prediction, other(scaled)["prediction"])


@pytest.mark.parametrize("name", INSTALLED)
def test_inputs_must_match_the_graph(name: str, graph: Path, inputs: dict[str, Any]) -> None:
    program = open_backend(name).load(graph)
    with pytest.raises(UsageError, match=r"The inputs must be \['frames.language', 'valid.language'\]"):
        program({"frames.language": inputs["frames.language"]})
    with pytest.raises(UsageError, match=r"frames\.language must have shape \(1, 12, 4\), got \(12, 4\)"):
        program({**inputs, "frames.language": inputs["frames.language"][0]})


@pytest.mark.parametrize("name", INSTALLED)
def test_a_file_that_is_not_a_graph_is_a_one_line_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendUnavailableError, match=rf"{name} \S+ cannot load broken\.onnx") as caught:
        open_backend(name).load(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises(BundleError, match=r"absent\.onnx does not exist"):
        open_backend(name).load(tmp_path / "absent.onnx")


@pytest.mark.parametrize("name", INSTALLED)
def test_a_dynamic_shape_is_an_error(name: str, tmp_path: Path) -> None:
    tensors = [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["n"]) for tensor in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "g.onnx")
    with pytest.raises(BackendUnavailableError, match="must have a static shape"):
        open_backend(name).load(tmp_path / "g.onnx")


@pytest.mark.parametrize(
    ("name", "machine", "command"),
    [
        ("onnxruntime", "x86_64", "pip install onnxruntime"),
        ("openvino", "x86_64", "pip install openvino"),
        ("tensorrt", "aarch64", "sudo apt-get install tensorrt python3-libnvinfer"),
        ("tensorrt", "x86_64", "python3 -m pip install 'tensorrt>=10.3,<11' cuda-python"),
    ],
)
def test_a_missing_backend_error_names_the_install_command(
    name: str, machine: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError) as caught:
        open_backend(name)
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", INSTALLED)
def test_an_unknown_device_is_an_error(name: str) -> None:
    with pytest.raises(BackendUnavailableError, match="NPX"):
        open_backend(name, BackendOptions(device="NPX"))


@pytest.mark.parametrize("threads", [0, 257])
def test_the_number_of_threads_is_limited(threads: int) -> None:
    with pytest.raises(UsageError, match=f"threads must be between 1 and 256, got {threads}"):
        BackendOptions(threads=threads)


def test_onnxruntime_writes_nothing_to_the_home_folder(shared_bundle: Path, tmp_path: Path) -> None:
    code = "import sys; from edge_msa_runtime import load; load(sys.argv[1], 'onnxruntime').prepare('l')"
    folders = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code, str(shared_bundle)], check=True, env={**environment, **folders})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_backend_error_suggests_the_closest_name() -> None:
    with pytest.raises(UsageError, match=r"Unknown backend 'tensort'\. Did you mean 'tensorrt'\? Available: onnx"):
        open_backend("tensort")


def test_importing_backends_imports_no_vendor_package() -> None:
    code = "import sys, edge_msa_runtime.backends as b; print(sorted(set(b.BACKENDS) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_opens_under_its_own_name(name: str) -> None:
    opened, message = "", ""
    try:
        opened = open_backend(name).name
    except BackendUnavailableError as error:
        message = str(error)
    assert opened == name or BACKEND_INFO[name].title.lower() in message.lower()
