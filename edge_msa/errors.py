"""Errors of the toolkit. `edge_msa_runtime.errors` draws the exception tree of all packages."""

from edge_msa_runtime.errors import BackendUnavailableError, DataError, EdgeMsaError, UsageError

__all__ = [
    "BackendUnavailableError",
    "DataError",
    "EdgeMsaError",
    "RunError",
    "RunUsageError",
    "StorageError",
    "TrainingError",
    "UnstatedTaskError",
    "UsageError",
]


class UnstatedTaskError(UsageError):
    """A data file does not name its task, and no task was passed.

    Attributes:
        unlabeled: Whether the file has no labels at all, so that it can be predicted without a task.
    """

    def __init__(self, message: str, *, unlabeled: bool = False) -> None:
        super().__init__(message)
        self.unlabeled = unlabeled


class RunError(EdgeMsaError):
    """A run folder is damaged or cannot be written."""


class RunUsageError(RunError):
    """A path is not a run, is a run of another kind than the command needs, or cannot contain a new run."""

    exit_code = 2


class TrainingError(EdgeMsaError):
    """Training diverged: the loss is no longer finite."""


class StorageError(EdgeMsaError):
    """The storage of a search is locked by another process, damaged or unreachable."""
