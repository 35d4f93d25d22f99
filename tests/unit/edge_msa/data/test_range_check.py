from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.range_check import check_value_range
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError


def toy(frames: Frames) -> Dataset:
    in_range = Frames(np.ones((2, 3), np.bool_), np.ones((2, 3, 1), np.float32))
    labels = np.zeros(2, np.float32)
    train = Split(("a", "b"), ("a", "b"), labels, {"audio": in_range, "vision": in_range})
    valid = Split(("a", "b"), ("a", "b"), labels, {"audio": frames, "vision": in_range})
    return Dataset("toy", MOSI, {"train": train, "valid": valid}, "digest")


def frames_with(value: float, *, valid: bool) -> Frames:
    frames = Frames(np.ones((2, 3), np.bool_), np.zeros((2, 3, 1), np.float32))
    assert frames.values is not None
    frames.values[1, 2] = value
    frames.valid[1, 2] = valid
    return frames


@pytest.mark.parametrize("value", [2e30, -2e30])
def test_a_value_outside_the_range_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="audio of valid in toy must be within") as raised:
        check_value_range(toy(frames_with(value, valid=True)), ("audio", "vision"))
    assert f"{value:g}" in str(raised.value)


def test_masked_frames_and_other_modalities_are_not_checked() -> None:
    check_value_range(toy(frames_with(2e30, valid=False)), ("audio", "vision"))
    check_value_range(toy(frames_with(2e30, valid=True)), ("vision",))


def test_the_largest_value_is_accepted() -> None:
    check_value_range(toy(frames_with(1e30, valid=True)), ("audio",))


def test_texts_are_not_encoded_for_the_check() -> None:
    class Encoder:
        dim = 1
        encode = hide = to = None

    encoder: Any = Encoder()
    frames = Frames(np.ones((2, 3), np.bool_), ids=np.ones((2, 3), np.int64), encoder=encoder)
    check_value_range(toy(frames), ("audio",))


def test_an_embedding_table_is_checked() -> None:
    table = np.array([[1.0], [-3e30]], np.float32)
    words = Frames(np.ones((2, 3), np.bool_), ids=np.zeros((2, 3), np.int64), table=table)
    with pytest.raises(DataError, match="audio of valid"):
        check_value_range(toy(words), ("audio",))
