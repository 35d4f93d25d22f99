from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.join import join_train_splits
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError
from edge_msa_runtime.features import UNKNOWN, FeatureSource

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


def described(name: str, **features: FeatureSource) -> Dataset:
    modalities = {modality: rows(1, 2) for modality in features}
    return replace(dataset(name, modalities, [1.0]), features={m: s for m, s in features.items() if not s.is_empty})


def test_frames_of_different_extractors_are_not_joined() -> None:
    base = described("base", audio=FeatureSource("COVAREP", rate_hz=100.0))
    with pytest.raises(DataError, match=r"other must have the features of base, got others \(audio: librosa instead"):
        join_train_splits(base, [described("other", audio=FeatureSource("librosa"))])
    with pytest.raises(DataError, match="50 Hz instead of 100 Hz"):
        join_train_splits(base, [described("other", audio=FeatureSource(rate_hz=50.0))])
    others = [described(name, vision=FeatureSource(name)) for name in ("FACET", "OpenFace")]
    with pytest.raises(DataError, match=r"OpenFace must have .* got others \(vision: OpenFace instead"):
        join_train_splits(base, others)


def test_joined_data_states_what_the_first_dataset_with_a_modality_states() -> None:
    base = described("base", audio=FeatureSource("COVAREP"), language=UNKNOWN)
    sources = {
        "audio": FeatureSource("COVAREP", "1.4"),
        "language": FeatureSource("GloVe"),
        "vision": FeatureSource("FACET"),
    }
    joined = join_train_splits(base, [described("other", **sources)])
    assert joined.features == {"audio": FeatureSource("COVAREP"), "vision": FeatureSource("FACET")}
