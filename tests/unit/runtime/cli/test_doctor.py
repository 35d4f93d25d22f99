from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Callable

import pytest

from edge_msa_runtime.cli.main import main


def test_doctor_checks_device_and_bundle(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(shared_bundle), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["can_run"]
    assert {"processor", "Python", "onnxruntime", "backend"} <= {finding["topic"] for finding in report["findings"]}


def test_doctor_needs_no_bundle() -> None:
    assert main(["doctor"]) == 0


def test_doctor_exits_with_4_if_no_backend_can_run(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["doctor", str(make_bundle(backends=("onnxruntime",), names=("language",)))]) == 4
    captured = capsys.readouterr()
    assert "Nothing can run until you fix:" in captured.out
    message = "edge-msa-run: backend: no backend of the bundle can run (onnxruntime). Suggested fix: python3 -m pip"
    assert captured.err.startswith(message)
