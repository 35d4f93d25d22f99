"""Every error the export room raises on purpose; `exit_code` is what a command line ends with.

ExportError                   exit code 1   a graph, a parity or a file that cannot be made
├── ProfileError              exit code 2   a device profile that is unknown or not valid
├── LintError                 exit code 2   a backend or a version that no rules know, or no graph to hold against them
├── OutputError               exit code 2   an output folder that cannot be written or replaced
└── BackendMissingError       exit code 4   a library or a device that an artifact needs to be made, and is not here
"""


class ExportError(Exception):
    """Root of the room's errors: one line that says what was wrong, with which value, and what to do."""

    exit_code = 1


class ProfileError(ExportError):
    """A device that no profile is named after, or a profile that cannot be used."""

    exit_code = 2


class LintError(ExportError):
    """A backend or a version that there are no rules for, or nothing that they could be held against."""

    exit_code = 2


class OutputError(ExportError):
    """An output folder that may not be replaced."""

    exit_code = 2


class BackendMissingError(ExportError):
    """What an artifact is made with is not on this machine."""

    exit_code = 4
