"""Results of trials for tests of the record, the answer, the table and the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from edge_msa.architecture_search.record import SearchRecord
from edge_msa.architecture_search.trials import TrialResult

Trial = Callable[..., TrialResult]
MakeRecord = Callable[..., SearchRecord]


@pytest.fixture(scope="session")
def trial() -> Trial:
    """Return a function that makes the result of a measured trial."""

    def make(number: int, error: float, ratio: float, size: int = 1000, *, precision: str = "int8") -> TrialResult:
        return TrialResult(
            number,
            {"width": 8, "precision": precision},
            is_default=False,
            error=error,
            latency_ratio=ratio,
            size_bytes=size,
            p50_ms=ratio / 10,
        )

    return make


@pytest.fixture(scope="session")
def default(trial: Trial) -> Trial:
    """Return a function that makes the result of the default recipe."""

    def make(number: int, error: float, ratio: float, precision: str = "fp32") -> TrialResult:
        return dataclasses.replace(trial(number, error, ratio, 2000, precision=precision), is_default=True)

    return make


@pytest.fixture(scope="session")
def record() -> MakeRecord:
    """Return a function that makes the record of a search."""

    def make(trials: Sequence[TrialResult], **changes: object) -> SearchRecord:
        plain = SearchRecord("data", "laptop-x86", "openvino", "MAE", "lav", tuple(trials))
        return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]

    return make
