from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from edge_msa.console import (
    format_size,
    print_detail,
    print_json,
    print_note,
    print_notes,
    print_output,
    print_result,
    set_verbose,
    start_command,
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


def test_repeated_notes_are_printed_once_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_notes(["audio is missing", "audio is missing", "vision is missing"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "note: audio is missing\nnote: vision is missing\n"


@pytest.mark.case("F38")
def test_a_command_prints_a_note_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        print_notes(["audio is missing"])
    print_note("note: from a child process")
    assert capsys.readouterr().err == "note: audio is missing\nnote: from a child process\n"
    start_command()
    print_note("audio is missing")
    assert capsys.readouterr().err == "note: audio is missing\n"


@pytest.mark.case("F38")
def test_details_are_printed_with_verbose_only(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        set_verbose(verbose=verbose)
        print_detail("ranges")
        print_notes(["known"], known=True)
        assert logging.getLogger("transformers").isEnabledFor(logging.WARNING) == verbose
    assert capsys.readouterr().err == "ranges\nnote: known\n"


def test_json_is_printed_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1, 2], "b": {"c": "d\n"}})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": [1, 2], "b": {"c": "d\n"}}


def test_only_the_first_process_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        print_result(rank)
    assert capsys.readouterr().out == "0\n"


def test_output_is_printed_with_its_size_and_next_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"123")
    print_output("archive", tmp_path / "file", "edge-msa train")
    assert capsys.readouterr().out.splitlines() == [f"archive: {tmp_path / 'file'} (3 B)", "next: edge-msa train"]


@pytest.mark.parametrize(("name", "quote"), [("plain", ""), ("two words", "'")])
def test_paths_in_the_next_command_are_quoted(
    name: str, quote: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.touch()
    print_output("page", path, f"edge-msa report {path}")
    assert capsys.readouterr().out.splitlines()[1] == f"next: edge-msa report {quote}{path}{quote}"
