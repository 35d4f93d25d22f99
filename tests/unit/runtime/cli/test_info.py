from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_msa_runtime.cli.main import main


def test_info_describes_the_bundle(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(shared_bundle), "--json"]) == 0
    out = capsys.readouterr().out
    description = json.loads(out.splitlines()[-1])
    assert description["modalities"]["audio"] == {"dim": 2, "chunk": 5, "window": 15, "frame_rate_hz": None}
    assert [backend["name"] for backend in description["backends"]] == ["onnxruntime", "openvino"]
    assert "fake for laptop-x86: mosi (negative, neutral, positive)" in out
