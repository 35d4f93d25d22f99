from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.cli.main import main
from tests.unit.runtime.bundle.signatures import make_key, sign
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


def test_trusted_keys_are_required_by_every_command_that_loads_a_bundle(
    bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cryptography")
    monkeypatch.setenv("EDGE_MSA_STATE", str(tmp_path / "state"))
    keys, bundle = tmp_path / "keys", str(bundle_path)
    key = make_key(keys)
    trusted = ["--trusted-keys", str(keys)]
    assert main(["verify", bundle, *trusted]) == 1
    assert "is not signed" in capsys.readouterr().err
    sign(bundle_path, key, version=5)
    assert main(["verify", bundle, *trusted, "--json"]) == 0
    captured = capsys.readouterr()
    assert "Signed with release.pub" in captured.out
    assert json.loads(captured.out.splitlines()[-1])["signature"]["version"] == 5
    assert captured.err == ""
    assert main(["verify", bundle]) == 0
    assert "Its signature was not verified (--trusted-keys)" in capsys.readouterr().out
    assert main(["info", bundle]) == 0
    assert "release 5; edge-msa-run verify --trusted-keys" in capsys.readouterr().out

    monkeypatch.setenv("EDGE_MSA_TRUSTED_KEYS", str(keys))
    assert main(["bench", bundle, "--repeats", "1", "--processes", "1", "--require-signature"]) == 0
    assert main(["verify", bundle, "--minimum-version", "6"]) == 1
    sign(bundle_path, key, version=4)
    for command in (["verify", bundle], ["bench", bundle], ["build", bundle], ["predict", bundle, "--data", "x.npz"]):
        capsys.readouterr()
        assert main(command) == 1
        assert "'small', version 4, is older than version 5" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--require-signature"], ["--minimum-version", "2"]])
def test_options_of_signatures_need_trusted_keys(
    option: list[str], shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EDGE_MSA_TRUSTED_KEYS", raising=False)
    assert main(["verify", str(shared_bundle), *option]) == 2
    assert "needs trusted keys. Pass --trusted-keys, or set EDGE_MSA_TRUSTED_KEYS." in capsys.readouterr().err
