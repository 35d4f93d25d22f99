from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge_msa_runtime.atomic_files import atomic_file, replace_folder, restore_folder, write_file


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_folder(path: Path, content: bytes) -> Path:
    path.mkdir()
    (path / "file").write_bytes(content)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_by_its_new_content(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        write_file(tmp_path / "folder" / "file", content)
        assert contents(tmp_path) == {"folder/file": content}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failed_write_leaves_the_old_file(error: type, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_file(path) as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert contents(tmp_path) == {"file": b"old"}


def test_an_unfinished_file_is_not_visible_under_its_name(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file") as file:
        file.write(b"half")
        assert "file" not in names(tmp_path)
    assert names(tmp_path) == ["file"]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "file") as first, atomic_file(tmp_path / "file") as second:
        first.write(b"first")
        second.write(b"second")
    assert contents(tmp_path) == {"file": b"first"}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_written_file_has_the_default_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_file(tmp_path / "atomic", b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_a_folder_replaces_an_older_one(tmp_path: Path) -> None:
    make_folder(tmp_path / "place", b"old")
    replace_folder(make_folder(tmp_path / "new", b"new"), tmp_path / "place")
    assert contents(tmp_path) == {"place/file": b"new"}


def test_a_failed_rename_restores_the_old_folder(tmp_path: Path) -> None:
    make_folder(tmp_path / "place", b"old")
    with pytest.raises(OSError, match="nowhere"):
        replace_folder(tmp_path / "nowhere", tmp_path / "place")
    assert contents(tmp_path) == {"place/file": b"old"}


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    make_folder(tmp_path / ".place.old", b"old")
    restore_folder(tmp_path / "place")
    assert contents(tmp_path) == {"place/file": b"old"}
    restore_folder(tmp_path / "place")
    assert contents(tmp_path) == {"place/file": b"old"}
