from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_msa.console import made, remarks, say_json, size_of, size_text


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (999, "999 B"), (4000, "4 KB"), (2_500_000, "2.5 MB")])
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12345")
    (tmp_path / "c").write_bytes(b"12")
    assert size_of(tmp_path) == 7
    assert size_of(tmp_path / "c") == 2


def test_each_remark_is_told_once_and_not_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    remarks(["audio has holes", "audio has holes", "vision is missing"])
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "note: audio has holes\nnote: vision is missing\n"


def test_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"a": [1, 2], "b": {"c": "d\n"}})
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": [1, 2], "b": {"c": "d\n"}}


def test_what_was_made_is_told_with_the_command_that_follows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"123")
    made("archive", tmp_path / "file", "edge-msa train")
    assert capsys.readouterr().out.splitlines() == [f"archive: {tmp_path / 'file'} (3 B)", "next: edge-msa train"]


def test_the_next_command_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shown in (("plain", f"{tmp_path}/plain"), ("two words", f"'{tmp_path}/two words'")):
        (tmp_path / name).touch()
        made("thing", tmp_path / name, f"edge-msa report {tmp_path / name}")
        assert capsys.readouterr().out.splitlines()[1] == f"next: edge-msa report {shown}"
