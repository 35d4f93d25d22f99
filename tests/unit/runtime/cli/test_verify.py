from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.cli.main import main
from tests.unit.runtime.fake_bundles import golden_scale


def test_verify_passes_on_an_intact_bundle(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    assert main(["verify", str(shared_bundle), "--backend", "openvino", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["passed"]
    assert "14 of 14 golden predictions match with openvino on CPU at fp32" in out
    assert "consistent with its own manifest. It is not signed" in out


def test_verify_all_skips_missing_backends(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = str(make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",)))
    assert main(["verify", path, "--all", "--json"]) == 0
    captured = capsys.readouterr()
    (result,) = json.loads(captured.out.splitlines()[-1])
    assert (result["backend"], result["precision"], result["passed"]) == ("onnxruntime", "fp32", True)
    assert result["largest_difference"] < 1e-5 * golden_scale(Path(path))
    assert "note: skipped: Cannot import tensorrt" in captured.err
    assert main(["verify", path, "--all", "--strict"]) == 4
    assert main(["verify", path, "--all", "--backend", "tensorrt"]) == 4
    assert main(["verify", path, "--all", "--precision", "fp32"]) == 2


def test_verify_exits_with_3_if_a_prediction_differs(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(make_bundle(golden_error=0.5, names=("language",))), "--json"]) == 3
    captured = capsys.readouterr()
    assert not json.loads(captured.out.splitlines()[-1])["passed"]
    assert len(captured.err.splitlines()) == 1


def test_verify_runs_tensorrt_plans(
    make_bundle: Callable[..., Path],
    stand_in: Any,
    seal: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",))
    seal(path, {"profile": {"tensorrt": "10.3", "jetpack": "6.2"}})
    assert main(["verify", str(path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["backend"], result["device"]) == ("tensorrt", "GPU:0 Orin")
    assert result["passed"]
    assert (len(result["checks"]), result["notes"]) == (2, [])
    assert stand_in.cuda.allocated == {}
