"""A test device: an sshd on this machine with a temporary key.

Its commands see only NumPy and ONNX Runtime. Its TMPDIR must be empty after every test.
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
ARCHITECTURE = platform.machine()


@dataclass(frozen=True)
class SshDevice:
    """A running sshd.

    `options` are the command-line options that reach it, `temporary` its TMPDIR, and `programs` the first folder of its
    PATH.
    """

    options: tuple[str, ...]
    temporary: Path
    programs: Path

    @property
    def remaining(self) -> list[str]:
        """Names of the files that were not removed."""
        return sorted(path.name for path in self.temporary.iterdir())

    def add_program(self, name: str, script: str) -> Path:
        """Write an executable script to `programs`."""
        path = self.programs / name
        path.write_text(script)
        path.chmod(0o755)
        return path


def _link(name: str, folder: Path) -> None:
    """Link an installed distribution and its requirements into a folder."""
    distribution = importlib.metadata.distribution(name)
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not (folder / top).exists():
            (folder / top).symlink_to(Path(str(distribution.locate_file(top))))
    for requirement in distribution.requires or ():
        match = re.match(r"[\w.-]+", requirement)
        if match and "extra ==" not in requirement:
            _link(match[0], folder)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshDevice]:
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("sshd or ssh is not installed: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    site, programs, temporary = (folder / name for name in ("site", "programs", "temporary"))
    for path in (site, programs, temporary):
        path.mkdir()
    _link("onnxruntime", site)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"
        f"SetEnv TMPDIR={temporary} PYTHONPATH={site} PATH={programs}:{os.environ['PATH']}\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd needs it if root runs it
    server = subprocess.Popen([str(SSHD), "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE, text=True)
    options = [f"Port={port}", f"IdentityFile={folder / 'user'}", "IdentitiesOnly=yes"]
    options += [f"UserKnownHostsFile={folder / 'known'}", "StrictHostKeyChecking=accept-new"]
    device = SshDevice(tuple(part for option in options for part in ("--ssh-option", option)), temporary, programs)
    try:
        _wait_for(port, server)
        yield device
    finally:
        server.terminate()
        server.communicate()


def _wait_for(port: int, server: subprocess.Popen[str]) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            pytest.skip(f"sshd cannot run on this machine: {server.communicate()[1].splitlines()[-1:]}")
        time.sleep(0.05)
    pytest.fail("sshd does not answer")


@pytest.fixture(scope="session")
def bundle(exported_bundle: Callable[[str, str], Path]) -> Path:
    return exported_bundle("laptop-x86" if ARCHITECTURE == "x86_64" else "laptop-arm", "streams")


@pytest.fixture
def bench(sshd: SshDevice, bundle: Path, edge_msa: Command) -> Command:
    """Run `edge-msa bench BUNDLE --host` with additional arguments."""

    def run(*arguments: str | Path) -> CommandResult:
        common = ("--host", "127.0.0.1", "--backend", "onnxruntime", "--repeats", "3", "--processes", "1")
        return edge_msa("bench", bundle, *common, *sshd.options, *arguments)

    return run


@pytest.fixture(scope="session")
def change_manifest() -> Callable[..., None]:
    """Return a function that changes keys of a bundle's manifest and updates its digest; tables are merged."""

    def change(bundle: Path, **changes: Any) -> None:
        path = bundle / "manifest.json"
        manifest = json.loads(path.read_text())
        for name, value in changes.items():
            manifest[name] = {**manifest[name], **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(manifest))
        (bundle / "manifest.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())

    return change


@pytest.fixture(scope="session")
def python() -> str:
    """Return the interpreter that the virtual environment of these tests was created from: it has no packages."""
    return str(Path(sys.base_prefix) / f"bin/python{sys.version_info[0]}.{sys.version_info[1]}")
