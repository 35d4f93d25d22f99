from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.requests import Request, allow_replacing
from edge_msa.artifacts.runs import (
    INFO_NAME,
    WEIGHTS_NAME,
    Run,
    RunInfo,
    RunKind,
    find_current_run,
    load_run,
    new_run,
    write_run,
)
from edge_msa.console import kept_progress
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import MOSI
from edge_msa.errors import RunError, RunUsageError
from edge_msa_runtime.features import FeatureSource

SPEC = ModelSpec(
    MOSI,
    {"audio": 2},
    {"audio": 5},
    {"audio": FeatureSource("COVAREP", rate_hz=100.0)},
    FeatureNormalization.identity({"audio": 2}),
    "file.npz",
)


def request(**changes: Any) -> Request:
    """Return the request of the runs that `make` makes."""
    values: dict[str, Any] = {"command": "distill", "recipe": {"width": 8}, "seed": 3, "inputs": {"data": "d"}}
    return Request(**{**values, **changes})


def info(cache_key: str = "one", kind: RunKind = "student", metrics: Mapping[str, Any] | None = None) -> RunInfo:
    return RunInfo(kind, "student", "distill", cache_key, 3, {"width": 8}, {}, SPEC, {"data": "d"}, metrics or {})


def make(output: Path, cache_key: str = "one", value: float = 1.0, kind: RunKind = "student") -> Run:
    with new_run(output, cache_key) as work:
        write_run(work, info(cache_key, kind), {"w": np.full(3, value, np.float32)}, [{"epoch": 1}])
    return load_run(output)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_is_loaded_as_it_was_written(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with new_run(output, "one") as work:
        write_run(
            work,
            info(metrics={"mae": np.float32(0.5)}),
            {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T},
            [{"epoch": 1}],
        )
    run = load_run(output, "student")
    assert run.info.metrics == {"mae": 0.5}
    assert run.info.versions["python"]
    assert (run.info.seed, run.info.recipe) == (3, {"width": 8})
    np.testing.assert_array_equal(run.weights["w"], np.arange(6).reshape(2, 3).T)
    assert (output / "log.jsonl").read_text() == '{"epoch": 1}\n'


def test_an_unfinished_run_is_not_visible_under_its_name(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with new_run(output, "one") as work:
        assert not output.exists()
        assert work.name.startswith(".")
        write_run(work, info(), {}, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_checkpoints_are_not_part_of_the_finished_run(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with new_run(output, "one") as work:
        (work / "stage").mkdir()
        (work / "stage" / "checkpoint.pt").touch()
        (work / "checkpoint.pt").touch()
        (work / "statistics.npz").touch()
        write_run(work, info(), {}, [])
    assert set(contents(output)) == {INFO_NAME, WEIGHTS_NAME, "log.jsonl", "statistics.npz"}


def test_two_commands_cannot_make_the_same_run_at_once(tmp_path: Path) -> None:
    with new_run(tmp_path / "run", "one") as work:
        with pytest.raises(RunError, match="Another command is writing"):
            make(tmp_path / "run", "two")
        write_run(work, info("one"), {"w": np.zeros(1, np.float32)}, [])
    assert load_run(tmp_path / "run").info.cache_key == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_run_survives_a_kill_during_its_replacement(tmp_path: Path) -> None:
    make(tmp_path / "run", request().cache_key)
    (tmp_path / "run").rename(tmp_path / ".run.old")
    result = find_current_run(tmp_path / "run", request())
    assert result is not None
    assert result.info.cache_key == request().cache_key
    assert not (tmp_path / ".run.old").exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_attempt_keeps_the_old_run_and_can_resume(error: type[BaseException], tmp_path: Path) -> None:
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
    assert load_run(output).info.cache_key == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_an_attempt_with_another_cache_key_starts_empty(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with pytest.raises(ValueError, match="stop"), new_run(output, "one") as work:  # noqa: PT012
        (work / "checkpoint.pt").touch()
        raise ValueError("stop")
    with new_run(output, "two") as work:
        assert not (work / "checkpoint.pt").exists()
        write_run(work, info("two"), {}, [])


@pytest.mark.parametrize("name", ["notes.txt", "manifest.json", ".hidden"])
def test_a_folder_that_is_not_a_run_is_never_replaced(name: str, tmp_path: Path) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    (output / name).write_text("mine")
    with pytest.raises(RunError, match="nothing was changed"), new_run(output, "one"):
        pass
    assert contents(output) == {name: b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


def test_an_empty_folder_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is a file"), new_run(tmp_path / "file", "one"):
        pass
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")


def test_a_run_of_the_same_request_and_code_is_current(tmp_path: Path) -> None:
    make(tmp_path / "run", request().cache_key)
    assert find_current_run(tmp_path / "run", request()) is not None
    assert find_current_run(tmp_path / "nothing", request()) is None


def test_a_finished_run_survives_a_kill_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: Path) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("edge_msa.artifacts.runs.replace_folder", kill)
        with pytest.raises(SystemExit):
            make(tmp_path / "run", request().cache_key)
    result = find_current_run(tmp_path / "run", request())
    assert result is not None
    assert set(contents(tmp_path)) == {f"run/{name}" for name in (INFO_NAME, WEIGHTS_NAME, "log.jsonl")}


@pytest.mark.case("F37")
def test_an_attempt_without_progress_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), new_run(tmp_path / "run", "one"):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
    assert kept_progress() == ()


@pytest.mark.case("F37")
@pytest.mark.usefixtures("printing")
def test_an_attempt_with_progress_says_where_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), new_run(tmp_path / "run", "one") as work:  # noqa: PT012
        for _ in range(2):
            (work / "checkpoint.pt").touch(exist_ok=False)
    assert kept_progress() == (tmp_path / ".run.partial",)


@pytest.mark.case("F29")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 4}, "seed 3 -> 4"),
        ({"recipe": {"width": 9}}, "width 8 -> 9"),
        ({"recipe": {"width": 8, "gru": {"layers": 1}}}, "gru.layers none -> 1"),
        ({"inputs": {"data": "other"}, "names": {"data": "b.npz"}}, r"data file.npz \(d\) -> b.npz \(other\)"),
        (
            {"recipe": dict.fromkeys("abcd", 1), "inputs": {"data": "other"}},
            r"data file.npz \(d\) -> other; width 8 -> none; a none -> 1; and 3 more",
        ),
        ({"inputs": {"data": "d", "teacher": "t"}}, "teacher none -> t"),
        ({"command": "train hrlf"}, "command distill -> train hrlf"),
    ],
)
def test_a_run_of_another_request_is_not_replaced(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    make(tmp_path / "run")
    pattern = rf"another request \(`distill` with seed 3\). This command differs: {message}. Pass --overwrite"
    with pytest.raises(RunUsageError, match=pattern):
        find_current_run(tmp_path / "run", request(**changes))
    with allow_replacing("any"):
        assert find_current_run(tmp_path / "run", request(**changes)) is None


@pytest.mark.case("F29")
@pytest.mark.usefixtures("printing")
def test_a_run_of_other_code_is_made_again_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "run", "key of other code")
    assert find_current_run(tmp_path / "run", request()) is None
    assert "run is out of date or damaged, and will be replaced." in capsys.readouterr().err


