from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.range_check import check_value_range
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError


def toy(frames: Frames) -> Dataset:
    calm = Frames(np.ones((2, 3), np.bool_), np.ones((2, 3, 1), np.float32))
    labels = np.zeros(2, np.float32)
    splits = {
        name: Split(("a", "b"), ("a", "b"), labels, {"audio": calm, "vision": calm}) for name in ("train", "valid")
    }
    valid = Split(("a", "b"), ("a", "b"), labels, {"audio": frames, "vision": calm})
    return Dataset("toy", MOSI, {"train": splits["train"], "valid": valid}, "digest")


def one(value: float, *, seen: bool) -> Frames:
    frames = Frames(np.ones((2, 3), np.bool_), np.zeros((2, 3, 1), np.float32))
    assert frames.values is not None
    frames.values[1, 2] = value
    frames.valid[1, 2] = seen
    return frames


@pytest.mark.parametrize("value", [2e30, -2e30])
def test_a_value_outside_the_range_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="audio of valid in toy must be within") as raised:
        check_value_range(toy(one(value, seen=True)), ("audio", "vision"))
    assert f"{value:g}" in str(raised.value)


def test_unused_values_are_not_checked() -> None:
    check_value_range(toy(one(2e30, seen=False)), ("audio", "vision"))
    check_value_range(toy(one(2e30, seen=True)), ("vision",))
    check_value_range(toy(one(1e30, seen=True)), ("audio",))


def test_an_embedding_table_is_checked() -> None:
    table = np.array([[1.0], [-3e30]], np.float32)
    words = Frames(np.ones((2, 3), np.bool_), ids=np.zeros((2, 3), np.int64), table=table)
    with pytest.raises(DataError, match="audio of valid"):
        check_value_range(toy(words), ("audio",))
