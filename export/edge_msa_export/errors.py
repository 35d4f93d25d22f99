"""Errors of the export package. `edge_msa_runtime.errors` shows the exception tree of all packages."""

from edge_msa_runtime.errors import EdgeMsaError


class ExportError(EdgeMsaError):
    """A graph, a parity check or a file of the export failed.

    What to do: Choose another backend or precision, or correct what the message names.
    """


class ProfileError(ExportError):
    """A device profile is unknown or invalid.

    What to do: Correct the name or the TOML file. `edge-msa devices` lists the names.
    """

    exit_code = 2


class LintError(ExportError):
    """There are no lint rules for the backend or its version, or there is no graph to check.

    What to do: Pass a backend and a version that the message names, or a bundle or ONNX file with graphs.
    """

    exit_code = 2


class OutputError(ExportError):
    """The output folder exists and may not be replaced.

    What to do: Choose another output folder, or pass `--overwrite`.
    """

    exit_code = 2
