"""`edge-msa bench --host`: bundles are measured, and no files remain on the device."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_msa.benchmark.records import load_records
from edge_msa.benchmark.ssh import SshHost, temporary_folder
from edge_msa_runtime.benchmark.bench import BenchResult, Latency
from edge_msa_runtime.benchmark.latency_statistics import Measured
from edge_msa_runtime.doctor.findings import PROBLEM, Finding

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult
    from tests.integration.host.conftest import SshDevice

    Command = Callable[..., CommandResult]

ARCHITECTURE = platform.machine()


def test_bundles_are_verified_and_measured_on_a_device(
    sshd: SshDevice, bench: Command, tmp_path: Path, edge_msa: Command, python: str
) -> None:
    output = tmp_path / "bench.json"
    result = bench("--python", python, "--rate", "500", "--output", output, "--json")
    assert result.code == 0, result.err
    assert "Verified onnxruntime int8: largest difference" in result.err
    assert "Installing numpy, onnxruntime into 127.0.0.1:" in result.err
    if ARCHITECTURE == "x86_64":  # the other backend of the bundle is not installed on the device
        assert "note: 127.0.0.1, openvino: " in result.err
    assert sshd.remaining == []
    records = {record.precision: record for record in load_records([output]).benches}
    assert set(records) == {"fp32", "int8"}
    for record in records.values():
        assert record.on_target
        assert set(record.latency_ms) == {"l", "a", "v", "la", "lv", "av", "lav"}
        assert record.rate_hz == 500
        assert record.machine["onnxruntime"] == importlib.metadata.version("onnxruntime")
        assert record.peak_memory_mib is not None
        assert 0 < record.peak_memory_mib.value < 400
    assert json.loads(result.out.splitlines()[-1])["records"][0]["backend"] == "onnxruntime"
    assert edge_msa("report", output, "--output", tmp_path / "report.html").code == 0


def test_processes_in_the_temporary_folder_are_stopped(sshd: SshDevice) -> None:
    host = SshHost("127.0.0.1", sshd.options[1::2])
    with temporary_folder(host) as folder:
        host.run(f"nohup sh -c 'sleep 100; : {folder}' >/dev/null 2>&1 & echo started", "starting a slow process")
        assert processes_with(folder)
    assert not processes_with(folder)
    assert sshd.remaining == []


def processes_with(folder: str) -> list[str]:
    """Return the command lines that contain the folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            lines += [line] if folder in line else []
    return lines


def test_offline_installs_nothing(sshd: SshDevice, bench: Command, python: str) -> None:
    result = bench("--python", python, "--offline")
    assert result.code == 0, result.err
    assert "Installing" not in result.err
    assert sshd.remaining == []


def test_keep_leaves_the_temporary_folder(sshd: SshDevice, bench: Command, python: str) -> None:
    result = bench("--python", python, "--keep")
    assert result.code == 0, result.err
    (name,) = sshd.remaining
    assert f"{sshd.temporary / name} is kept" in result.err
    shutil.rmtree(sshd.temporary / name)


# A Python interpreter that logs its arguments, and answers like one on a Jetson.
JETSON = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *doctor*cuda_python*) echo 'cuda-python>=12,<13' ;;
  -c*) echo '[[3, 10], "{machine}", true]' ;;
  *"-m venv"*) for last; do :; done; mkdir -p $last/bin; cp {interpreter} $last/bin/python ;;
  *"edge_msa_runtime doctor"*) echo '{{"findings": [{finding}], "runs": true}}' ;;
  *"edge_msa_runtime verify"*) echo '[{{"backend": "tensorrt", "precision": "fp16", "largest_difference": 1e-3}}]' ;;
  *"edge_msa_runtime bench"*) echo '[{result}]' ;;
esac
"""


@pytest.mark.parametrize(
    ("profile", "installed"),
    [
        ({"jetpack": "6.2", "tensorrt": "10.3"}, ("-py3-none-any.whl[onnxruntime]\n", " cuda-python>=12,<13\n")),
        (
            {"architecture": "x86_64", "tensorrt": "10.3"},
            ("-py3-none-any.whl[onnxruntime,tensorrt] tensorrt>=10.3,<11\n",),
        ),
    ],
    ids=["jetson", "desktop"],
)
def test_a_jetson_uses_its_own_tensorrt_and_a_desktop_that_of_pip(
    profile: dict[str, str],
    installed: tuple[str, ...],
    sshd: SshDevice,
    bundle: Path,
    edge_msa: Command,
    tmp_path: Path,
    change_manifest: Callable[..., None],
) -> None:
    changed = shutil.copytree(bundle, tmp_path / "changed")
    machine = profile.setdefault("architecture", ARCHITECTURE)
    change_manifest(changed, backends=["tensorrt", "onnxruntime"], precision={"tensorrt": "fp16"}, profile=profile)
    finding = Finding("power mode", PROBLEM, "15W", "sudo nvpmodel -m 2")
    latency = Latency(
        "lav",
        {"language": 5},
        from_text=False,
        predictions=700,
        latency_ms={"p99": Measured(2.0)},
    )
    measured = BenchResult(
        *("changed", "jetson", "tensorrt", "10.3.0", "GPU:0 Orin", "fp16", 1, 1000, (latency,)),
        load_ms=Measured(700.0),
        peak_memory_mib=Measured(256.0),
        machine={"machine": "Jetson", "l4t": "R36"},
        before={"power_mode": "15W"},
        after={"power_mode": "15W"},
    )
    log, interpreter = tmp_path / "arguments", sshd.programs / "jetson"
    script = JETSON.format(
        log=log,
        interpreter=interpreter,
        machine=machine,
        finding=json.dumps(dataclasses.asdict(finding)),
        result=json.dumps(measured.to_json()),
    )
    sshd.add_program("jetson", script)
    output = tmp_path / "bench.json"
    options = ("--host", "127.0.0.1", "--python", interpreter, "--output", output, *sshd.options)
    result = edge_msa("bench", changed, *options)
    assert result.code == 0, result.err
    problem = "note: 127.0.0.1, power mode: 15W. Suggested fix, on the device: sudo nvpmodel -m 2"
    assert problem in result.err
    arguments = log.read_text()
    assert "-m venv --system-site-packages " in arguments
    assert all(requirements in arguments for requirements in installed)
    assert arguments.count("cuda-python") == ("jetpack" in profile)
    (record,) = load_records([output]).benches
    assert (record.backend, record.device, record.latency_values()["lav"]["p99"]) == ("tensorrt", "GPU:0 Orin", 2.0)
    assert (record.machine["l4t"], record.before) == ("R36", {"power_mode": "15W"})
    assert (record.chosen, record.load_ms, record.peak_memory_mib) == (True, Measured(700.0), Measured(256.0))
    assert sshd.remaining == []
