"""`edge-msa bench --host`: what comes back, and that nothing stays there."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_msa.benchmark.records import load_records
from edge_msa.benchmark.ssh import SshHost, temporary_folder
from edge_msa_runtime.benchmark.bench import BenchResult, Latency

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult
    from tests.integration.host.conftest import Door

    Command = Callable[..., CommandResult]

HERE = platform.machine()


def test_a_device_verifies_and_measures_and_keeps_nothing(
    sshd: Door, bench: Command, tmp_path: Path, edge_msa: Command, python: str
) -> None:
    output = tmp_path / "bench.json"
    ran = bench("--python", python, "--rate", "500", "--output", output, "--json")
    assert ran.code == 0, ran.err
    assert "verified onnxruntime int8: largest difference" in ran.err
    assert "installing numpy, onnxruntime into 127.0.0.1:" in ran.err
    if HERE == "x86_64":  # the bundle's first backend was not asked for, and is not in the environment
        assert "note: 127.0.0.1, openvino: No module named 'openvino'; there: python3 -m pip install" in ran.err
    assert sshd.left == []
    records = {record.precision: record for record in load_records([output]).benches}
    assert set(records) == {"fp32", "int8"}
    for record in records.values():
        assert record.on_target
        assert set(record.latency_ms) == {"l", "a", "v", "la", "lv", "av", "lav"}
        assert record.machine["rate_hz"] == "500"
        assert record.machine["onnxruntime"] == importlib.metadata.version("onnxruntime")
        assert 0 < (record.peak_memory_mib or 0) < 400
    assert json.loads(ran.out.splitlines()[-1])["records"][0]["backend"] == "onnxruntime"
    assert edge_msa("report", output, "--output", tmp_path / "report.html").code == 0


def test_what_still_runs_from_the_folder_is_ended_before_it_is_removed(sshd: Door) -> None:
    host = SshHost("127.0.0.1", sshd.options[1::2])
    with temporary_folder(host) as folder:
        host.run(f"nohup sh -c 'sleep 100; : {folder}' >/dev/null 2>&1 & echo started", "beginning something long")
        assert _running(folder)
    assert not _running(folder)
    assert sshd.left == []


def _running(folder: str) -> list[str]:
    """Command lines that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            found += [line] if folder in line else []
    return found


def test_offline_nothing_but_the_wheel_is_installed(sshd: Door, bench: Command, python: str) -> None:
    ran = bench("--python", python, "--offline")
    assert ran.code == 0, ran.err
    assert "installing" not in ran.err
    assert sshd.left == []


def test_a_folder_is_kept_when_that_is_asked_for(sshd: Door, bench: Command, python: str) -> None:
    ran = bench("--python", python, "--keep")
    assert ran.code == 0, ran.err
    (kept,) = sshd.left
    assert f"{sshd.place / kept} is kept" in ran.err
    shutil.rmtree(sshd.place / kept)


# A Python that writes down what it is asked, and answers as one on a Jetson would.
JETSON = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *cuda_python_requirement*) echo 'cuda-python>=12,<13' ;;
  -c*) echo '[[3, 10], "{machine}", true]' ;;
  *"-m venv"*) for last; do :; done; mkdir -p $last/bin; cp {me} $last/bin/python ;;
  *"edge_msa_runtime doctor"*) echo '{{"findings": [{finding}], "can_run": true}}' ;;
  *"edge_msa_runtime verify"*) echo '[{{"backend": "tensorrt", "precision": "fp16", "largest_difference": 1e-3}}]' ;;
  *"edge_msa_runtime bench"*) echo '[{result}]' ;;
esac
"""


def test_a_jetson_gives_its_own_tensorrt_and_the_cuda_python_that_goes_with_it(
    sshd: Door, bundle: Path, edge_msa: Command, tmp_path: Path, seal: Callable[..., None]
) -> None:
    changed = shutil.copytree(bundle, tmp_path / "changed")
    seal(changed, backends=["tensorrt", "onnxruntime"], precision={"tensorrt": "fp16"})
    slow = {"topic": "power mode", "status": "problem", "detail": "15W", "fix": "sudo nvpmodel -m 2", "blocking": False}
    latency = Latency("lav", {"language": 5}, from_text=False, predictions=200, p50_ms=1.0, p90_ms=1.5, p99_ms=2.0)
    result = BenchResult(
        *("changed", "jetson", "tensorrt", "10.3.0", "GPU:0 Orin", "fp16", 1, 700.0, 1000, 2**28, (latency,)),
        machine={"machine": "Jetson", "l4t": "R36"},
        before={"power_mode": "15W"},
        after={"power_mode": "15W"},
    )
    told = {"finding": json.dumps(slow), "result": json.dumps(result.to_json())}
    log, me = tmp_path / "asked", sshd.programs / "jetson"
    sshd.program("jetson", JETSON.format(log=log, me=me, machine=HERE, **told))
    output = tmp_path / "bench.json"
    ran = edge_msa("bench", changed, "--host", "127.0.0.1", "--python", me, "--output", output, *sshd.options)
    assert ran.code == 0, ran.err
    assert "note: 127.0.0.1, power mode: 15W; there: sudo nvpmodel -m 2" in ran.err
    asked = log.read_text()
    assert "-m venv --system-site-packages " in asked
    assert "-py3-none-any.whl[onnxruntime]\n" in asked
    assert " cuda-python>=12,<13\n" in asked
    (record,) = load_records([output]).benches
    assert (record.backend, record.device, record.latency_ms["lav"]["p99"]) == ("tensorrt", "GPU:0 Orin", 2.0)
    assert (record.machine["l4t"], record.machine["before"]) == ("R36", "power mode 15W")
    assert (record.chosen, record.load_ms, record.peak_memory_mib) == (True, 700.0, 256.0)
    assert sshd.left == []
