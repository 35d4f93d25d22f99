"""An hour of stream time with faults, as fast as possible. `make soak` runs 24 hours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_msa_runtime as emr
from tests.integration.soak import Stepper, hourly_differences, soak, state_drift

pytestmark = pytest.mark.slow

SECONDS = 3600.0


@pytest.fixture(scope="module")
def bundle(exported_bundle: Callable[[str, str], Path]) -> Path:
    return exported_bundle("laptop-x86", "streams")


def test_an_hour_of_faults_changes_neither_memory_nor_the_error_of_int8(bundle: Path) -> None:
    recorders = {}
    for precision in ("fp32", "int8"):
        with emr.load(bundle, precision=precision) as session:
            done = soak(session, SECONDS)
        status = done.status
        assert status.predictions > 5000
        assert status.errors == 0
        assert {"duplicate", "refused", "gap", "absent", "returned"} <= {kind for kind, _ in status.events}
        for counters in status.counters.values():
            assert counters.sent == counters.used + counters.dropped + counters.refused
        assert done.memory_growth < 5e6
        assert np.isfinite(done.recorder.scores[: done.recorder.count]).all()
        recorders[precision] = done.recorder
    first, *_, last = hourly_differences(recorders["fp32"], recorders["int8"], SECONDS, 4)
    assert last < 1.2 * first + 1e-3


def test_step_10000_does_as_much_as_step_10(bundle: Path) -> None:
    """`make soak` measures their latency."""
    with emr.load(bundle) as session:
        stepper = Stepper(session)
        calls = [count_calls(stepper.step) for _ in range(100)]
        while stepper.steps < 10_000:
            stepper.step()
        later = [count_calls(stepper.step) for _ in range(100)]
    # The rounding of times decides whether a chunk is final already, so steps differ a little.
    assert np.median(later) <= 1.05 * np.median(calls)
    assert max(later) <= 1.05 * max(calls[10:])


def count_calls(function: Callable[[], object]) -> int:
    """Return the number of calls of Python and C functions that a call makes."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_the_error_of_int8_does_not_grow_within_an_utterance(bundle: Path) -> None:
    with emr.load(bundle, precision="fp32") as reference, emr.load(bundle, precision="int8") as quantized:
        drift = state_drift(reference, quantized)
    assert drift[10_000] <= drift[10] + 0.01
