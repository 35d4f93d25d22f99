"""Every error the toolkit raises on purpose; `exit_code` is what the command line ends with.

EdgeMsaError                  exit code 1
├── UsageError                exit code 2   an option or a value that cannot be used
│   └── UnstatedTaskError     exit code 2   a file that does not say what its labels mean
├── DataError                 exit code 1   a data file that cannot be read or used
├── RunError                  exit code 1   a run that is damaged, or cannot be written
│   └── RunUsageError         exit code 2   a path that is no run, not the kind of run, or no place for one
├── TrainingError             exit code 1   a training that diverged
├── StorageError              exit code 1   a search's storage that is locked, damaged or cannot be reached
└── BackendError              exit code 4   a device or backend that this machine does not have
"""


class EdgeMsaError(Exception):
    """Root of the toolkit's errors: one line that says what was wrong, with which value, and what to do."""

    exit_code = 1


class UsageError(EdgeMsaError):
    """An option or a value that cannot be used."""

    exit_code = 2


class UnstatedTaskError(UsageError):
    """A file that does not say what its labels mean, and nobody said it either."""


class DataError(EdgeMsaError):
    """A data file that cannot be read, or holds what no model can be trained on."""


class RunError(EdgeMsaError):
    """A run that is damaged, or cannot be written."""


class RunUsageError(RunError):
    """A path that is no run, not of the kind a command needs, or no place for a new one."""

    exit_code = 2


class TrainingError(EdgeMsaError):
    """A training that cannot go on: its loss is no longer a finite number."""


class StorageError(EdgeMsaError):
    """A search's storage that is locked by somebody else, damaged, or cannot be reached."""


class BackendError(EdgeMsaError):
    """A device or a backend that was asked for and is not on this machine."""

    exit_code = 4
