from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge_msa.benchmark.other_quantizers import (
    Inputs,
    QuantizedBackend,
    RecordingBackend,
    nncf_default,
    onnxruntime_dynamic,
    open_on_backend,
)
from edge_msa.benchmark.random_bundles import random_bundle
from edge_msa.models.student import StudentConfig
from edge_msa_runtime import load
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.errors import BackendUnavailableError

DIMS = {"language": 4, "audio": 3}
FRAMES: dict[str, Any] = {
    name: np.random.default_rng(1).standard_normal((5, dim)).astype(np.float32) for name, dim in DIMS.items()
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle() -> Iterator[Bundle]:
    config = StudentConfig(DIMS, width=32, blocks=1, tokens=1, hidden=16)
    with random_bundle("small", config, dict.fromkeys(DIMS, 6), ("fp32",)) as path:
        yield open_bundle(path)


def fp32_score(bundle: Bundle) -> float:
    with load(bundle.path, backend="onnxruntime", precision="fp32") as session:
        return session.predict(**FRAMES).outputs[0]


def test_dynamically_quantized_graphs_predict_nearly_the_same_through_a_session(bundle: Bundle, tmp_path: Path) -> None:
    backend = QuantizedBackend(open_backend("onnxruntime"), onnxruntime_dynamic, tmp_path)
    with open_on_backend(bundle, backend) as session:
        score = session.predict(**FRAMES).outputs[0]

    written = [onnx.load(path) for path in tmp_path.glob("dynamic-*.onnx")]
    assert {"ConvInteger", "MatMulInteger"} & {node.op_type for model in written for node in model.graph.node}
    assert score == pytest.approx(fp32_score(bundle), abs=0.1 * max(1.0, abs(fp32_score(bundle))))
    assert score != fp32_score(bundle)
    assert backend.size_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_recording_backend_keeps_the_inputs_of_every_run_up_to_a_limit(bundle: Bundle) -> None:
    backend = RecordingBackend(open_backend("onnxruntime"), limit=3)
    with open_on_backend(bundle, backend) as session:
        scores = [session.predict(**FRAMES).outputs[0] for _ in range(4)]

    recorded = backend.recorded["window-la.onnx"]
    assert len(recorded) == 3
    np.testing.assert_array_equal(recorded[0]["frames.audio"][0, :5], FRAMES["audio"])
    assert scores == pytest.approx([fp32_score(bundle)] * 4)


def test_a_missing_nncf_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)

    with pytest.raises(BackendUnavailableError, match=r"pip install 'edge-msa\[peers\]'"):
        nncf_default({})


@pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs nncf")
@pytest.mark.filterwarnings("ignore")  # NNCF's own
def test_nncf_quantizes_the_graphs_that_ran_and_no_others(bundle: Bundle, tmp_path: Path) -> None:
    inputs: Inputs = {
        "frames.language": np.zeros((1, 6, 4), np.float32),
        "valid.language": np.ones((1, 6), np.float32),
        "frames.audio": np.zeros((1, 6, 3), np.float32),
        "valid.audio": np.ones((1, 6), np.float32),
    }
    quantize = nncf_default({"window-la.onnx": [inputs]})
    graphs = bundle.path / "graphs" / "onnx" / "fp32"

    assert quantize(graphs / "window-l.onnx", tmp_path) == graphs / "window-l.onnx"
    assert quantize(graphs / "window-la.onnx", tmp_path).suffix == ".xml"
