"""Every error calibration raises on purpose.

CalibrationError              exit code 1   samples, statistics or a graph that cannot be used
└── GateFailedError           exit code 3   a precision loses more accuracy than is allowed
"""


class CalibrationError(Exception):
    """Root of this room's errors; `exit_code` is what a command line ends with."""

    exit_code = 1


class GateFailedError(CalibrationError):
    """A precision lost more than `--max-drop`; the message names the subset and the points."""

    exit_code = 3
