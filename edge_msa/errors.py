"""Errors of the toolkit. `edge_msa_runtime.errors` draws the exception tree of all packages."""

from edge_msa_runtime.errors import BackendUnavailableError, DataError, EdgeMsaError, UsageError

__all__ = [
    "BackendUnavailableError",
    "DataError",
    "EdgeMsaError",
    "FiguresChangedError",
    "RunError",
    "RunUsageError",
    "StorageError",
    "TrainingError",
    "UnstatedTaskError",
    "UsageError",
]


class UnstatedTaskError(UsageError):
    """A data file does not name its task, and no task was passed.

    What to do: Pass `--task`, or name the task in the file.

    Attributes:
        unlabeled: Whether the file has no labels at all, so that it can be predicted without a task.
    """

    def __init__(self, message: str, *, unlabeled: bool = False) -> None:
        super().__init__(message)
        self.unlabeled = unlabeled


class RunError(EdgeMsaError):
    """A run folder is damaged or cannot be written.

    What to do: Make the run again, or choose a folder that you can write to.
    """


class RunUsageError(RunError):
    """A path is not a run, is a run of another kind than the command needs, or cannot contain a new run.

    What to do: Pass a run of the kind that the message names, or choose another output folder.
    """

    exit_code = 2


class TrainingError(EdgeMsaError):
    """Training diverged: the loss is no longer finite.

    What to do: Lower `learning_rate` in the recipe, and look for extreme values with `edge-msa data inspect`.
    """


class StorageError(EdgeMsaError):
    """The storage of a search is locked by another process, damaged or unreachable.

    What to do: Wait for the other process, or choose another `--storage`.
    """


class FiguresChangedError(EdgeMsaError):
    """A figure of a report got worse by more than noise (`--compare`), or is not the measured one (`--replay`).

    What to do: Read the table that the command prints, and find the cause in the model, the data or the machine.
    """

    exit_code = 3
