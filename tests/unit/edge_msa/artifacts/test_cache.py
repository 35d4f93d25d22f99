from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_msa.artifacts import cache
from edge_msa.artifacts.cache import compute_cache_key, is_current, load_cached, mark_current, save_cached


def key(**changes: Any) -> str:
    parts: dict[str, Any] = {"command": "distill", "recipe": {"epochs": 1}, "seed": 0, "inputs": {"data": "x"}}
    return compute_cache_key(**{**parts, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"command": "train"},
        {"recipe": {"epochs": 2}},
        {"seed": 1},
        {"inputs": {"data": "y"}},
        {"inputs": {"data": "x", "teacher": "t"}},
    ],
    ids=str,
)
def test_each_part_changes_the_cache_key(change: dict[str, Any]) -> None:
    assert key() == key()
    assert key(**change) != key()


def test_changed_code_changes_the_cache_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toy_package"
    package.mkdir()
    module = package / "__init__.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cache, "_PACKAGES", ("toy_package",))
    keys = []
    for code in ("x = 1\n", "x = 1\n", "x = 2\n"):
        module.write_text(code)
        cache.code_digest.cache_clear()
        keys.append(key())
    cache.code_digest.cache_clear()
    assert keys[0] == keys[1] != keys[2]


def test_a_cached_record_is_loaded_under_its_own_key_only(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert load_cached(path, "one") is None
    save_cached(path, "one", {"values": [1, 2.5]})
    assert load_cached(path, "one") == {"values": [1, 2.5]}
    assert load_cached(path, "two") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_record_is_not_loaded(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_bytes(content)
    assert load_cached(tmp_path / "record.json", "one") is None


def test_a_marked_result_is_current_until_it_is_deleted(tmp_path: Path) -> None:
    result = tmp_path / "bundle"
    result.mkdir()
    assert not is_current(result, "one")
    mark_current(result, "one")
    assert is_current(result, "one")
    assert not is_current(result, "two")
    result.rmdir()
    assert not is_current(result, "one")
