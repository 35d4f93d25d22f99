from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_msa.data.extraction.scheduling import Function, open_workers
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa_runtime.vendor_packages import import_package
from tests.unit.edge_msa.data.extraction.work import crash_at_three, fail, refuse, square

CALLS = [(number,) for number in range(9)]


def squares(function: Function, count: int, scheduler: str | None = None) -> dict[int, object]:
    with open_workers(count, scheduler) as workers:
        return {index: outcome.reason or outcome.value for index, outcome in workers.run(function, CALLS)}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Return the address of a dask cluster of two processes."""
    distributed = import_package("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster.scheduler_address


def test_this_process_runs_everything_in_order() -> None:
    assert list(squares(square, 1).items()) == [(number, number**2) for number in range(9)]


@pytest.mark.slow
def test_processes_run_everything() -> None:
    assert squares(square, 2) == {number: number**2 for number in range(9)}


@pytest.mark.slow
def test_work_that_crashes_its_process_is_given_up() -> None:
    results = squares(crash_at_three, 2)
    assert len(results) == 9
    assert results.pop(3) == "The process that decoded it has crashed."
    assert {index: value[0] for index, value in results.items()} == {  # type: ignore[index]
        number: number**2 for number in range(9) if number != 3
    }
    assert os.getpid() not in {value[1] for value in results.values()}  # type: ignore[index]


@pytest.mark.slow
def test_a_script_without_a_guard_gets_advice(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from edge_msa.data.extraction.scheduling import open_workers\nopen_workers(2, None).__enter__()\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert 'call the function under if __name__ == "__main__"' in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_an_error_of_the_environment_stops_the_processes() -> None:
    with pytest.raises(BackendUnavailableError, match="a package is missing"):
        squares(refuse, 2)
    with pytest.raises(BackendUnavailableError, match=r"A worker failed \(ValueError: a bug\)"):
        squares(fail, 2)


@pytest.mark.slow
def test_a_cluster_runs_everything(scheduler: str) -> None:
    assert squares(square, 1, scheduler) == {number: number**2 for number in range(9)}
    with pytest.raises(BackendUnavailableError, match="a package is missing"):
        squares(refuse, 1, scheduler)


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1:1", "tcp://nowhere.invalid:8786"])
@pytest.mark.slow
def test_a_wrong_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_msa.data.extraction.scheduling._CONNECT_SECONDS", "1s")
    with pytest.raises(UsageError, match="--scheduler must be the address of a running dask scheduler"):
        squares(square, 1, address)
