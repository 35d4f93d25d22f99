from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.architecture_search.storage import open_storage
from edge_msa.errors import BackendUnavailableError, StorageError, UsageError


@pytest.mark.parametrize(
    ("location", "error", "message"),
    [
        ("nosuch://host/db", UsageError, "--storage must be a file or a database URL, got nosuch://host/db"),
        ("sqlite:////no/such/folder/search.db", StorageError, "unable to open database file"),
        ("mysql+pymysql://me:secret@nowhere/db", BackendUnavailableError, r"driver for .*me:\*\*\*@nowhere/db is not"),
    ],
)
def test_an_unreachable_storage_is_a_one_line_error(location: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        open_storage(location)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["search.db", "search.log"])
def test_a_damaged_storage_is_a_one_line_error(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no database\n" * 400)
    with pytest.raises(StorageError, match="cannot be used") as caught:
        open_storage(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_folder_is_not_a_storage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got the folder"):
        open_storage(str(tmp_path))
