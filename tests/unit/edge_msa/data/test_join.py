from __future__ import annotations

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.join import join_train_splits
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError

TABLE = np.arange(8, dtype=np.float32).reshape(4, 2)


def dataset(name: str, modalities: dict[str, Frames], labels: list[float]) -> Dataset:
    ids = tuple(f"{row}" for row in range(len(labels)))
    return Dataset(name, MOSI, {"train": Split(ids, ids, np.array(labels, np.float32), modalities)}, name)


def rows(count: int, length: int, start: float = 1.0) -> Frames:
    values = start + np.arange(count * length * 2, dtype=np.float32).reshape(count, length, 2)
    return Frames(np.ones((count, length), np.bool_), values)


def words(ids: list[list[int]], table: np.ndarray = TABLE) -> Frames:
    return Frames(np.ones((len(ids), len(ids[0])), np.bool_), ids=np.array(ids), table=table)


def test_samples_of_others_are_appended() -> None:
    base = dataset("base", {"language": words([[1, 2, 3]]), "audio": rows(1, 2)}, [1.0])
    other = dataset("other", {"audio": rows(2, 4, 50.0)}, [float("nan"), 2.0])
    train = join_train_splits(base, [other]).split("train")
    assert train.ids == ("0", "transfer1/0", "transfer1/1")
    np.testing.assert_array_equal(train.labels, np.array([1, np.nan, 2], np.float32))
    audio, language = train.modalities["audio"], train.modalities["language"]
    assert audio.lengths.tolist() == [2, 4, 4]
    np.testing.assert_array_equal(audio.take()[0, :2], base.split("train").modalities["audio"].take()[0])
    np.testing.assert_array_equal(audio.take()[1:], other.split("train").modalities["audio"].take())
    assert language.lengths.tolist() == [3, 0, 0]
    assert language.table is TABLE
    np.testing.assert_array_equal(language.take()[0], TABLE[[1, 2, 3]])
    assert not language.take()[1:].any()


def test_different_embedding_tables_are_joined_as_frames() -> None:
    base = dataset("base", {"language": words([[1, 2]])}, [1.0])
    other = dataset("other", {"language": words([[3]], TABLE + 1)}, [2.0])
    language = join_train_splits(base, [other]).split("train").modalities["language"]
    np.testing.assert_array_equal(language.take()[0], TABLE[[1, 2]])
    np.testing.assert_array_equal(language.take()[1], [TABLE[3] + 1, [0, 0]])


def test_other_splits_are_kept_and_the_digest_changes() -> None:
    base, other = (dataset(name, {"audio": rows(1, 2)}, [1.0]) for name in ("base", "other"))
    whole = Dataset("base", MOSI, {**base.splits, "valid": base.split("train")}, "base")
    joined = join_train_splits(whole, [other])
    assert joined.split("valid") is whole.split("valid")
    assert len({joined.digest, base.digest, join_train_splits(whole, [other, other]).digest}) == 3
    assert join_train_splits(whole, []) is whole


def test_a_transfer_file_without_training_samples_is_refused() -> None:
    base = dataset("base", {"audio": rows(1, 2)}, [1.0])
    with pytest.raises(DataError, match="only-test has no train split"):
        join_train_splits(base, [Dataset("only-test", MOSI, {"test": base.split("train")}, "")])
