"""`edge-msa bench --host` where something is wrong: one line, an exit code, nothing left there."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult
    from tests.integration.host.conftest import Door

    Command = Callable[..., CommandResult]

HERE = platform.machine()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--python", "/nowhere/python3"], 4, "/nowhere/python3 does not run"),
        (["--python", "old"], 4, "has Python 3.6, the runtime needs 3.8"),
        (["--python", "other"], 4, f"the bundle is for {HERE}, 127.0.0.1 is sparc"),
        (["--python", "bare"], 4, "sudo apt-get install python3-venv"),
        (["--python", "full"], 1, "no space left on 127.0.0.1 while making an environment"),
        (["--python", "lost"], 4, "127.0.0.1 is not reached while making an environment"),
        (["--ssh-option", "Port"], 2, "give NAME=VALUE"),
    ],
)
def test_what_goes_wrong_on_the_device_is_one_line(
    sshd: Door, bench: Command, arguments: list[str], code: int, said: str
) -> None:
    for name, version, machine, complete in (
        ("old", [3, 6], HERE, True),
        ("other", [3, 10], "sparc", True),
        ("bare", [3, 10], HERE, False),
        ("full", [3, 10], HERE, True),
        ("lost", [3, 10], HERE, True),
    ):
        sshd.program(name, _stand_in(name, json.dumps([version, machine, complete])))
    ran = bench(*arguments)
    assert ran.code == code, ran.err
    assert "Traceback" not in ran.err
    (line,) = [line for line in ran.err.splitlines() if line.startswith("edge-msa: ")]
    assert said in line
    assert sshd.left == []


def _stand_in(name: str, answer: str) -> str:
    """A program that answers as a Python would, and fails at making an environment."""
    failures = {
        "full": 'echo "[Errno 28] No space left on device" >&2; exit 1',
        # Ends the connection's own sshd: the first of that name above this process.
        "lost": (
            "p=$$; until grep -q '^Name:.*sshd' /proc/$p/status; "
            "do p=$(sed -n 's/^PPid:.//p' /proc/$p/status); done; kill -9 $p; sleep 5"
        ),
    }
    return f"#!/bin/sh\ncase $1 in -c) echo '{answer}';; *) {failures.get(name, 'exit 1')};; esac\n"


def test_a_full_device_is_told_while_the_bundle_is_copied(sshd: Door, bench: Command, python: str) -> None:
    tar = sshd.program("tar", '#!/bin/sh\necho "tar: ./graphs: Cannot write: No space left on device" >&2\nexit 2\n')
    ran = bench("--python", python)
    tar.unlink()
    assert ran.code == 1
    assert "no space left on 127.0.0.1 while copying the bundle: free some there (df -h)" in ran.err
    assert sshd.left == []


@pytest.mark.parametrize(
    ("address", "options", "code", "said"),
    [
        ("127.0.0.1", ("Port=1",), 4, "Connection refused; try: ssh -o Port="),
        ("no-such-host.invalid", (), 4, "no-such-host.invalid is not reached while asking for its Python"),
        ("-oProxyCommand=true", (), 2, "give user@device"),
    ],
)
def test_a_device_that_is_not_reached_is_one_line(
    bundle: Path, edge_msa: Command, address: str, options: tuple[str, ...], code: int, said: str
) -> None:
    ran = edge_msa("bench", bundle, f"--host={address}", *(f"--ssh-option={option}" for option in options))
    assert ran.code == code
    assert said in ran.error_line


def test_a_host_whose_key_nobody_trusted_yet_is_not_reached(
    sshd: Door, bundle: Path, edge_msa: Command, tmp_path: Path
) -> None:
    strict = ("--ssh-option", "StrictHostKeyChecking=yes", "--ssh-option", f"UserKnownHostsFile={tmp_path / 'none'}")
    ran = edge_msa("bench", bundle, "--host", "127.0.0.1", *strict, *sshd.options)
    assert ran.code == 4
    assert "Host key verification failed" in ran.error_line


def test_a_golden_prediction_that_does_not_come_back_ends_with_3(
    sshd: Door, bundle: Path, edge_msa: Command, tmp_path: Path, python: str, seal: Callable[..., None]
) -> None:
    changed = shutil.copytree(bundle, tmp_path / "changed")
    golden = dict(np.load(changed / "golden.npz"))
    np.savez(changed / "golden.npz", **{name: value + name.endswith("/prediction") for name, value in golden.items()})
    seal(changed, files={"golden.npz": hashlib.sha256((changed / "golden.npz").read_bytes()).hexdigest()})
    command = ("bench", changed, "--host", "127.0.0.1", "--python", python, "--backend", "onnxruntime")
    ran = edge_msa(*command, *sshd.options)
    assert ran.code == 3
    assert "away from torch" in ran.err
    assert sshd.left == []


def test_options_of_a_host_without_a_host_are_refused(bundle: Path, edge_msa: Command) -> None:
    ran = edge_msa("bench", bundle, "--keep")
    assert ran.code == 2
    assert "give it too" in ran.error_line
