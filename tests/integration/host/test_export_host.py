"""`edge-msa export --host`: precisions are chosen by their latency on the target itself."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult
    from tests.integration.host.conftest import SshDevice

    Command = Callable[..., CommandResult]

ARCHITECTURE = platform.machine()


def test_latency_is_measured_on_the_host(
    sshd: SshDevice, calibrated_run: Callable[[str], Path], edge_msa: Command, tmp_path: Path, python: str
) -> None:
    common = (
        "--target",
        "laptop-x86" if ARCHITECTURE == "x86_64" else "laptop-arm",
        calibrated_run("streams"),
    )
    host = ("--host", "127.0.0.1", *sshd.options, "--python", python, "--offline", "--max-drop", "100")
    host += ("--allow-worse-than-constant",)
    result = edge_msa("export", *common, *host, "--output-dir", tmp_path / "bundle")
    assert result.code == 0, result.err
    assert "Verified onnxruntime int8" in result.err
    measured = next(line for line in result.out.splitlines() if line.startswith("onnxruntime:"))
    assert re.search(r"fp32 [\d.]+ ms, int8 [\d.]+ ms\)", measured), measured
    unknown = next(line for line in result.out.splitlines() if line.startswith("openvino:"))
    assert "latency unknown" in unknown  # OpenVINO is not installed there
    assert sshd.remaining == []


def test_a_host_of_another_architecture_is_rejected_first(
    sshd: SshDevice, calibrated_run: Callable[[str], Path], edge_msa: Command, tmp_path: Path, python: str
) -> None:
    other = "raspberry-pi" if ARCHITECTURE == "x86_64" else "laptop-x86"
    common = ("--target", other, calibrated_run("streams"), "--output-dir", tmp_path / "bundle")
    result = edge_msa("export", *common, "--host", "127.0.0.1", *sshd.options, "--python", python)
    assert (result.code, (tmp_path / "bundle").exists()) == (4, False)
    assert f"but 127.0.0.1 is {ARCHITECTURE}" in result.error_line
    result = edge_msa("export", *common, "--host", "127.0.0.1", "--precision", "int8")
    assert result.code == 2
    assert "leave --precision int8 or it out" in result.error_line
