"""Errors of the calibration package. `edge_msa_runtime.errors` shows the exception tree of all packages."""

from edge_msa_runtime.errors import EdgeMsaError


class CalibrationError(EdgeMsaError):
    """Samples, statistics or a graph cannot be used for calibration."""


class GateFailedError(CalibrationError):
    """A precision loses more accuracy than `--max-drop` allows. The message names the subset and the loss in points."""

    exit_code = 3
