"""How CPU threads of a backend wait, and where they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa_runtime.backends import BackendOptions, open_backend
from edge_msa_runtime.backends.onnxruntime_backend import open_inference_session


@pytest.mark.case("F4")
@pytest.mark.parametrize("spin", [False, True])
def test_waiting_threads_spin_on_request_only(spin: bool, shared_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    session = open_inference_session(str(shared_bundle / "graphs" / "fuse.onnx"), threads=2, spin=spin)
    entry = session.get_session_options().get_session_config_entry("session.intra_op.allow_spinning")
    assert entry == ("1" if spin else "0")


@pytest.mark.case("F2")
def test_threads_of_openvino_are_not_pinned(shared_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino")
    compiled = []
    compile_model = openvino.Core.compile_model

    def record(*arguments: object) -> object:
        compiled.append(compile_model(*arguments))
        return compiled[-1]

    monkeypatch.setattr(openvino.Core, "compile_model", record)
    backend = open_backend("openvino", BackendOptions(1, ""))
    backend.load(shared_bundle / "graphs" / "fuse.onnx", "fp32")
    assert [model.get_property("ENABLE_CPU_PINNING") for model in compiled] == [False]
