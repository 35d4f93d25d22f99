"""A device that is reached over ssh: commands run there, files go there, and what goes wrong is said in one line.

The system's own `ssh` is used, so that ~/.ssh/config, keys, agents and jump hosts work as they do by hand. It never
asks: a host that would ask for a password, or whether to trust a key, is one that cannot be reached.
"""

from __future__ import annotations

import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_msa.console import remark
from edge_msa.errors import BackendUnavailableError, EdgeMsaError, UsageError

# Ours come last: ssh takes the first value that it is given.
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_SSH_FAILED = 255
_NO_SPACE = "No space left on device"


class RemoteError(EdgeMsaError):
    """A command on a device that failed; `exit_code` is that command's own where ours have the same meaning."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code if exit_code in {2, 3, 4} else 1


@dataclass(frozen=True)
class Host:
    """Where to go: `address` as `user@device` or a name of ~/.ssh/config; `options` as ssh's own, `Port=2222`.

    `python` is the interpreter there, a name or a path.
    """

    address: str
    options: tuple[str, ...] = ()
    python: str = "python3"

    def __post_init__(self) -> None:
        if not self.address or self.address.startswith("-") or any(letter.isspace() for letter in self.address):
            raise UsageError(f"--host is {self.address!r}: give user@device, or a name of ~/.ssh/config")
        for option in self.options:
            if "=" not in option:
                raise UsageError(f"--ssh-option is {option!r}: give NAME=VALUE, as Port=2222")

    @property
    def by_hand(self) -> str:
        """The command that gets there by hand."""
        return shlex.join(["ssh", *(part for option in self.options for part in ("-o", option)), self.address])

    def run(self, script: str, doing: str, stdin: IO[bytes] | None = None) -> str:
        """What a shell script prints there.

        Args:
            script: for `sh`; words from elsewhere must be quoted already.
            doing: what it is for, in words that follow "while".
            stdin: what the script reads.

        Raises:
            BackendUnavailableError: ssh is not installed here, the device cannot be reached, or the connection was lost.
            RemoteError: the script failed there; the message has the last line that it said.
        """
        remote = shlex.join(["sh", "-c", f"LC_ALL=C; export LC_ALL; {script}"])
        options = [part for option in (*self.options, *_OPTIONS) for part in ("-o", option)]
        command = ["ssh", *options, "--", self.address, remote]
        try:
            done = subprocess.run(command, stdin=stdin or subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError:
            raise BackendUnavailableError("there is no ssh here: sudo apt-get install openssh-client") from None
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode == _SSH_FAILED:
            raise BackendUnavailableError(
                f"{self.address} is not reached while {doing}: {_last(said)}; try: {self.by_hand}"
            )
        if done.returncode:
            raise self._failed(said or done.stdout.decode("utf-8", "replace"), done.returncode, doing)
        return done.stdout.decode("utf-8", "replace").strip()

    def _failed(self, said: str, code: int, doing: str) -> RemoteError:
        if _NO_SPACE in said:
            return RemoteError(f"no space left on {self.address} while {doing}: free some there (df -h)", 1)
        return RemoteError(f"{self.address}, while {doing}: {_last(said).removeprefix('error: ')}", code)


@contextmanager
def workplace(host: Host, *, keep: bool = False) -> Iterator[str]:
    """A new folder on the device, removed at the end whatever happens; its absolute path there.

    It lies in TMPDIR where that is set there, else at home: /tmp is often memory, which is measured here.
    """
    folder = host.run('mktemp -d "${TMPDIR:-$HOME}/edge-msa-bench.XXXXXX"', "making a folder there")
    try:
        yield folder
    finally:
        if keep:
            remark(f"note: {host.address}:{folder} is kept")
        else:
            _remove(host, folder)


def send(host: Host, folder: Path, place: str) -> None:
    """Copy a folder's content into a new folder on the device.

    Raises:
        EdgeMsaError: the device is full, cannot be reached, or has no tar.
    """
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, arcname=".")
        packed.seek(0)
        quoted = shlex.quote(place)
        # Who owns the files here is nobody there; and root's tar would insist.
        host.run(f"mkdir {quoted} && tar -x --no-same-owner -f - -C {quoted}", "copying the bundle", packed)


def _remove(host: Host, folder: str) -> None:
    """Remove the folder; where that fails, say so, and leave the error that was there before as it is.

    First what still runs from it is ended: when a connection ends, its command does not, and pip would write on.
    """
    name = folder.rpartition("/")[2]
    running = shlex.quote(f"[{name[0]}]{name[1:]}")  # which is not found in this very command
    wait = f"for _ in 1 2 3 4 5 6 7 8 9; do pkill -f {running} || break; sleep 0.2; done"
    try:
        host.run(f"if command -v pkill >/dev/null; then {wait}; fi", "ending what runs there")
        host.run(f"rm -rf {shlex.quote(folder)}", "cleaning up")
    except EdgeMsaError as error:
        remark(f"note: {error}")
        remark(f"note: left there; remove it with: {host.by_hand} rm -rf {shlex.quote(folder)}")


def _last(said: str) -> str:
    """The last line that says anything; ssh and pip begin with warnings."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
