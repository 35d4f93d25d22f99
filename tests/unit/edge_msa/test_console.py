from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from edge_msa.console import (
    Progress,
    command_messages,
    format_size,
    keep_progress,
    kept_progress,
    messages,
    print_detail,
    print_json,
    print_next,
    print_note,
    print_notes,
    print_output,
    print_progress,
    print_result,
    print_step,
    report_progress,
    total_size,
)


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (4000, "4 KB"), (2_500_000, "2.5 MB")])
def test_sizes_have_decimal_units(size: int, text: str) -> None:
    assert format_size(size) == text


def test_the_size_of_a_folder_is_the_sum_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"12")
    assert total_size(tmp_path) == 7
    assert total_size(tmp_path / "c") == 2


def print_everything() -> None:
    print_result("result")
    print_step("step")
    print_progress("progress")
    print_detail("detail")
    print_note("note")
    print_next("edge-msa report")
    print_json({"a": 1})


STEP = "== step"
NEXT = "next: edge-msa report"
JSON = '{"a":1}'


def test_the_library_is_silent_and_logs(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "edge_msa"), messages(verbose=False):
        print_everything()
    assert capsys.readouterr() == ("", "")
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "step"),
        ("INFO", "progress"),
        ("DEBUG", "detail"),
        ("WARNING", "note"),
    ]


def test_notes_of_the_library_do_not_reach_the_terminal_of_a_program_without_logging() -> None:
    code = "from edge_msa.console import print_note; print_note('x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_verbose_prints_everything_but_details(capsys: pytest.CaptureFixture[str]) -> None:
    with messages(verbose=True), messages(verbose=False), messages():
        print_everything()
    print_everything()
    out, err = capsys.readouterr()
    assert out.splitlines() == ["result", STEP, NEXT, JSON]
    assert err.splitlines() == ["progress", "note: note"]


@pytest.mark.parametrize(
    ("options", "out", "err"),
    [
        ({}, ["result", STEP, NEXT, JSON], ["progress", "note: note"]),
        ({"details": True}, ["result", STEP, NEXT, JSON], ["progress", "detail", "note: note"]),
        ({"quiet": True}, ["result", JSON], []),
        ({"json": True}, [JSON], ["result", STEP, "progress", "note: note", NEXT]),
        ({"json": True, "quiet": True}, [JSON], []),
    ],
)
def test_options_of_commands_select_what_is_printed(
    options: dict[str, Any], out: list[str], err: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with command_messages(**options):
        print_everything()
    printed = capsys.readouterr()
    assert (printed.out.splitlines(), printed.err.splitlines()) == (out, err)


def test_quiet_and_verbose_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="verbose and quiet"), messages(verbose=True, quiet=True):
        pass


def test_progress_is_reported_to_the_innermost_callback(capsys: pytest.CaptureFixture[str]) -> None:
    outer: list[Progress] = []
    inner: list[Progress] = []
    with messages(on_progress=outer.append):
        report_progress("teacher: epoch", 1, None, "epoch 1")
        with messages(on_progress=inner.append):
            report_progress("teacher: epoch", 3, 20, "epoch 3 of 20")
        with messages():
            report_progress("teacher: epoch", 4, 20, "epoch 4 of 20")
    report_progress("teacher: epoch", 5, 20, "epoch 5 of 20")
    assert outer == [
        Progress("teacher: epoch", 1, None, "epoch 1"),
        Progress("teacher: epoch", 4, 20, "epoch 4 of 20"),
    ]
    assert inner == [Progress("teacher: epoch", 3, 20, "epoch 3 of 20")]
    assert capsys.readouterr() == ("", "")


def test_threads_print_what_their_own_block_allows(capsys: pytest.CaptureFixture[str]) -> None:
    inside, may_leave = Event(), Event()

    def run_verbose() -> None:
        with messages(verbose=True):
            inside.set()
            may_leave.wait(10)
            print_result("verbose")

    thread = Thread(target=run_verbose)
    thread.start()
    inside.wait(10)
    print_result("silent")
    may_leave.set()
    thread.join()
    assert capsys.readouterr().out == "verbose\n"


def test_kept_progress_belongs_to_the_outermost_block() -> None:
    with messages():
        with messages(verbose=True):
            keep_progress(Path("work"))
            keep_progress(Path("work"))
        assert kept_progress() == (Path("work"),)
    assert kept_progress() == ()


@pytest.mark.usefixtures("printing")
def test_repeated_notes_are_printed_once_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_notes(["audio is missing", "audio is missing", "vision is missing"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "note: audio is missing\nnote: vision is missing\n"


@pytest.mark.case("F38")
def test_a_command_prints_a_note_once(capsys: pytest.CaptureFixture[str]) -> None:
    with command_messages():
        for _ in range(2):
            print_notes(["audio is missing"])
        print_note("note: from a child process")
    assert capsys.readouterr().err == "note: audio is missing\nnote: from a child process\n"
    with command_messages():
        print_note("audio is missing")
    assert capsys.readouterr().err == "note: audio is missing\n"


@pytest.mark.case("F38")
def test_details_are_printed_with_verbose_only(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.getLogger("transformers").level
    for verbose in (False, True):
        with command_messages(details=verbose):
            print_detail("ranges")
            print_notes(["known"], known=True)
            assert logging.getLogger("transformers").isEnabledFor(logging.WARNING) == verbose
    assert logging.getLogger("transformers").level == before
    assert capsys.readouterr().err == "ranges\nnote: known\n"


@pytest.mark.usefixtures("printing")
def test_json_is_printed_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1, 2], "b": {"c": "d\n"}})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": [1, 2], "b": {"c": "d\n"}}


@pytest.mark.usefixtures("printing")
def test_only_the_first_process_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        print_result(rank)
    assert capsys.readouterr().out == "0\n"


@pytest.mark.usefixtures("printing")
def test_output_is_printed_with_its_size_and_next_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"123")
    print_output("archive", tmp_path / "file", "edge-msa train")
    assert capsys.readouterr().out.splitlines() == [f"archive: {tmp_path / 'file'} (3 B)", "next: edge-msa train"]


@pytest.mark.usefixtures("printing")
@pytest.mark.parametrize(("name", "quote"), [("plain", ""), ("two words", "'")])
def test_paths_in_the_next_command_are_quoted(
    name: str, quote: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.touch()
    print_output("page", path, f"edge-msa report {path}")
    assert capsys.readouterr().out.splitlines()[1] == f"next: edge-msa report {quote}{path}{quote}"
