from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS, MOSI
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa.workflows.data import convert_data
from edge_msa_runtime.features import FeatureSource

_IDS = ("a[0]", "a[1]", "a[10]", "b[0]", "c[0]")


def _csd(path: Path, features: dict[str, Any], root: str = "root") -> None:
    with h5py.File(path, "w") as file:
        for name, values in features.items():
            file[f"{root}/data/{name}/features"] = np.asarray(values)
            file[f"{root}/data/{name}/intervals"] = np.zeros((len(values), 2))
        file[f"{root}/metadata/root name"] = json.dumps(root)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    made = tmp_path / "corpus"
    made.mkdir()
    _csd(made / "labels.csd", {name: [[row / 2]] for row, name in enumerate(_IDS)}, "Opinion Segment Labels")
    _csd(made / "language.csd", {name: rng.normal(size=(row + 1, 4)) for row, name in enumerate(_IDS)})
    _csd(made / "audio.csd", {name: rng.normal(size=(row + 1, 2)) for row, name in enumerate(_IDS)})
    (made / "splits.json").write_text(json.dumps({"train": ["a"], "valid": ["b"], "test": ["c"]}))
    return made


def test_a_folder_of_aligned_sequences_is_loaded(folder: Path) -> None:
    dataset = open_dataset(folder, task=MOSI)
    train = dataset.split("train")
    assert (dataset.name, dataset.dims, dataset.notes) == ("corpus", {"language": 4, "audio": 2}, ())
    assert (train.ids, train.groups) == (("a[0]", "a[1]", "a[10]"), ("a", "a", "a"))
    assert train.labels.tolist() == [0.0, 0.5, 1.0]
    assert train.modalities["language"].lengths.tolist() == [1, 2, 3]
    assert dataset.split("test").modalities["audio"].lengths.tolist() == [5]


def test_the_digest_depends_on_every_file(folder: Path) -> None:
    before = open_dataset(folder, task=MOSI).digest
    assert open_dataset(folder, task=MOSI).digest == before
    (folder / "splits.json").write_text(json.dumps({"train": ["a"], "valid": ["c"], "test": ["b"]}))
    assert open_dataset(folder, task=MOSI).digest != before


def test_the_task_must_be_stated(folder: Path) -> None:
    with pytest.raises(UnstatedTaskError, match=r"does not state what its labels mean\. Pass --task") as caught:
        open_dataset(folder)
    assert not caught.value.unlabeled
    _csd(folder / "labels.csd", {name: [[np.nan]] for name in _IDS})
    with pytest.raises(UnstatedTaskError, match="has no labels") as caught:
        open_dataset(folder)
    assert caught.value.unlabeled


def test_labels_are_not_dropped_for_lack_of_a_task(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnstatedTaskError, match="does not state what its labels mean"):
        convert_data(str(folder), output=tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()
    (folder / "labels.csd").unlink()
    convert_data(str(folder), output=tmp_path / "x.npz")
    assert open_dataset(tmp_path / "x.npz", labels=False).split("train").ids == ("a[0]", "a[1]", "a[10]")


def test_an_incomplete_folder_is_refused(folder: Path) -> None:
    (folder / "splits.json").unlink()
    with pytest.raises(UsageError, match=r"must contain labels\.csd.*splits\.json"):
        open_dataset(folder, task=MOSI)


def test_a_single_csd_file_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="Pass its folder"):
        open_dataset(folder / "audio.csd", task=MOSI)


def test_samples_without_a_sequence_lack_the_modality(folder: Path) -> None:
    _csd(folder / "audio.csd", {"a[0]": np.ones((2, 2)), "z[0]": np.ones((1, 2))})
    dataset = open_dataset(folder, task=MOSI)
    assert dataset.split("train").modalities["audio"].lengths.tolist() == [2, 0, 0]
    assert dataset.notes == (
        "audio: 4 samples have labels but no frames of this modality",
        "audio: 1 sequence without a label dropped",
    )


def test_videos_outside_all_splits_are_dropped(folder: Path) -> None:
    (folder / "splits.json").write_text(json.dumps({"train": ["a"], "test": ["c"]}))
    dataset = open_dataset(folder, task=MOSI)
    assert set(dataset.splits) == {"train", "test"}
    assert dataset.notes == ("1 samples dropped: splits.json does not list their videos",)


def test_seven_label_columns_are_those_of_mosei(folder: Path) -> None:
    _csd(folder / "labels.csd", {name: [[2.0, 0, 1, 0, 0, 0, 0]] for name in _IDS})
    dataset = open_dataset(folder, task=MOSI)
    assert dataset.split("train").labels.tolist() == [2.0, 2.0, 2.0]
    assert "7 columns" in dataset.notes[0]
    with pytest.raises(UsageError, match=r"must have shape .*N, 4.* got .*N, 7"):
        open_dataset(folder, task=EMOTIONS)


