"""`edge-msa bench --host`, against an sshd of our own on this machine.

The device is this machine by another door: a temporary key, a temporary TMPDIR that must be empty afterwards, and a
Python of which only NumPy and ONNX Runtime are seen.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_msa.report.records import read_records

if TYPE_CHECKING:
    from tests.system.conftest import Ran

    Command = Callable[..., Ran]

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
KEYGEN = shutil.which("ssh-keygen") or ""
pytestmark = pytest.mark.skipif(
    not SSHD or not shutil.which("ssh"), reason="no sshd and ssh here: apt-get install openssh-server"
)
# The Python below the virtual environment of these tests, which sees none of its packages.
PYTHON = str(Path(sys.base_prefix) / f"bin/python{sys.version_info[0]}.{sys.version_info[1]}")
HERE = platform.machine()


@dataclass(frozen=True)
class Door:
    """An sshd: the options that lead to it, where its commands may put files, and programs that come first in PATH."""

    options: tuple[str, ...]
    place: Path
    programs: Path

    @property
    def left(self) -> list[str]:
        """What was not cleaned up."""
        return sorted(path.name for path in self.place.iterdir())

    def program(self, name: str, script: str) -> Path:
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)
        return path


def _link(name: str, folder: Path) -> None:
    """Put an installed distribution, and what it needs, into a folder."""
    distribution = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (folder / top).exists():
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    for requirement in distribution.requires or ():
        needed = re.match(r"[\w.-]+", requirement)
        if needed and "extra ==" not in requirement:
            _link(needed[0], folder)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    site, programs, place = (folder / name for name in ("site", "programs", "place"))
    for made in (site, programs, place):
        made.mkdir()
    _link("onnxruntime", site)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"
        f"SetEnv TMPDIR={place} PYTHONPATH={site} PATH={programs}:{os.environ['PATH']}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where root's sshd locks itself in
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE, text=True)
    options = [f"Port={port}", f"IdentityFile={folder / 'user'}", "IdentitiesOnly=yes"]
    options += [f"UserKnownHostsFile={folder / 'known'}", "StrictHostKeyChecking=accept-new"]
    door = Door(tuple(part for option in options for part in ("--ssh-option", option)), place, programs)
    try:
        _wait_for(port, server)
        yield door
    finally:
        server.terminate()
        server.communicate()


def _wait_for(port: int, server: subprocess.Popen[str]) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            pytest.skip(f"sshd does not run here: {server.communicate()[1].splitlines()[-1:]}")
        time.sleep(0.05)
    pytest.fail("sshd does not answer")


@pytest.fixture(scope="module")
def bundle(calibrated: dict[str, Path], edge_msa: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "bundle-here"
    target = "laptop-x86" if HERE == "x86_64" else "laptop-arm"
    common = ("--target", target, "--max-drop", "100", "--output-dir", path)
    ran = edge_msa("export", "--model", calibrated["streams"], *common)
    assert ran.code == 0, ran.err
    return path


@pytest.fixture
def bench(sshd: Door, bundle: Path, edge_msa: Command) -> Command:
    """`edge-msa bench BUNDLE --host`, with what a test adds."""

    def run(*arguments: str | Path) -> Ran:
        common = ("--host", "127.0.0.1", "--engine", "onnxruntime", "--num-runs", "3")
        return edge_msa("bench", bundle, *common, *sshd.options, *arguments)

    return run


def test_a_device_verifies_and_measures_and_keeps_nothing(
    sshd: Door, bench: Command, tmp_path: Path, edge_msa: Command
) -> None:
    output = tmp_path / "bench.json"
    ran = bench("--python", PYTHON, "--rate", "500", "--output", output, "--json")
    assert ran.code == 0, ran.err
    assert "verified onnxruntime int8: largest difference" in ran.err
    assert "installing numpy, onnxruntime into 127.0.0.1:" in ran.err
    if HERE == "x86_64":  # the bundle's first engine was not asked for, and is not in the environment
        assert "note: 127.0.0.1, openvino: No module named 'openvino'; there: python3 -m pip install" in ran.err
    assert sshd.left == []
    records = {record.precision: record for record in read_records([output]).benches}
    assert set(records) == {"fp32", "int8"}
    for record in records.values():
        assert record.on_target
        assert set(record.latency_ms) == {"l", "a", "v", "la", "lv", "av", "lav"}
        assert record.machine["rate_hz"] == "500"
        assert record.machine["onnxruntime"] == importlib.metadata.version("onnxruntime")
        assert 0 < (record.peak_memory_mib or 0) < 400
    assert json.loads(ran.out.splitlines()[-1])["records"][0]["engine"] == "onnxruntime"
    assert edge_msa("report", output, "--output", tmp_path / "report.html").code == 0


def test_offline_nothing_but_the_wheel_is_installed(sshd: Door, bench: Command) -> None:
    ran = bench("--python", PYTHON, "--offline")
    assert ran.code == 0, ran.err
    assert "installing" not in ran.err
    assert sshd.left == []


def test_a_folder_is_kept_when_that_is_asked_for(sshd: Door, bench: Command) -> None:
    ran = bench("--python", PYTHON, "--keep")
    assert ran.code == 0, ran.err
    (kept,) = sshd.left
    assert f"{sshd.place / kept} is kept" in ran.err
    shutil.rmtree(sshd.place / kept)


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


def test_a_full_device_is_told_while_the_bundle_is_copied(sshd: Door, bench: Command) -> None:
    tar = sshd.program("tar", '#!/bin/sh\necho "tar: ./graphs: Cannot write: No space left on device" >&2\nexit 2\n')
    ran = bench("--python", PYTHON)
    tar.unlink()
    assert ran.code == 1
    assert "no space left on 127.0.0.1 while copying the bundle: free some there (df -h)" in ran.err
    assert sshd.left == []


@pytest.mark.parametrize(
    ("address", "options", "code", "said"),
    [
        ("127.0.0.1", ("Port=1",), 4, "Connection refused; try: ssh 127.0.0.1"),
        ("no-such-host.invalid", (), 4, "no-such-host.invalid is not reached while asking for its Python"),
        ("-oProxyCommand=true", (), 2, "give user@device"),
    ],
)
def test_a_device_that_is_not_reached_is_one_line(
    bundle: Path, edge_msa: Command, address: str, options: tuple[str, ...], code: int, said: str
) -> None:
    ran = edge_msa("bench", bundle, f"--host={address}", *(f"--ssh-option={option}" for option in options))
    assert ran.code == code
    assert said in ran.told


def test_a_host_whose_key_nobody_trusted_yet_is_not_reached(
    sshd: Door, bundle: Path, edge_msa: Command, tmp_path: Path
) -> None:
    strict = ("--ssh-option", "StrictHostKeyChecking=yes", "--ssh-option", f"UserKnownHostsFile={tmp_path / 'none'}")
    ran = edge_msa("bench", bundle, "--host", "127.0.0.1", *strict, *sshd.options)
    assert ran.code == 4
    assert "Host key verification failed" in ran.told


def test_a_golden_reading_that_does_not_come_back_ends_with_3(
    sshd: Door, bundle: Path, edge_msa: Command, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    golden = dict(np.load(changed / "golden.npz"))
    np.savez(changed / "golden.npz", **{name: value + name.endswith("/reading") for name, value in golden.items()})
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = hashlib.sha256((changed / "golden.npz").read_bytes()).hexdigest()
    (changed / "manifest.json").write_text(json.dumps(manifest))
    (changed / "manifest.sha256").write_text(hashlib.sha256((changed / "manifest.json").read_bytes()).hexdigest())
    command = ("bench", changed, "--host", "127.0.0.1", "--python", PYTHON, "--engine", "onnxruntime")
    ran = edge_msa(*command, *sshd.options)
    assert ran.code == 3
    assert "away from torch" in ran.err
    assert sshd.left == []


def test_auto_chooses_by_what_the_target_itself_measures(
    sshd: Door, calibrated: dict[str, Path], edge_msa: Command, tmp_path: Path
) -> None:
    common = ("--target", "laptop-x86" if HERE == "x86_64" else "laptop-arm", "--model", calibrated["streams"])
    there = ("--host", "127.0.0.1", *sshd.options, "--python", PYTHON, "--offline", "--max-drop", "100")
    ran = edge_msa("export", *common, *there, "--output-dir", tmp_path / "bundle")
    assert ran.code == 0, ran.err
    assert "verified onnxruntime int8" in ran.err
    timed = next(line for line in ran.out.splitlines() if line.startswith("onnxruntime:"))
    assert re.search(r"fp32 0\.\d+ ms, int8 0\.\d+ ms\)", timed), timed
    untimed = next(line for line in ran.out.splitlines() if line.startswith("openvino:"))
    assert "executes neither here nor on a --host" in untimed  # that Python has no OpenVINO
    assert sshd.left == []


def test_a_target_that_the_host_is_not_is_refused_before_anything_is_built(
    sshd: Door, calibrated: dict[str, Path], edge_msa: Command, tmp_path: Path
) -> None:
    other = "raspberry-pi" if HERE == "x86_64" else "laptop-x86"
    common = ("--target", other, "--model", calibrated["streams"], "--output-dir", tmp_path / "bundle")
    ran = edge_msa("export", *common, "--host", "127.0.0.1", *sshd.options, "--python", PYTHON)
    assert (ran.code, (tmp_path / "bundle").exists()) == (4, False)
    assert f"127.0.0.1 is {HERE}" in ran.told
    ran = edge_msa("export", *common, "--host", "127.0.0.1", "--precision", "int8")
    assert ran.code == 2
    assert "leave --precision int8 or it out" in ran.told


def test_options_of_a_host_without_a_host_are_refused(bundle: Path, edge_msa: Command) -> None:
    ran = edge_msa("bench", bundle, "--keep")
    assert ran.code == 2
    assert "give it too" in ran.told
