"""TensorRT itself, on machines with a GPU; and the check script for such machines, with the stand-in."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge_msa_runtime import BackendUnavailableError, load
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.verification import verify_bundle
from tests.locations import REPOSITORY
from tests.tolerances import assert_close_to_scale

SCRIPT = REPOSITORY / "tests" / "gpu" / "check_tensorrt.py"


@pytest.fixture(scope="module")
def script() -> Any:
    """The check script as a module."""
    spec = importlib.util.spec_from_file_location("check_tensorrt", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorRT on the first GPU, with an empty cache."""
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "cache"))
    try:
        return open_backend("tensorrt")
    except BackendUnavailableError as error:
        pytest.skip(f"TensorRT is not available: {error}")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_quantized_graph_agrees_with_onnxruntime(gpu: Any, quantized_graph: Path, precision: str) -> None:
    inputs = {"x": np.array([[0.5, -1, 0.25, 2]], "f4")}
    session: Any = onnxruntime.InferenceSession(str(quantized_graph), providers=["CPUExecutionProvider"])
    program = gpu.load(quantized_graph, precision)
    for _ in range(3):
        assert_close_to_scale(program(inputs)["y"], session.run(None, inputs)[0], rtol=1e-3)
    assert program.notes == ()
    program.close()


@pytest.mark.usefixtures("gpu")
def test_a_bundle_verifies_on_the_gpu(make_bundle: Callable[..., Path]) -> None:
    with load(make_bundle(backends=("tensorrt",)), "tensorrt") as session:
        assert verify_bundle(session).passed


@pytest.mark.parametrize("version", ["8.6.0", "11.4.1"])
def test_the_script_detects_different_predictions(
    version: str,
    script: Any,
    make_bundle: Callable[..., Path],
    tmp_path: Path,
    stand_in: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stand_in.configure(tensorrt=version)
    path = str(make_bundle(backends=("tensorrt",), names=("language",)))
    predictions, out = tmp_path / "predictions.json", tmp_path / "checked.json"
    assert script.main(["record", path, "--out", str(predictions)]) == 0
    arguments = ["check", path, "--out", str(out), "--repeats", "3", "--predictions", str(predictions)]
    assert script.main(arguments) == 0
    assert "Missing names: none." in capsys.readouterr().out
    report = json.loads(out.read_text("utf-8"))
    assert (report["tensorrt"], report["device"]) == (version, "GPU:0 Orin")
    (result,) = report["results"]
    assert (result["passed"], result["onnxruntime_differences"]) == (True, {"l": 0.0})
    changed = json.loads(predictions.read_text("utf-8"))
    for samples in changed.values():
        samples["l"][0][0] += 1
    predictions.write_text(json.dumps(changed), encoding="utf-8")
    assert script.main(arguments) == 3
    assert "DIFFERS" in capsys.readouterr().out


def test_the_script_exits_with_4_without_a_gpu(
    script: Any, tmp_path: Path, stand_in: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in.configure(no_driver=True)
    assert script.main(["check", "nowhere", "--out", str(tmp_path / "out.json")]) == 4
    error = capsys.readouterr().err
    assert error.startswith("error: nothing can be checked: Cannot reach a CUDA driver")
    assert len(error.splitlines()) == 1