def test_infinite_features_become_zero_with_a_note(folder: Path) -> None:
    _csd(folder / "audio.csd", {name: [[1.0, -np.inf]] for name in _IDS})
    assert "audio: 3 values in train were -inf, set to 0" in open_dataset(folder, task=MOSI).notes


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"a": np.ones((2, 2))}, r"must be video\[k\]"),
        ({"a[0]": np.ones(2)}, r"must be numbers \(m, n\)"),
        ({"a[0]": np.ones((1, 2)), "a[1]": np.ones((1, 3))}, r"same number of features, got \[2, 3\]"),
    ],
)
def test_invalid_sequences_are_refused(folder: Path, features: Any, message: str) -> None:
    _csd(folder / "audio.csd", features)
    with pytest.raises(DataError, match=message):
        open_dataset(folder, task=MOSI)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ('{"train": ["a"], "test": ["a"]}', "'a' in train and test"),
        ('{"teach": ["a"]}', "must be train, valid, test, got teach"),
        ('["a"]', "must be an object of lists of videos"),
        ("[1, 2]", "must be an object of lists of videos"),
        ('{"train": "abc"}', "'train' in .* must be a list of videos"),
        ("{", "splits.json"),
        ('{"train": ["nobody"]}', "train split is empty"),
    ],
)
def test_invalid_splits_are_refused(folder: Path, splits: str, message: str) -> None:
    (folder / "splits.json").write_text(splits)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(folder, task=MOSI)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 100, 2000])
def test_a_truncated_sequence_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "audio.csd"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"audio\.csd is not a readable HDF5 file, or is truncated") as caught:
        open_dataset(folder, task=MOSI)
    assert "\n" not in str(caught.value)


def test_an_hdf5_file_of_another_layout_is_refused(folder: Path) -> None:
    with h5py.File(folder / "audio.csd", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(DataError, match="not a computational sequence"):
        open_dataset(folder, task=MOSI)


@pytest.mark.case("F7")
def test_a_folder_without_labels_is_loaded_for_predictions(folder: Path) -> None:
    (folder / "labels.csd").unlink()
    with pytest.raises(UsageError, match="--task"):
        open_dataset(folder)
    dataset = open_dataset(folder, labels=False)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 3, "valid": 1, "test": 1}
    (folder / "splits.json").unlink()
    assert len(open_dataset(folder, labels=False).split("test")) == 5


@pytest.mark.case("F10")
def test_split_aliases_are_read_and_others_counted(folder: Path) -> None:
    (folder / "splits.json").write_text(json.dumps({"training": ["a"], "dev": ["b"], "extra": ["c"]}))
    dataset = open_dataset(folder, task=MOSI)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 3, "valid": 1}
    assert len(dataset.notes) == 1
    assert dataset.notes[0].startswith("split 'extra' with 1 sample is ignored")


def _describe(path: Path, metadata: dict[str, Any], steps: dict[str, Any] | None = None) -> None:
    """Write metadata as CMU-MultimodalSDK does, an array of one JSON string each, and the start of each frame."""
    with h5py.File(path, "a") as file:
        for key, value in metadata.items():
            file.pop(f"root/metadata/{key}", None)
            stored = file.create_dataset(f"root/metadata/{key}", (1,), dtype=h5py.special_dtype(vlen=str))
            stored[0] = json.dumps(value)
        for name, starts in (steps or {}).items():
            del file[f"root/data/{name}/intervals"]
            file[f"root/data/{name}/intervals"] = np.stack([starts, starts], axis=1)


_COVAREP = {
    "root name": "COVAREP",
    "computational sequence version": "1.0",
    "dimension names": ["F0", "VUV"],
    "contact": "somebody@example.org",
}


def test_metadata_says_what_computed_the_features(folder: Path) -> None:
    _describe(folder / "audio.csd", _COVAREP)
    assert open_dataset(folder, task=MOSI).features == {"audio": FeatureSource("COVAREP", "1.0", names=("F0", "VUV"))}
    _describe(folder / "language.csd", {"root name": "FACET_4.2", "dimension names": None})
    assert open_dataset(folder, task=MOSI).features["language"] == FeatureSource("FACET 4.2")


def test_unusable_metadata_is_ignored_with_a_note(folder: Path) -> None:
    _describe(folder / "audio.csd", {**_COVAREP, "dimension names": ["F0", "VUV", "NAQ"]})
    _describe(folder / "language.csd", {**_COVAREP, "dimension names": ["a", "a", "b", "c"]})
    dataset = open_dataset(folder, task=MOSI)
    assert dataset.features == {"audio": FeatureSource("COVAREP", "1.0")}
    assert "audio.csd names 3 dimensions for 2 features: the names are ignored" in dataset.notes
    assert any(note.startswith("the metadata of language.csd is ignored (metadata.names") for note in dataset.notes)


def test_evenly_spaced_intervals_tell_the_frame_rate(folder: Path) -> None:
    rng = np.random.default_rng(0)
    frames = {name: rng.normal(size=(12, 2)) for name in _IDS}
    _csd(folder / "audio.csd", frames)
    _describe(folder / "audio.csd", {}, {name: 3.0 + np.arange(12) / 30 for name in _IDS})
    assert open_dataset(folder, task=MOSI).features == {"audio": FeatureSource(rate_hz=30.0)}
    _describe(folder / "audio.csd", {}, {name: np.cumsum(rng.uniform(0.1, 0.6, 12)) for name in _IDS})
    assert open_dataset(folder, task=MOSI).features == {}
