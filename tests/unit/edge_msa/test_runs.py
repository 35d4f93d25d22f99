from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.artifacts.runs import (
    INFO_NAME,
    WEIGHTS_NAME,
    Run,
    RunInfo,
    RunKind,
    cache_key_of,
    current_run,
    new_run,
    read_run,
    replace_folder,
    write_run,
)
from edge_msa.errors import RunError


def info(cache_key: str = "one", kind: RunKind = "student", metrics: Mapping[str, Any] | None = None) -> RunInfo:
    return RunInfo(kind, "student", "distill", cache_key, 3, {"width": 8}, {}, {}, {"data": "d"}, metrics or {})


def make(output: Path, cache_key: str = "one", value: float = 1.0, kind: RunKind = "student") -> Run:
    with new_run(output, cache_key) as work:
        write_run(work, info(cache_key, kind), {"w": np.full(3, value, np.float32)}, [{"epoch": 1}])
    return read_run(output)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_reads_back_as_it_was_written(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with new_run(output, "one") as work:
        write_run(
            work,
            info(metrics={"mae": np.float32(0.5)}),
            {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T},
            [{"epoch": 1}],
        )
    run = read_run(output, "student")
    assert run.info.metrics == {"mae": 0.5}
    assert run.info.versions["python"]
    assert (run.info.seed, run.info.recipe) == (3, {"width": 8})
    np.testing.assert_array_equal(run.weights["w"], np.arange(6).reshape(2, 3).T)
    assert (output / "log.jsonl").read_text() == '{"epoch": 1}\n'


def test_while_a_run_is_made_nothing_has_its_name(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with new_run(output, "one") as work:
        assert not output.exists()
        assert work.name.startswith(".")
        write_run(work, info(), {}, [])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_checkpoints_do_not_travel_with_the_run(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with new_run(output, "one") as work:
        (work / "stage").mkdir()
        (work / "stage" / "checkpoint.pt").touch()
        (work / "checkpoint.pt").touch()
        (work / "statistics.npz").touch()
        write_run(work, info(), {}, [])
    assert set(contents(output)) == {INFO_NAME, WEIGHTS_NAME, "log.jsonl", "statistics.npz"}


def test_two_commands_do_not_make_the_same_run_at_once(tmp_path: Path) -> None:
    with new_run(tmp_path / "run", "one") as work:
        with pytest.raises(RunError, match="another command is making"):
            make(tmp_path / "run", "two")
        write_run(work, info("one"), {"w": np.zeros(1, np.float32)}, [])
    assert read_run(tmp_path / "run").info.cache_key == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_kill_between_the_two_renames_loses_no_run(tmp_path: Path) -> None:
    make(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / ".run.old")
    found = current_run(tmp_path / "run", "one")
    assert found is not None
    assert found.info.cache_key == "one"
    assert not (tmp_path / ".run.old").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_old_run_and_what_the_next_attempt_goes_on_from(
    error: type[BaseException], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    make(output, "old")
    before = contents(output)
    with pytest.raises(error), new_run(output, "one") as work:  # noqa: PT012
        (work / "checkpoint.pt").write_text("epoch 3")
        raise error
    assert contents(output) == before
    with new_run(output, "one") as work:
        assert (work / "checkpoint.pt").read_text() == "epoch 3"
        write_run(work, info(), {}, [])
    assert read_run(output).info.cache_key == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_another_identity_left_behind_is_not_gone_on_from(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with pytest.raises(ValueError, match="stop"), new_run(output, "one") as work:  # noqa: PT012
        (work / "checkpoint.pt").touch()
        raise ValueError("stop")
    with new_run(output, "two") as work:
        assert not (work / "checkpoint.pt").exists()
        write_run(work, info("two"), {}, [])


def test_a_failing_rename_brings_the_old_run_back(tmp_path: Path) -> None:
    output = tmp_path / "run"
    make(output)
    before = contents(output)
    with pytest.raises(OSError, match="nowhere"):
        replace_folder(tmp_path / "nowhere", output)
    assert contents(output) == before


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json", ".hidden"])
def test_a_folder_that_is_no_run_is_never_replaced(name: str, tmp_path: Path) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    (output / name).write_text("mine")
    with pytest.raises(RunError, match="nothing was changed"), new_run(output, "one"):
        pass
    assert contents(output) == {name: b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_a_file_is_not_replaced_and_an_empty_folder_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is a file"), new_run(tmp_path / "file", "one"):
        pass
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")


def test_a_run_is_current_while_its_identity_is_the_same(tmp_path: Path) -> None:
    make(tmp_path / "run", "one")
    assert current_run(tmp_path / "run", "one") is not None
    assert current_run(tmp_path / "run", "two") is None
    assert current_run(tmp_path / "nothing", "one") is None


@pytest.mark.parametrize(
    ("command", "recipe", "seed", "inputs"),
    [
        ("train", {"epochs": 1}, 0, {"data": "x"}),
        ("distill", {"epochs": 2}, 0, {"data": "x"}),
        ("distill", {"epochs": 1}, 1, {"data": "x"}),
        ("distill", {"epochs": 1}, 0, {"data": "y"}),
        ("distill", {"epochs": 1}, 0, {"data": "x", "teacher": "t"}),
    ],
)
def test_everything_that_a_result_depends_on_is_in_its_identity(
    command: str, recipe: dict[str, int], seed: int, inputs: dict[str, str]
) -> None:
    same = cache_key_of("distill", {"epochs": 1}, 0, {"data": "x"})
    assert cache_key_of("distill", {"epochs": 1}, 0, {"data": "x"}) == same
    assert cache_key_of(command, recipe, seed, inputs) != same


def test_the_digest_follows_the_weights(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", value=1.0), make(tmp_path / "b", value=2.0)
    assert first.digest != second.digest
    assert first.digest == make(tmp_path / "c", value=1.0).digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[1, 2]", "cannot be read"),
        ("null", "cannot be read"),
        ("\x00", "cannot be read"),
        ('{"kind": "student"}', "cannot be read"),
        ('{"surprise": 1}', "surprise"),
    ],
)
def test_a_damaged_run_json_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    make(tmp_path / "run")
    (tmp_path / "run" / INFO_NAME).write_text(text)
    with pytest.raises(RunError, match=said) as caught:
        read_run(tmp_path / "run")
    assert "make the run again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "run").path / INFO_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(RunError, match="schema 99"):
        read_run(tmp_path / "run")


def test_weights_that_are_missing_or_truncated_are_told(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    weights = run.path / WEIGHTS_NAME
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RunError, match="make the run again"):
        _ = run.weights
    weights.unlink()
    with pytest.raises(RunError, match=f"lacks {WEIGHTS_NAME}"):
        read_run(run.path)


def test_a_run_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path / "run", kind="teacher")
    with pytest.raises(RunError, match="is a teacher run, this command needs a student or calibration run"):
        read_run(tmp_path / "run", "student", "calibration")


@pytest.mark.parametrize("made", [False, True])
def test_where_no_run_is_the_way_to_one_is_told(made: bool, tmp_path: Path) -> None:
    if made:
        (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match="no run.json" if made else "does not exist"):
        read_run(tmp_path / "run")


def test_all_files_of_a_run_can_be_read_by_the_same_people(tmp_path: Path) -> None:
    make(tmp_path / "run")
    assert len({path.stat().st_mode for path in (tmp_path / "run").iterdir()}) == 1


def test_weights_that_do_not_fit_on_the_disk_are_an_error_of_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="No space left on device"):
        make(tmp_path / "run")
    assert not (tmp_path / "run").exists()
