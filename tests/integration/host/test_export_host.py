"""`edge-msa export --host`: the target itself measures what is chosen."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult
    from tests.integration.host.conftest import Door

    Command = Callable[..., CommandResult]

HERE = platform.machine()


def test_auto_chooses_by_what_the_target_itself_measures(
    sshd: Door, calibrated_runs: dict[str, Path], edge_msa: Command, tmp_path: Path, python: str
) -> None:
    common = ("--target", "laptop-x86" if HERE == "x86_64" else "laptop-arm", "--model", calibrated_runs["streams"])
    there = ("--host", "127.0.0.1", *sshd.options, "--python", python, "--offline", "--max-drop", "100")
    ran = edge_msa("export", *common, *there, "--output-dir", tmp_path / "bundle")
    assert ran.code == 0, ran.err
    assert "verified onnxruntime int8" in ran.err
    timed = next(line for line in ran.out.splitlines() if line.startswith("onnxruntime:"))
    assert re.search(r"fp32 0\.\d+ ms, int8 0\.\d+ ms\)", timed), timed
    untimed = next(line for line in ran.out.splitlines() if line.startswith("openvino:"))
    assert "executes neither here nor on a --host" in untimed  # that Python has no OpenVINO
    assert sshd.left == []


def test_a_target_that_the_host_is_not_is_refused_before_anything_is_built(
    sshd: Door, calibrated_runs: dict[str, Path], edge_msa: Command, tmp_path: Path, python: str
) -> None:
    other = "raspberry-pi" if HERE == "x86_64" else "laptop-x86"
    common = ("--target", other, "--model", calibrated_runs["streams"], "--output-dir", tmp_path / "bundle")
    ran = edge_msa("export", *common, "--host", "127.0.0.1", *sshd.options, "--python", python)
    assert (ran.code, (tmp_path / "bundle").exists()) == (4, False)
    assert f"127.0.0.1 is {HERE}" in ran.error_line
    ran = edge_msa("export", *common, "--host", "127.0.0.1", "--precision", "int8")
    assert ran.code == 2
    assert "leave --precision int8 or it out" in ran.error_line
