"""Run commands on a device, and copy files to it, over ssh.

Uses the system's `ssh`, so that ~/.ssh/config, keys, agents and jump hosts work as usual. ssh never prompts here: a
device that asks for a password, or whether to trust its key, counts as unreachable.
"""

from __future__ import annotations

import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_msa.console import print_note
from edge_msa.errors import BackendUnavailableError, EdgeMsaError, UsageError

# Passed after the user's options: ssh uses the first value of each option, so the user's options take precedence.
_DEFAULT_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_SSH_FAILED = 255
_NO_SPACE = "No space left on device"


class RemoteError(EdgeMsaError):
    """A command failed on a device. `exit_code` is that of the command if edge-msa uses the same code, else 1.

    What to do: Correct what the message names on the device, and run the command again.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code if exit_code in {2, 3, 4} else 1


@dataclass(frozen=True)
class SshHost:
    """A device that is reached over ssh.

    Raises:
        UsageError: The address or an option has the wrong form.
    """

    address: str
    """`user@device`, or a name from ~/.ssh/config."""
    options: tuple[str, ...] = ()
    """Options of ssh, such as `Port=2222`."""
    python: str = "python3"
    """Name or path of the Python interpreter on the device."""

    def __post_init__(self) -> None:
        if not self.address or self.address.startswith("-") or any(letter.isspace() for letter in self.address):
            raise UsageError(f"--host must be user@device or a name from ~/.ssh/config, got {self.address!r}.")
        for option in self.options:
            if "=" not in option:
                raise UsageError(f"--ssh-option must be NAME=VALUE, for example Port=2222, got {option!r}.")

    @property
    def command(self) -> str:
        """The ssh command that a user would type to reach the device."""
        return shlex.join(["ssh", *(part for option in self.options for part in ("-o", option)), self.address])

    def run(self, script: str, action: str, stdin: IO[bytes] | None = None) -> str:
        """Run a shell script on the device and return what it prints.

        Args:
            script: Script for `sh`, with all values quoted.
            action: What the script does, as it follows "while" in error messages.
            stdin: Standard input of the script.

        Raises:
            BackendUnavailableError: ssh is not installed, the device cannot be reached, or the connection is lost.
            RemoteError: The script failed. The message contains the last line of its output.
        """
        remote_command = shlex.join(["sh", "-c", f"LC_ALL=C; export LC_ALL; {script}"])
        options = [part for option in (*self.options, *_DEFAULT_OPTIONS) for part in ("-o", option)]
        command = ["ssh", *options, "--", self.address, remote_command]
        try:
            completed = subprocess.run(command, stdin=stdin or subprocess.DEVNULL, capture_output=True, check=False)
        except FileNotFoundError:
            raise BackendUnavailableError(
                "ssh is not installed on this machine. Install it: sudo apt-get install openssh-client"
            ) from None
        stdout = completed.stdout.decode("utf-8", "replace")
        stderr = completed.stderr.decode("utf-8", "replace")
        if completed.returncode == _SSH_FAILED:
            raise BackendUnavailableError(
                f"Cannot reach {self.address} while {action}: {_last_line(stderr)}. Try it yourself: {self.command}"
            )
        if completed.returncode:
            raise self._script_error(stderr or stdout, completed.returncode, action)
        return stdout.strip()

    def _script_error(self, output: str, code: int, action: str) -> RemoteError:
        if _NO_SPACE in output:
            return RemoteError(f"No space left on {self.address} while {action}. Free some space there (df -h).", 1)
        return RemoteError(
            f"{self.address} failed while {action}: {_last_line(output).removeprefix('edge-msa-run: ')}", code
        )


@contextmanager
def temporary_folder(host: SshHost, *, keep: bool = False) -> Iterator[str]:
    """Create a folder on the device, yield its absolute path, and remove it at the end unless `keep` is true.

    The folder is created in $TMPDIR of the device if that is set, else in $HOME: /tmp is often a memory file system,
    and peak memory is measured.
    """
    folder = host.run('mktemp -d "${TMPDIR:-$HOME}/edge-msa-bench.XXXXXX"', "creating a temporary folder")
    try:
        yield folder
    finally:
        if keep:
            print_note(f"{host.address}:{folder} is kept.")
        else:
            _remove(host, folder)


def copy_files(host: SshHost, source: Path, names: Iterable[str], destination: str, action: str) -> None:
    """Copy files into a new folder on the device.

    Args:
        host: The device.
        source: Folder of the files.
        names: Paths of the files in it.
        destination: Absolute path of the new folder.
        action: What this does, as it follows "while" in error messages.

    Raises:
        EdgeMsaError: The device is full, cannot be reached, or has no tar.
    """
    with tempfile.TemporaryFile() as packed:
        # The content of links is copied: a verified bundle has only links within its folder.
        with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
            for name in names:
                archive.add(source / name, arcname=name, recursive=False)
        packed.seek(0)
        quoted = shlex.quote(destination)
        # --no-same-owner: the owners of the files need not exist on the device, and root's tar would try to keep them.
        host.run(f"mkdir {quoted} && tar -x --no-same-owner -f - -C {quoted}", action, packed)


def _remove(host: SshHost, folder: str) -> None:
    """Remove the folder. If that fails, print a note, so that an earlier error is the one that is raised.

    Processes that run from the folder are stopped first: a command does not end with its connection, and pip, for
    example, would continue to write.
    """
    name = folder.rpartition("/")[2]
    pattern = shlex.quote(f"[{name[0]}]{name[1:]}")  # the brackets keep pkill from matching this command itself
    stop = f"for _ in 1 2 3 4 5 6 7 8 9; do pkill -f {pattern} || break; sleep 0.2; done"
    try:
        host.run(f"if command -v pkill >/dev/null; then {stop}; fi", "stopping its processes")
        host.run(f"rm -rf {shlex.quote(folder)}", "removing the temporary folder")
    except EdgeMsaError as error:
        print_note(f"{error}")
        print_note(f"The temporary folder was not removed. Remove it: {host.command} rm -rf {shlex.quote(folder)}")


def _last_line(output: str) -> str:
    """Return the last line that is not empty. The lines before it are often warnings of ssh or pip."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
