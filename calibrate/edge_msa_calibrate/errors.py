"""Errors of the calibration package. `edge_msa_runtime.errors` shows the exception tree of all packages."""

from edge_msa_runtime.errors import EdgeMsaError


class CalibrationError(EdgeMsaError):
    """Samples, statistics or a graph cannot be used for calibration.

    What to do: Calibrate again, with samples and a run that fit together.
    """


class GateFailedError(CalibrationError):
    """A precision loses more accuracy than `--max-drop` allows. The message names the subset and the loss in points.

    What to do: Find the layers to keep in floating point with `edge-msa sensitivity`, improve the student, or raise
    `--max-drop`.
    """

    exit_code = 3
