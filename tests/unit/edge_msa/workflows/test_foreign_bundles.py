"""The toolkit opens bundles of others as the runtime does: nothing sees a graph that refers to other files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edge_msa.workflows.bench import bench
from edge_msa.workflows.evaluate import evaluate
from edge_msa.workflows.inspect import inspect
from edge_msa_runtime import BundleError
from edge_msa_runtime.bundle.hashing import file_sha256
from tests.unit.runtime.fake_bundles import seal, write_bundle


@pytest.fixture
def foreign_bundle(tmp_path: Path) -> Path:
    """Return a bundle whose window graph has a constant in the memory of its process."""
    folder = tmp_path / "bundle"
    write_bundle(folder, backends=["tensorrt", "openvino", "onnxruntime"], names=["audio"])
    path = folder / "graphs/window-a.onnx"
    model = onnx.load(path)
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "*/_ORT_MEM_ADDR_/*", "offset": "4096", "length": "16"}.items():
        tensor.external_data.add(key=key, value=value)
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))
    path.write_bytes(model.SerializeToString())
    files = json.loads((folder / "manifest.json").read_text())["files"]
    seal(folder, {"files": {**files, "graphs/window-a.onnx": file_sha256(path)}})
    return folder


def _never(*_: Any, **__: Any) -> Any:
    pytest.fail("a backend or the ONNX package saw the graph")


@pytest.mark.case("D1")
@pytest.mark.parametrize(
    "command",
    [
        bench,
        evaluate,
        inspect,
    ],
    ids=["bench", "evaluate", "inspect"],
)
def test_no_command_loads_a_graph_that_refers_to_memory(
    foreign_bundle: Path, command: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("loading.open_backend", "variants.load", "graphs.Graphs._load"):
        monkeypatch.setattr(f"edge_msa_runtime.{name}", _never)
    monkeypatch.setattr("onnx.load", _never)
    with pytest.raises(BundleError, match=r"window-a.onnx cannot be used: .* refers to .*_ORT_MEM_ADDR_"):
        command(foreign_bundle)
