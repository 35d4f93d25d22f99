from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_msa_export.errors import ExportError, OutputError
from edge_msa_export.folders import atomic_folder, to_export_error


def is_earlier_output(folder: Path) -> bool:
    return (folder / "output.txt").is_file()


def write_output(folder: Path, text: str) -> None:
    with atomic_folder(folder, is_earlier_output) as temporary:
        (temporary / "output.txt").write_text(text, encoding="utf-8")


def test_earlier_output_is_replaced_as_a_whole(empty_folder: Path) -> None:
    write_output(empty_folder, "old")
    (empty_folder / "left-over.txt").write_text("old", encoding="utf-8")
    write_output(empty_folder, "new")
    assert [path.name for path in empty_folder.iterdir()] == ["output.txt"]
    assert (empty_folder / "output.txt").read_text(encoding="utf-8") == "new"
    assert [path.name for path in empty_folder.parent.iterdir()] == [empty_folder.name]


def test_other_content_is_never_deleted(empty_folder: Path) -> None:
    (empty_folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(OutputError, match="not from an earlier export") as caught:
        write_output(empty_folder, "new")
    assert caught.value.exit_code == 2
    assert [path.name for path in empty_folder.iterdir()] == ["thesis.txt"]


def test_file_at_the_destination_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    with pytest.raises(OutputError, match="must be a folder"):
        write_output(tmp_path / "file", "new")


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_earlier_output_survives_an_error(tmp_path: Path, error: BaseException) -> None:
    folder = tmp_path / "output"
    write_output(folder, "old")
    expected = ExportError if isinstance(error, OSError) else KeyboardInterrupt

    def write_half() -> None:
        with atomic_folder(folder, is_earlier_output) as temporary:
            (temporary / "output.txt").write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(expected, match="no space left" if isinstance(error, OSError) else None):
        write_half()
    assert (folder / "output.txt").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


@pytest.mark.case("F37")
@pytest.mark.parametrize("removable", [True, False])
def test_the_error_says_what_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, removable: bool) -> None:
    def write_half() -> None:
        with atomic_folder(tmp_path / "output", is_earlier_output) as temporary:
            (temporary / "output.txt").write_text("half", encoding="utf-8")
            raise OSError(errno.EIO, "Input/output error")

    if not removable:
        monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(ExportError) as caught:
        write_half()
    remaining = list(tmp_path.iterdir())
    if removable:
        assert (str(caught.value).endswith("No partial output remains."), remaining) == (True, [])
    else:
        assert str(caught.value).endswith(f"A part of it remains in {remaining[0]}; delete that folder.")


@pytest.mark.parametrize(("number", "frees_space"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_only_a_full_disk_needs_space(number: int, frees_space: bool) -> None:
    message = str(to_export_error(OSError(number, "reason"), Path("output")))
    assert ("Free some space" in message) == frees_space
    assert "hoose another folder." in message
