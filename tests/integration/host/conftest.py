"""A device that is this machine by another door: an sshd of our own, with a temporary key.

Its TMPDIR must be empty afterwards, and of Python's packages it sees NumPy and ONNX Runtime alone.
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
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult

    Command = Callable[..., CommandResult]

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
KEYGEN = shutil.which("ssh-keygen") or ""
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


@pytest.fixture(scope="package")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("no sshd and ssh here: apt-get install openssh-server")
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


@pytest.fixture(scope="package")
def bundle(calibrated_runs: dict[str, Path], edge_msa: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "bundle-here"
    target = "laptop-x86" if HERE == "x86_64" else "laptop-arm"
    common = ("--target", target, "--max-drop", "100", "--output-dir", path)
    ran = edge_msa("export", "--model", calibrated_runs["streams"], *common)
    assert ran.code == 0, ran.err
    return path


@pytest.fixture
def bench(sshd: Door, bundle: Path, edge_msa: Command) -> Command:
    """`edge-msa bench BUNDLE --host`, with what a test adds."""

    def run(*arguments: str | Path) -> CommandResult:
        common = ("--host", "127.0.0.1", "--backend", "onnxruntime", "--num-runs", "3")
        return edge_msa("bench", bundle, *common, *sshd.options, *arguments)

    return run


@pytest.fixture(scope="package")
def seal() -> Callable[..., None]:
    """Change keys of a bundle's manifest, those of a table one by one, and digest it anew."""

    def change(bundle: Path, **changes: Any) -> None:
        path = bundle / "manifest.json"
        manifest = json.loads(path.read_text())
        for name, value in changes.items():
            manifest[name] = {**manifest[name], **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(manifest))
        (bundle / "manifest.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())

    return change


@pytest.fixture(scope="package")
def python() -> str:
    """The Python below the virtual environment of these tests, which sees none of its packages."""
    return str(Path(sys.base_prefix) / f"bin/python{sys.version_info[0]}.{sys.version_info[1]}")