@pytest.mark.case("F29")
def test_a_pipeline_replaces_runs_of_other_teachers_only(tmp_path: Path) -> None:
    make(tmp_path / "run")
    with allow_replacing("upstream"):
        assert find_current_run(tmp_path / "run", request(inputs={"data": "d", "teacher": "t"})) is None
        with pytest.raises(RunUsageError, match="differs: seed 3 -> 4"):
            find_current_run(tmp_path / "run", request(seed=4, inputs={"data": "d", "teacher": "t"}))


@pytest.mark.case("F29")
@pytest.mark.usefixtures("printing")
def test_a_damaged_run_is_replaced_by_a_pipeline_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "run")
    (tmp_path / "run" / INFO_NAME).write_text("{")
    with pytest.raises(RunUsageError, match="cannot be read or is from another version"):
        find_current_run(tmp_path / "run", request())
    with allow_replacing("upstream"):
        assert find_current_run(tmp_path / "run", request()) is None
    assert capsys.readouterr().err == f"note: {tmp_path / 'run'} cannot be read and will be replaced.\n"


def test_the_digest_depends_on_the_weights(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", value=1.0), make(tmp_path / "b", value=2.0)
    assert first.digest != second.digest
    assert first.digest == make(tmp_path / "c", value=1.0).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Cannot read"),
        ("[1, 2]", "Cannot read"),
        ("null", "Cannot read"),
        ("\x00", "Cannot read"),
        ('{"kind": "student"}', "Cannot read"),
        ('{"surprise": 1}', "invalid field"),
    ],
)
def test_a_damaged_run_json_gives_a_one_line_error(text: str, message: str, tmp_path: Path) -> None:
    make(tmp_path / "run")
    (tmp_path / "run" / INFO_NAME).write_text(text)
    with pytest.raises(RunError, match=message) as caught:
        load_run(tmp_path / "run")
    assert "Make the run again" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "run").path / INFO_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(RunError, match="schema must be 6, got 99"):
        load_run(tmp_path / "run")


def test_missing_or_truncated_weights_are_an_error(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    weights = run.path / WEIGHTS_NAME
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(RunError, match="Make the run again"):
        _ = run.weights
    weights.unlink()
    with pytest.raises(RunError, match=f"has no {WEIGHTS_NAME}"):
        load_run(run.path)


def test_a_run_of_another_kind_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "run", kind="teacher")
    with pytest.raises(RunError, match="must be a student or calibration run, got a teacher run"):
        load_run(tmp_path / "run", "student", "calibration")


@pytest.mark.parametrize("exists", [False, True])
def test_a_missing_run_names_the_commands_that_make_one(exists: bool, tmp_path: Path) -> None:
    if exists:
        (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match="no run.json" if exists else "does not exist"):
        load_run(tmp_path / "run")


def test_all_files_of_a_run_have_the_same_permissions(tmp_path: Path) -> None:
    make(tmp_path / "run")
    assert len({path.stat().st_mode for path in (tmp_path / "run").iterdir()}) == 1


def test_a_full_disk_gives_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="No space left on device"):
        make(tmp_path / "run")
    assert not (tmp_path / "run").exists()
