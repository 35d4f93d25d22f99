from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.study.conditions import Condition
from edge_msa.study.touch import INFO_NAME, READINGS_NAME, identity_of_touch, read_touch, write_touch

CONDITIONS = (Condition("l"), Condition("la", "dropped", 0.3), Condition("la", "audio-noise", 2.0))
READINGS = {condition.key: np.arange(4, dtype=np.float32) + place for place, condition in enumerate(CONDITIONS)}
IDENTITY = identity_of_touch("run", "data", "mosi")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_touch(tmp_path, IDENTITY, READINGS, {"l": {"mae": 1.0}})
    return tmp_path


def test_what_was_read_is_found_again(folder: Path) -> None:
    found = read_touch(folder, IDENTITY, CONDITIONS)
    assert found is not None
    assert list(found) == ["l", "la dropped 0.3", "la audio-noise 2"]
    for key, values in READINGS.items():
        np.testing.assert_array_equal(found[key], values)


def test_fewer_conditions_are_there_too_but_not_more(folder: Path) -> None:
    assert read_touch(folder, IDENTITY, CONDITIONS[:1]) is not None
    assert read_touch(folder, IDENTITY, (*CONDITIONS, Condition("a"))) is None


def test_another_run_data_or_task_has_not_been_read(folder: Path) -> None:
    for parts in (("other", "data", "mosi"), ("run", "other", "mosi"), ("run", "data", "sims")):
        assert read_touch(folder, identity_of_touch(*parts), CONDITIONS) is None


@pytest.mark.parametrize("name", [INFO_NAME, READINGS_NAME])
def test_half_a_file_is_none(name: str, folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert read_touch(folder, IDENTITY, CONDITIONS) is None
    (folder / name).unlink()
    assert read_touch(folder, IDENTITY, CONDITIONS) is None
