from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_msa.artifacts import durations
from edge_msa.artifacts.durations import estimate_seconds, last_seconds, record_seconds
from edge_msa.artifacts.requests import Request


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "durations.json"


def request(command: str = "train hrlf", **recipe: object) -> Request:
    return Request(command, {"epochs": 2, **recipe}, 0, {"data": "digest"})


@pytest.mark.parametrize(
    ("recipe", "seconds"),
    [({}, 30.0), ({"epochs": 4}, 60.0), ({"batch_size": 64}, None), ({"epochs": 2, "robust_epochs": 2}, 60.0)],
)
def test_the_estimate_is_the_duration_of_the_same_recipe_by_epochs(
    recipe: dict[str, Any], seconds: float | None, tmp_path: Path
) -> None:
    record_seconds(tmp_path / "teacher", "train hrlf", request().recipe, 30)
    for output in (tmp_path / "teacher", tmp_path / "other"):
        assert estimate_seconds(output, request(**recipe)) == seconds
        assert estimate_seconds(output, request("train almt", **recipe)) is None


def test_results_of_other_folders_are_no_estimate(tmp_path: Path) -> None:
    record_seconds(tmp_path / "large" / "teacher", "train hrlf", request().recipe, 3000)
    assert estimate_seconds(tmp_path / "small" / "teacher", request()) is None


def test_the_output_itself_comes_first_and_then_the_newest(tmp_path: Path) -> None:
    for name, seconds in (("a", 1), ("b", 2), ("c", 3), ("a", 4)):
        record_seconds(tmp_path / name, "train hrlf", request().recipe, seconds)
    assert estimate_seconds(tmp_path / "b", request()) == 2
    assert estimate_seconds(tmp_path / "new", request()) == 4
    assert last_seconds(tmp_path / "a") == 4
    assert last_seconds(tmp_path / "new") is None


def test_a_damaged_file_is_ignored_and_replaced(tmp_path: Path, cache: Path) -> None:
    cache.parent.mkdir()
    for content in ("no JSON", "{}", '[{"seconds": 1}, 5]'):
        cache.write_text(content)
        assert estimate_seconds(tmp_path / "teacher", request()) is None
        record_seconds(tmp_path / "teacher", "train hrlf", {"epochs": 2}, 3.21)
        (entry,) = json.loads(cache.read_text())
        assert entry == {
            "output": str(tmp_path / "teacher"),
            "command": "train hrlf",
            "recipe": {"epochs": 2},
            "seconds": 3.2,
        }


def test_the_file_is_bounded(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "MAX_ENTRIES", 3)
    for number in range(5):
        record_seconds(tmp_path / str(number), "export", {}, number)
    assert [entry["seconds"] for entry in json.loads(cache.read_text())] == [2, 3, 4]


def test_a_folder_that_cannot_be_written_loses_only_the_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "file"))
    record_seconds(tmp_path / "teacher", "export", {}, 1)
    assert last_seconds(tmp_path / "teacher") is None
