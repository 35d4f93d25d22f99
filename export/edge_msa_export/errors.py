"""Errors of the export package. `edge_msa_runtime.errors` shows the exception tree of all packages."""

from edge_msa_runtime.errors import EdgeMsaError


class ExportError(EdgeMsaError):
    """A graph, a parity check or a file of the export failed."""


class ProfileError(ExportError):
    """A device profile is unknown or invalid."""

    exit_code = 2


class LintError(ExportError):
    """There are no lint rules for the backend or its version, or there is no graph to check."""

    exit_code = 2


class OutputError(ExportError):
    """The output folder exists and may not be replaced."""

    exit_code = 2
