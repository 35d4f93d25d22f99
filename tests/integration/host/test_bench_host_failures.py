"""Failures of `edge-msa bench --host`: one error line, an exit code, and no files remain on the device."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult, PipelineRun
    from tests.integration.host.conftest import SshDevice

    Command = Callable[..., CommandResult]

ARCHITECTURE = platform.machine()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--python", "/nowhere/python3"], 4, "Cannot run /nowhere/python3"),
        (["--python", "old"], 4, "must be 3.8 or newer, got 3.6"),
        (["--python", "other"], 4, f"is for {ARCHITECTURE}, but 127.0.0.1 is sparc"),
        (["--python", "bare"], 4, "sudo apt-get install python3-venv"),
        (["--python", "full"], 1, "No space left on 127.0.0.1 while creating a virtual environment"),
        (["--python", "lost"], 4, "Cannot reach 127.0.0.1 while creating a virtual environment"),
        (["--ssh-option", "Port"], 2, "must be NAME=VALUE"),
    ],
)
def test_failures_on_the_device_are_one_line(
    sshd: SshDevice, bench: Command, arguments: list[str], code: int, message: str
) -> None:
    for name, version, machine, complete in (
        ("old", [3, 6], ARCHITECTURE, True),
        ("other", [3, 10], "sparc", True),
        ("bare", [3, 10], ARCHITECTURE, False),
        ("full", [3, 10], ARCHITECTURE, True),
        ("lost", [3, 10], ARCHITECTURE, True),
    ):
        sshd.add_program(name, _stand_in(name, json.dumps([version, machine, complete])))
    result = bench(*arguments)
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("edge-msa: ")]
    assert message in line
    assert sshd.remaining == []


def _stand_in(name: str, answer: str) -> str:
    """Return a script that answers like a Python interpreter, and fails to create an environment."""
    failures = {
        "full": 'echo "[Errno 28] No space left on device" >&2; exit 1',
        # Kills the sshd of the connection: the first process of that name among the parents.
        "lost": (
            "p=$$; until grep -q '^Name:.*sshd' /proc/$p/status; "
            "do p=$(sed -n 's/^PPid:.//p' /proc/$p/status); done; kill -9 $p; sleep 5"
        ),
    }
    return f"#!/bin/sh\ncase $1 in -c) echo '{answer}';; *) {failures.get(name, 'exit 1')};; esac\n"


def test_a_full_device_is_reported_while_copying(sshd: SshDevice, bench: Command, python: str) -> None:
    tar = sshd.add_program(
        "tar", '#!/bin/sh\necho "tar: ./graphs: Cannot write: No space left on device" >&2\nexit 2\n'
    )
    result = bench("--python", python)
    tar.unlink()
    assert result.code == 1
    assert "No space left on 127.0.0.1 while copying the bundle. Free some space there (df -h)." in result.err
    assert sshd.remaining == []


@pytest.mark.parametrize(
    ("address", "options", "code", "message"),
    [
        ("127.0.0.1", ("Port=1",), 4, "Connection refused. Try it yourself: ssh -o Port="),
        ("no-such-host.invalid", (), 4, "Cannot reach no-such-host.invalid while checking its Python version"),
        ("-oProxyCommand=true", (), 2, "must be user@device"),
    ],
)
def test_an_unreachable_device_is_one_line(
    pipeline_run: PipelineRun, edge_msa: Command, address: str, options: tuple[str, ...], code: int, message: str
) -> None:
    bundle = pipeline_run.folder / "bundle-laptop"
    result = edge_msa("bench", bundle, f"--host={address}", *(f"--ssh-option={option}" for option in options))
    assert result.code == code
    assert message in result.error_line


def test_a_host_with_an_unknown_key_is_unreachable(
    sshd: SshDevice, bundle: Path, edge_msa: Command, tmp_path: Path
) -> None:
    strict = ("--ssh-option", "StrictHostKeyChecking=yes", "--ssh-option", f"UserKnownHostsFile={tmp_path / 'none'}")
    result = edge_msa("bench", bundle, "--host", "127.0.0.1", *strict, *sshd.options)
    assert result.code == 4
    assert "Host key verification failed" in result.error_line


def test_different_golden_predictions_exit_with_3(
    sshd: SshDevice, bundle: Path, edge_msa: Command, tmp_path: Path, python: str, change_manifest: Callable[..., None]
) -> None:
    changed = shutil.copytree(bundle, tmp_path / "changed")
    golden = dict(np.load(changed / "golden.npz"))
    np.savez(changed / "golden.npz", **{name: value + name.endswith("/prediction") for name, value in golden.items()})
    change_manifest(changed, files={"golden.npz": hashlib.sha256((changed / "golden.npz").read_bytes()).hexdigest()})
    command = ("bench", changed, "--host", "127.0.0.1", "--python", python, "--backend", "onnxruntime")
    result = edge_msa(*command, *sshd.options)
    assert result.code == 3
    assert sshd.remaining == []


@pytest.mark.case("D5")
@pytest.mark.parametrize("arguments", [(), ("--offline",)])
def test_the_wheel_of_a_foreign_bundle_is_never_run(
    sshd: SshDevice,
    bundle: Path,
    edge_msa: Command,
    tmp_path: Path,
    python: str,
    change_manifest: Callable[..., None],
    arguments: tuple[str, ...],
) -> None:
    changed = shutil.copytree(bundle, tmp_path / "changed")
    (wheel,) = changed.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("numpy_helper.pth", "import os; os._exit(77)")
        archive.writestr("sitecustomize.py", "import os; os._exit(77)")
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in content.items():
            is_main = name == "edge_msa_runtime/cli/main.py"
            archive.writestr(name, b"import os; os._exit(77)\n" + data if is_main else data)
    change_manifest(changed, files={wheel.name: hashlib.sha256(wheel.read_bytes()).hexdigest()})
    (changed / ".DS_Store").touch()
    options = (
        "--host",
        "127.0.0.1",
        "--python",
        python,
        "--backend",
        "onnxruntime",
        "--repeats",
        "3",
        "--processes",
        "1",
    )
    result = edge_msa("bench", changed, *options, *sshd.options, *arguments)
    assert result.code == 0, result.err
    assert f"note: The runtime in {json.loads((bundle / 'manifest.json').read_text())['name']} differs" in result.err
    assert "note: Ignored, because the manifest does not list them: .DS_Store" in result.err
    assert sshd.remaining == []


def test_host_options_need_a_host(tmp_path: Path, edge_msa: Command) -> None:
    result = edge_msa("bench", tmp_path, "--keep")
    assert result.code == 2
    assert "need --host" in result.error_line
