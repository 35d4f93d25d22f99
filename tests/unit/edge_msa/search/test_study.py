"""The study that processes share: claims, deaths, limits, and storages that cannot be used."""

from __future__ import annotations

import dataclasses
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_msa.errors import BackendUnavailableError, StorageError, UsageError
from edge_msa.search import lease, storage
from edge_msa.search.points import Point
from edge_msa.search.space import PRECISION, Between, Choices, Space
from edge_msa.search.study import Claimed, Study

SPACE = Space({"width": Between(1, 8), PRECISION: Choices(("fp32", "int8"))})
PARTS = {"data": "one", "target": "laptop"}

OPEN = (
    f"import sys, time\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom pathlib import Path\n"
    "from test_study import measured, opened\n"
)


def opened(folder: Path, place: str | None = None, space: Space = SPACE) -> Study:
    return Study(place or str(folder / "search.db"), folder, PARTS, space, seed=0)


def measured(claimed: Claimed) -> Point:
    return Point(claimed.number, claimed.params, claimed.default, 1.0, 0.5, 100, p50_ms=0.1, student="s", host="h")


def made(study: Study, total: int) -> list[Claimed]:
    found = []
    while claimed := study.claim(total):
        with study.held(claimed):
            study.finish(claimed, measured(claimed))
        found.append(claimed)
    return found


def test_the_default_comes_first_and_every_point_once(tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        for _ in range(2):
            study.enqueue_defaults([{"width": 5, PRECISION: "int8"}])
        found = made(study, 16)
        assert (found[0].params, found[0].default) == ({"width": 5, PRECISION: "int8"}, True)
        assert not any(claimed.default for claimed in found[1:])
        assert len({tuple(sorted(claimed.params.items())) for claimed in found}) == 16
        assert [point.params for point in study.points()] == [claimed.params for claimed in found]


def test_a_default_outside_the_space_keeps_the_sizes_that_are_in_it(tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        study.enqueue_defaults([{PRECISION: "fp32"}])
        claimed = study.claim(1)
        assert claimed is not None
        assert claimed.params == {PRECISION: "fp32"}


def test_the_same_seed_searches_the_same_points(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        with opened(tmp_path / name) as study:
            found.append([claimed.params for claimed in made(study, 6)])
    assert found[0] == found[1]


def test_a_failed_trial_counts_and_keeps_its_reason_on_one_line(tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        claimed = study.claim(1)
        assert claimed is not None
        study.fail(claimed, "the loss\ndiverged")
        assert study.claim(1) is None
        (point,) = study.points()
        assert (point.done, point.reason) == (False, "the loss diverged")


def test_a_study_goes_on_where_it_stopped_and_may_grow(tmp_path: Path) -> None:
    with opened(tmp_path) as study:
        made(study, 3)
    with opened(tmp_path) as study:
        assert len(made(study, 3)) == 0
        assert len(made(study, 5)) == 2


@pytest.mark.parametrize("place", ["search.db", "search.log"])
def test_a_trial_of_a_killed_process_is_made_again(place: str, tmp_path: Path) -> None:
    code = (
        f"{OPEN}study = opened(Path({str(tmp_path)!r}), {str(tmp_path / place)!r})\n"
        "study.enqueue_defaults([{'width': 5, 'precision': 'int8'}])\n"
        "print(study.claim(2).number, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        with opened(tmp_path, str(tmp_path / place)) as study:
            assert study.claim(1) is None  # it lives, so its trial is its own
            assert study.running() == 1
            process.kill()
            process.wait()
            found = made(study, 2)
            assert (found[0].params, found[0].default) == ({"width": 5, PRECISION: "int8"}, True)
            assert len(found) == len(study.points()) == 2
            assert study.running() == 0


def test_what_a_process_measured_after_it_was_given_up_is_left_out(tmp_path: Path) -> None:
    with opened(tmp_path) as slow, opened(tmp_path) as other:
        claimed = slow.claim(1)
        assert claimed is not None
        slow._lease.close()  # as if it were gone
        (again,) = made(other, 1)
        assert again.params == claimed.params
        slow.finish(claimed, measured(claimed))
        assert [point.number for point in other.points()] == [again.number]


def test_a_process_of_another_machine_is_heard_by_its_beat() -> None:
    elsewhere = {"host": "another", "lock": "/nowhere/1.lock", "heartbeat": time.time()}
    assert not lease.has_ended(elsewhere)
    assert lease.has_ended(elsewhere | {"heartbeat": time.time() - 2 * lease.SILENCE_SECONDS})


def test_a_beat_comes_while_the_trial_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.01)
    beats: list[float] = []
    with lease.keep_heartbeat(lambda: beats.append(time.time())):
        time.sleep(0.2)
    count = len(beats)
    assert count > 1
    time.sleep(0.05)
    assert len(beats) == count


def test_a_storage_of_another_search_is_refused_by_what_differs(tmp_path: Path) -> None:
    opened(tmp_path).__exit__()
    with pytest.raises(UsageError, match="holds another search, which differs in: data; give another --storage"):
        Study(str(tmp_path / "search.db"), tmp_path, PARTS | {"data": "two"}, SPACE, seed=0)


def test_a_locked_storage_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LOCK_SECONDS", 0.2)
    with opened(tmp_path) as study:
        database = sqlite3.connect(tmp_path / "search.db", isolation_level=None)
        database.execute("BEGIN EXCLUSIVE")
        for attempt in (lambda: opened(tmp_path), lambda: study.claim(1)):
            with pytest.raises(StorageError, match=r"search\.db is locked by another program") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        database.close()
        assert study.claim(1) is not None


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        ("nosuch://host/db", UsageError, "--storage nosuch://host/db cannot be read"),
        ("sqlite:////no/such/folder/search.db", StorageError, "unable to open database file"),
        ("mysql+pymysql://me:secret@nowhere/db", BackendUnavailableError, r"me:\*\*\*@nowhere/db needs a driver"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_one_line(
    place: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        opened(tmp_path, place)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["search.db", "search.log"])
def test_a_file_that_is_no_storage_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no database\n" * 400)
    with pytest.raises(StorageError, match="cannot be used") as caught:
        opened(tmp_path, str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_storage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        opened(tmp_path, str(tmp_path))


def test_two_processes_share_the_trials(tmp_path: Path) -> None:
    code = (
        f"{OPEN}study = opened(Path({str(tmp_path)!r}))\n"
        "study.enqueue_defaults([{'width': 5, 'precision': 'int8'}])\n"
        "count = 0\nwhile claimed := study.claim(8):\n    time.sleep(0.3)\n"
        "    study.finish(claimed, measured(claimed))\n    count += 1\nprint(count)"
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
    with opened(tmp_path) as study:
        assert [point.default for point in study.points()].count(True) == 1
        assert study.running() == 0


def test_a_point_without_numbers_is_no_result() -> None:
    with pytest.raises(ValueError, match="was not measured"):
        _ = dataclasses.replace(measured(Claimed(0, {}, default=False)), ratio=None).costs
