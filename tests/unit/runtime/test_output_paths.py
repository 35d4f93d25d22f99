from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_msa_runtime.cli.main import main
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.output_paths import CONTAINER, FILE, FOLDER, check_distinct_outputs, check_output

pytestmark = pytest.mark.case("F20")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a file, a run with a file, and links."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "weights").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(str(tmp_path / "fifo"))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "kind", "inputs", "message"),
    [
        ("run", FILE, (), "is a folder. Pass the path of a file"),
        (".", FILE, (), "is a folder. Pass the path of a file"),
        ("file", FOLDER, (), "is a file. Pass the path of a folder"),
        ("file", CONTAINER, (), "is a file. Pass the path of a folder"),
        ("fifo", FILE, (), "is not a regular file"),
        ("dangling", FILE, (), "is not a regular file"),
        ("dangling", CONTAINER, (), "is a link to nothing"),
        ("link", FOLDER, (), "is a link. Pass the folder itself"),
        ("file/x", FILE, (), "file is not a folder"),
        ("file/x/y", FOLDER, (), "file is not a folder"),
        ("/proc/x", FILE, (), "/proc is not writable"),
        ("/proc/x/y", FOLDER, (), "/proc is not writable"),
        ("/proc", CONTAINER, (), "/proc is not writable"),
        ("x" * 250, FILE, (), "File name too long"),
        ("a\0b", FILE, (), "not a valid path"),
        ("run", FOLDER, ("run",), "would overwrite an input"),
        ("run", FOLDER, ("link",), "would overwrite an input"),
        ("run", CONTAINER, ("run",), "is also an input"),
        ("run/x", FILE, ("run",), "is inside the input"),
        ("link/x/y", FOLDER, ("run",), "is inside the input"),
        ("run", FOLDER, ("run/weights",), "contains the input"),
        ("file", FILE, ("file",), "would overwrite an input"),
    ],
)
def test_an_unusable_output_is_refused(
    path: str, kind: str, inputs: tuple[str, ...], message: str, folder: Path
) -> None:
    before = sorted(folder.rglob("*"))
    with pytest.raises(UsageError) as caught:
        check_output(folder / path, kind, [folder / item for item in inputs])
    assert message in str(caught.value)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "kind", "inputs"),
    [
        ("new", FILE, ("run", "file")),
        ("a/b/c", FOLDER, ("run", "nothing")),
        ("file", FILE, ("run",)),
        ("run", FOLDER, ("file",)),
        ("link", CONTAINER, ()),
        (".", CONTAINER, ("run", "file")),
    ],
)
def test_a_usable_output_is_accepted(path: str, kind: str, inputs: tuple[str, ...], folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    check_output(folder / path, kind, [folder / item for item in inputs])
    assert sorted(folder.rglob("*")) == before


def test_two_outputs_must_differ(tmp_path: Path) -> None:
    check_distinct_outputs([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(UsageError, match="Two outputs have the path"):
        check_distinct_outputs([tmp_path / "a", tmp_path / "x" / ".." / "a"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(UsageError, match="not writable"):
        check_output(tmp_path / "x", FILE)


def test_the_command_line_checks_its_output_first(
    shared_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(shared_bundle), "--data", str(tmp_path / "t.csv"), "--output"]
    (tmp_path / "t.csv").touch()
    for output, message in (
        (shared_bundle / "x.json", "is inside the input"),
        (tmp_path / "t.csv", "would overwrite an input"),
        (tmp_path / "t.csv" / "x.csv", "is not a folder"),
    ):
        assert main([*command, str(output)]) == 2
        assert message in capsys.readouterr().err
