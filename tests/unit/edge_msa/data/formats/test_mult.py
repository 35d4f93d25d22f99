from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.formats import mult
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.inputs.published_files import find_features


def _split(count: int, labels: Any, ids: Any = None) -> dict[str, Any]:
    rng = np.random.default_rng(count)
    split = {
        "text": rng.normal(size=(count, 5, 4)).astype(np.float32),
        "audio": rng.normal(size=(count, 7, 2)),
        "vision": rng.normal(size=(count, 5, 3)),
        "labels": labels,
    }
    split["text"][:, :2] = 0
    return split if ids is None else split | {"id": ids}


def _scores(**ids: Any) -> dict[str, Any]:
    return {
        name: _split(n, np.full((n, 1, 1), 1.5), ids.get(name)) for name, n in (("train", 4), ("valid", 2), ("test", 3))
    }


def _write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def test_scores_byte_ids_and_left_padding_are_loaded(tmp_path: Path) -> None:
    ids = np.array([[b"vid", b"1.5", b"2"], [b"vid", b"2", b"3.5"], [b"w\xe9", b"0", b"1"], [b"x", b"0", b"1"]])
    dataset = open_dataset(_write(tmp_path / "mosi_data_noalign.pkl", _scores(train=ids)))
    train = dataset.split("train")
    assert dataset.task == MOSI
    assert dataset.dims == {"language": 4, "audio": 2, "vision": 3}
    assert train.labels.tolist() == [1.5] * 4
    assert train.ids == ("vid[1.5:2]", "vid[2:3.5]", "wé[0:1]", "x[0:1]")
    assert train.groups == ("vid", "vid", "wé", "x")
    assert train.modalities["language"].valid[0].tolist() == [False, False, True, True, True]
    assert train.modalities["audio"].lengths.tolist() == [7] * 4
    assert dataset.split("valid").ids == ("valid-0", "valid-1")


def test_iemocap_pairs_become_four_emotions(tmp_path: Path) -> None:
    present = np.array([[0, 1, 0, 0], [1, 0, 0, 1]])
    pairs = np.stack([1 - present, present], axis=-1)
    content = {name: _split(2, pairs) for name in ("train", "valid", "test")}
    path = _write(tmp_path / "iemocap_data.pkl", content)
    dataset = open_dataset(path)
    assert pairs.dtype == np.int64
    assert dataset.task == EMOTIONS
    assert dataset.task.labels == ("neutral", "happy", "sad", "angry")
    np.testing.assert_array_equal(dataset.split("test").labels, present)
    with pytest.raises(UsageError, match=r"must have shape .*N, 1.* got .*N, 4"):
        open_dataset(path, task=MOSI)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 4, 2)), "must be pairs"),
        (np.full((2, 4, 2), 0.5), "'train-0' in train must be 0 .* got 0\\.5"),
        (np.ones((2, 4, 2), np.bool_), "must be pairs"),
        (np.full((2, 4, 2), "joy"), "must be numbers"),
        (np.zeros((2, 3, 2)), r"got \(2, 3, 2\)"),
        (np.full((2, 1, 1), np.inf), "'train-0' in train must be a finite number, got inf"),
        (np.zeros((3, 1, 1)), "language of train must have 3 samples, .* got 2"),
    ],
)
def test_invalid_labels_are_refused(tmp_path: Path, labels: Any, message: str) -> None:
    path = _write(tmp_path / "x.pkl", {"train": _split(2, labels)})
    with pytest.raises(DataError, match=message):
        open_dataset(path)


def test_a_split_without_samples_is_refused(tmp_path: Path) -> None:
    content = _scores()
    content["valid"] = _split(0, np.zeros((0, 1, 1)))
    with pytest.raises(DataError, match="valid split is empty"):
        open_dataset(_write(tmp_path / "x.pkl", content))


def test_a_half_known_pair_is_an_unknown_label(tmp_path: Path) -> None:
    pairs = np.tile([0.0, 1.0], (2, 4, 1))
    pairs[1, 2, 0] = np.nan
    dataset = open_dataset(_write(tmp_path / "x.pkl", {"train": _split(2, pairs)}))
    assert np.isnan(dataset.split("train").labels).any(axis=1).tolist() == [False, True]
    assert "train: 1 of 2 samples has no label" in dataset.notes


@pytest.mark.parametrize("ids", [5, "names", np.array(3)])
def test_ids_must_be_a_list(ids: Any, tmp_path: Path) -> None:
    path = _write(tmp_path / "x.pkl", {"train": _split(2, np.zeros((2, 1, 1)), ids)})
    with pytest.raises(DataError, match=r"id of train must be a list"):
        open_dataset(path)


def test_complex_features_are_refused(tmp_path: Path) -> None:
    split = _split(2, np.zeros((2, 1, 1)))
    split["audio"] = split["audio"] * 1j
    with pytest.raises(DataError, match="audio of train must be real numbers"):
        open_dataset(_write(tmp_path / "x.pkl", {"train": split}))


@pytest.mark.case("F10")
@pytest.mark.case("F11")
def test_split_aliases_and_left_padding_with_lengths_are_read(tmp_path: Path) -> None:
    content = _scores()
    content["val"] = content.pop("valid")
    content["train"]["audio"][:, :4] = 0
    content["train"]["audio_lengths"] = np.full(4, 3)
    dataset = open_dataset(_write(tmp_path / "x.pkl", content | {"train_mix": _split(2, np.zeros((2, 1, 1)))}))
    assert set(dataset.splits) == {"train", "valid", "test"}
    frames = dataset.split("train").modalities["audio"]
    assert frames.valid[0].tolist() == [False] * 4 + [True] * 3
    assert any("'train_mix' with 2 samples" in note for note in dataset.notes)


@pytest.mark.case("F7")
def test_a_file_without_labels_is_loaded_for_predictions(tmp_path: Path) -> None:
    content = _scores()
    for split in content.values():
        del split["labels"]
    dataset = open_dataset(_write(tmp_path / "x.pkl", content), labels=False)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 4, "valid": 2, "test": 3}
    assert dataset.split("test").modalities["language"].lengths.tolist() == [3, 3, 3]


def test_published_files_are_known_by_all_their_shapes(tmp_path: Path) -> None:
    counts = {"train": 16265, "valid": 1869, "test": 4643}
    widths = {"text": 300, "audio": 74, "vision": 35}
    arrays = {
        f"{split}/{key}": np.broadcast_to(np.float32(0), (count, 50, width))
        for split, count in counts.items()
        for key, width in widths.items()
    }
    features = find_features(arrays, mult.PUBLISHED)
    assert {name: item.extractor for name, item in features.items()} == {
        "language": "GloVe",
        "audio": "COVAREP",
        "vision": "FACET",
    }
    assert find_features(arrays | {"test/text": arrays["test/text"][1:]}, mult.PUBLISHED) == {}
    assert open_dataset(_write(tmp_path / "mosei_senti_data.pkl", _scores())).features == {}
