"""Work for the processes of `test_scheduling`, which import this module."""

from __future__ import annotations

import os
import signal

from edge_msa.data.extraction.segment_job import Outcome
from edge_msa.errors import BackendUnavailableError


def square(number: int) -> Outcome:
    return Outcome(number * number)


def crash_at_three(number: int) -> Outcome:
    """Return the square and the process that computed it; at 3 the process dies."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome((number * number, os.getpid()))


def refuse(_: int) -> Outcome:
    raise BackendUnavailableError("a package is missing")


def fail(_: int) -> Outcome:
    raise ValueError("a bug")
