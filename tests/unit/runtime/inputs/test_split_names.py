from __future__ import annotations

import pytest

from edge_msa_runtime.errors import DataError
from edge_msa_runtime.inputs.split_names import find_splits

pytestmark = pytest.mark.case("F10")


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train", "Train", "training", "TRAINING"), "train"),
        (("valid", "val", "validation", "dev", "development", " Dev "), "valid"),
        (("test", "testing", "TEST"), "test"),
    ],
)
def test_usual_names_are_known(names: tuple[str, ...], split: str) -> None:
    for name in names:
        assert find_splits([name], "x.pkl").known == {split: name}


def test_other_keys_are_returned() -> None:
    keys = find_splits(["train", "train_mix", 3, "valid", "dev"], "x.pkl")
    assert keys.known == {"train": "train", "valid": "valid"}
    assert keys.unknown == ("train_mix", 3, "dev")


def test_several_names_of_one_split_are_refused() -> None:
    with pytest.raises(DataError, match=r"x\.pkl must have one valid split, got 'val' and 'dev'\. Rename"):
        find_splits(["val", "dev"], "x.pkl")
