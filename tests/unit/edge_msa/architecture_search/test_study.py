from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edge_msa.architecture_search import storage
from edge_msa.architecture_search.space import PRECISION, Choices, Range, SearchSpace
from edge_msa.architecture_search.study import Study
from edge_msa.architecture_search.trials import ClaimedTrial, TrialResult
from edge_msa.errors import StorageError, UsageError

SPACE = SearchSpace({"width": Range(1, 8), PRECISION: Choices(("fp32", "int8"))})
INPUTS = {"data": "one", "target": "laptop"}

OPEN = (
    f"import sys, time\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom pathlib import Path\n"
    "from test_study import measure, open_study\n"
)


def open_study(folder: Path, location: str | None = None, space: SearchSpace = SPACE) -> Study:
    return Study(location or str(folder / "search.db"), folder, INPUTS, space, seed=0)


def measure(claimed: ClaimedTrial) -> TrialResult:
    return TrialResult(
        claimed.number, claimed.params, claimed.is_default, 1.0, 0.5, 100, p50_ms=0.1, student="s", host="h"
    )


def run_trials(study: Study, total: int) -> list[ClaimedTrial]:
    trials = []
    while claimed := study.claim(total):
        with study.keep_alive(claimed):
            study.finish(claimed, measure(claimed))
        trials.append(claimed)
    return trials


def test_the_default_comes_first_and_no_point_repeats(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        for _ in range(2):
            study.enqueue_defaults([{"width": 5, PRECISION: "int8"}])
        trials = run_trials(study, 16)
        assert (trials[0].params, trials[0].is_default) == ({"width": 5, PRECISION: "int8"}, True)
        assert not any(claimed.is_default for claimed in trials[1:])
        assert len({tuple(sorted(claimed.params.items())) for claimed in trials}) == 16
        assert [result.params for result in study.results()] == [claimed.params for claimed in trials]


def test_a_default_may_lack_dimensions(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        study.enqueue_defaults([{PRECISION: "fp32"}])
        claimed = study.claim(1)
        assert claimed is not None
        assert claimed.params == {PRECISION: "fp32"}


def test_equal_seeds_try_equal_points(tmp_path: Path) -> None:
    params = []
    for name in ("a", "b"):
        with open_study(tmp_path / name) as study:
            params.append([claimed.params for claimed in run_trials(study, 6)])
    assert params[0] == params[1]


def test_a_failed_trial_counts(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        claimed = study.claim(1)
        assert claimed is not None
        study.fail(claimed, "the loss\ndiverged")
        assert study.claim(1) is None
        (result,) = study.results()
        assert (result.is_measured, result.failure) == (False, "the loss diverged")


def test_a_study_resumes_and_may_grow(tmp_path: Path) -> None:
    with open_study(tmp_path) as study:
        run_trials(study, 3)
    with open_study(tmp_path) as study:
        assert len(run_trials(study, 3)) == 0
        assert len(run_trials(study, 5)) == 2


@pytest.mark.parametrize("name", ["search.db", "search.log"])
def test_a_trial_of_a_killed_worker_is_requeued(name: str, tmp_path: Path) -> None:
    code = (
        f"{OPEN}study = open_study(Path({str(tmp_path)!r}), {str(tmp_path / name)!r})\n"
        "study.enqueue_defaults([{'width': 5, 'precision': 'int8'}])\n"
        "print(study.claim(2).number, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        with open_study(tmp_path, str(tmp_path / name)) as study:
            assert study.claim(1) is None  # The other worker is alive, so it keeps its trial.
            assert study.count_running() == 1
            process.kill()
            process.wait()
            trials = run_trials(study, 2)
            assert (trials[0].params, trials[0].is_default) == ({"width": 5, PRECISION: "int8"}, True)
            assert len(trials) == len(study.results()) == 2
            assert study.count_running() == 0


def test_a_result_after_the_lease_expired_is_ignored(tmp_path: Path) -> None:
    with open_study(tmp_path) as slow, open_study(tmp_path) as other:
        claimed = slow.claim(1)
        assert claimed is not None
        slow._lease.close()  # as if its process had ended
        (requeued,) = run_trials(other, 1)
        assert requeued.params == claimed.params
        slow.finish(claimed, measure(claimed))
        assert [result.number for result in other.results()] == [requeued.number]


def test_another_search_is_rejected_with_the_difference(tmp_path: Path) -> None:
    open_study(tmp_path).__exit__()
    with pytest.raises(UsageError, match=r"contains another search, which differs in: data\. Pass another --storage"):
        Study(str(tmp_path / "search.db"), tmp_path, INPUTS | {"data": "two"}, SPACE, seed=0)


def test_a_locked_storage_is_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    with open_study(tmp_path) as study:
        database = sqlite3.connect(tmp_path / "search.db", isolation_level=None)
        database.execute("BEGIN EXCLUSIVE")
        for attempt in (lambda: open_study(tmp_path), lambda: study.claim(1)):
            with pytest.raises(StorageError, match=r"search\.db has been locked by another program") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        database.close()
        assert study.claim(1) is not None


def test_two_workers_share_the_trials(tmp_path: Path) -> None:
    code = (
        f"{OPEN}study = open_study(Path({str(tmp_path)!r}))\n"
        "study.enqueue_defaults([{'width': 5, 'precision': 'int8'}])\n"
        "count = 0\nwhile claimed := study.claim(8):\n    time.sleep(0.3)\n"
        "    study.finish(claimed, measure(claimed))\n    count += 1\nprint(count)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    counts = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        counts.append(int(out))
    assert sum(counts) == 8
    with open_study(tmp_path) as study:
        assert [result.is_default for result in study.results()].count(True) == 1
        assert study.count_running() == 0
