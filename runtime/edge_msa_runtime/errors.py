"""Every error the runtime raises on purpose.

RuntimeFailure                 exit code 1
├── UsageError                 exit code 2   what the caller gave cannot be used
├── BundleError                exit code 1   the bundle is damaged, incomplete or of another schema
├── ParityError                exit code 3   a golden prediction does not come back within its bound
└── BackendUnavailableError     exit code 4   a backend or a device is missing, or cannot run this bundle
"""

from __future__ import annotations


class RuntimeFailure(Exception):  # noqa: N818 - the root; RuntimeError is Python's
    """Root of the runtime's errors; `exit_code` is what a command line ends with."""

    exit_code = 1


class UsageError(RuntimeFailure):
    """An argument cannot be used: a wrong width, a non-finite value, an unknown name."""

    exit_code = 2


class BundleError(RuntimeFailure):
    """The bundle on disk is not what its manifest says, or has no manifest that can be read."""


class ParityError(RuntimeFailure):
    """The backend here reads the golden inputs differently than the bundle promises."""

    exit_code = 3


class BackendUnavailableError(RuntimeFailure):
    """The backend or device asked for is not there; the message has the command that installs it."""

    exit_code = 4
