from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import MOSI, REGRESSION
from edge_msa.errors import DataError, UnstatedTaskError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.public_npz import split_by_group
from tests.locations import SHARED_DATA

# Ten names in the order of their SHA-256.
_PINNED: list[str] = ["v0", "v8", "v7", "v1", "v6", "v9", "v4", "v3", "v5", "v2"]
_DATA = SHARED_DATA


def _shared(name: str) -> Path:
    path = _DATA / name
    if not path.exists():
        pytest.skip(f"../shared/data/{name} is not here")
    return path


def _save(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


def _language_audio() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "id": np.array(["vid_eo_0", "vid_eo_1", "x_0", "y_0"]),
        "label": np.array([1, -1, 0.5, 2], np.float32),
        "split": np.array(["train", "train", "valid", "test"]),
        "word_ids": rng.integers(0, 6, (4, 5)).astype(np.int32),
        "lengths": np.array([5, 1, 3, 2], np.int32),
        "glove": rng.normal(size=(6, 3)),
        "audio": rng.normal(size=(4, 2)).astype(np.float32),
        "raw_text": np.array(["a b", "c", "d", "e"]),
    }


def _trimodal(videos: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    ids = [f"v_{video}[{clip}]" for video in range(videos) for clip in range(3)]
    widths = {"text": 3, "audio": 4, "vision": 2}
    arrays: dict[str, Any] = {name: rng.normal(size=(len(ids), 6, width)) for name, width in widths.items()}
    return arrays | {"id": np.array(ids), "label": np.zeros(len(ids)), "lengths": np.full(len(ids), 4)}


def test_language_stays_ids_over_one_table_and_audio_is_one_frame(tmp_path: Path) -> None:
    dataset = open_dataset(_save(tmp_path / "x.npz", _language_audio()))
    train, test = dataset.split("train"), dataset.split("test")
    assert (dataset.task, dataset.dims) == (MOSI, {"language": 3, "audio": 2})
    assert train.groups == ("vid_eo", "vid_eo")
    assert train.modalities["language"].lengths.tolist() == [5, 1]
    assert train.texts == ("a b", "c")
    assert train.select(np.array([1])).texts == ("c",)
    assert train.modalities["language"].table is test.modalities["language"].table
    assert train.modalities["audio"].take().shape == (2, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": np.array(["a", "a", "b", "a"])}, "must have the splits train, valid, test, got a, b"),
        ({"audio": np.ones((4, 2, 2))}, "one vector per utterance"),
        ({"lengths": np.array([9, 1, 1, 1])}, "lengths of language of train"),
        ({"label": np.ones(3)}, "label of .* must have 4 samples, as id has, got shape \\(3,\\)"),
        ({"glove": np.ones((2, 3))}, "rows 0 to 1 of the table"),
        ({"glove": np.array([["a"]])}, "glove of .* must be an array of numbers"),
        ({"label": np.array([1, np.inf, 1, 1])}, "'vid_eo_1' in train must be a finite number, got inf"),
    ],
)
def test_an_invalid_language_audio_file_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(_save(tmp_path / "x.npz", _language_audio() | change))


def test_a_single_split_is_split_by_video(tmp_path: Path) -> None:
    path = _save(tmp_path / "x.npz", _trimodal())
    dataset, other = open_dataset(path, seed=0), open_dataset(path, seed=9)
    groups = [set(split.groups) for split in dataset.splits.values()]
    assert [len(group) for group in groups] == [3, 1, 1]
    assert len(set.union(*groups)) == 5
    assert {n: s.ids for n, s in dataset.splits.items()} == {n: s.ids for n, s in other.splits.items()}
    assert dataset.notes[0] == "the file has one split: its videos are split 3/1/1 into train/valid/test"


def test_too_few_videos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 3 videos, got 2"):
        open_dataset(_save(tmp_path / "x.npz", _trimodal(videos=2)))


def test_the_split_by_video_never_changes() -> None:
    assert split_by_group([f"v{n}" for n in range(10)]) == {
        "train": _PINNED[4:],
        "valid": _PINNED[:2],
        "test": _PINNED[2:4],
    }


def test_a_split_may_lack_a_modality_that_others_have(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for split, count in (("train", 4), ("valid", 2), ("test", 2)):
        arrays[f"{split}_audio"] = np.ones((count, 3, 2))
        arrays[f"{split}_vision"] = np.ones((count, 3, 5))
        arrays[f"{split}_label"] = np.linspace(1, 5, count)
    arrays["test_text"] = arrays["valid_text"] = np.ones((2, 3, 4))
    path = _save(tmp_path / "x.npz", arrays)
    dataset = open_dataset(path)
    assert dataset.task == REGRESSION
    assert set(dataset.split("train").modalities) == {"audio", "vision"}
    assert dataset.dims == {"language": 4, "audio": 2, "vision": 5}
    assert dataset.notes == ("train has no language", "labels are 1 to 5: the task is plain regression")
    with pytest.raises(DataError, match=r"'train-3' in train must be within -3.0 to 3.0 .* got 5"):
        open_dataset(path, task=MOSI)


def test_the_public_mosi_file_has_the_standard_split() -> None:
    dataset = open_dataset(_shared("mosi_language_audio.npz"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 1284, "valid": 229, "test": 686}
    assert [len(set(split.groups)) for split in dataset.splits.values()] == [52, 10, 31]
    assert dataset.dims == {"language": 300, "audio": 73}
    assert dataset.notes == ()


def test_the_public_trimodal_file_is_split_by_video() -> None:
    dataset = open_dataset(_shared("mosi_trimodal_229.npz"))
    assert sum(len(split) for split in dataset.splits.values()) == 229
    assert [len(set(split.groups)) for split in dataset.splits.values()] == [6, 2, 2]
    assert dataset.dims == {"language": 300, "audio": 74, "vision": 47}


def test_the_public_ict_mmmo_file_trains_without_language() -> None:
    dataset = open_dataset(_shared("ict_mmmo.npz"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 220, "valid": 40, "test": 80}
    assert "train has no language" in dataset.notes
    assert dataset.dims == {"language": 300, "audio": 74, "vision": 36}


def test_public_transcripts_have_texts_without_frames() -> None:
    dataset = open_dataset(_shared("mosei_transcripts.csv.gz"))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 16274, "valid": 1861, "test": 4653}
    assert dataset.dims == {}


@pytest.mark.case("F7")
def test_files_without_labels_are_loaded_for_predictions(tmp_path: Path) -> None:
    for number, arrays in enumerate((_language_audio(), _trimodal())):
        del arrays["label"]
        path = _save(tmp_path / f"{number}.npz", arrays)
        with pytest.raises(UnstatedTaskError, match="has no labels"):
            open_dataset(path)
        assert sum(map(len, open_dataset(path, labels=False).splits.values())) == len(arrays["id"])
    path = _save(tmp_path / "ict.npz", {"dev_audio": np.ones((2, 3, 4)), "extra_audio": np.ones((5, 3, 4))})
    dataset = open_dataset(path, labels=False)
    assert list(dataset.splits) == ["valid"]
    assert any("'extra' with 5 samples" in note for note in dataset.notes)


@pytest.mark.case("F10")
def test_split_aliases_are_read_and_others_counted(tmp_path: Path) -> None:
    arrays = _language_audio() | {"split": np.array(["training", "mix", "dev", "testing"])}
    dataset = open_dataset(_save(tmp_path / "x.npz", arrays))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 1, "valid": 1, "test": 1}
    assert any(note.startswith("split 'mix' with 1 sample") for note in dataset.notes)


@pytest.mark.case("F11")
def test_left_padded_words_and_frames_are_read_despite_lengths(tmp_path: Path) -> None:
    arrays = _language_audio()
    lengths = arrays["lengths"]
    arrays["word_ids"] = np.where(np.arange(5) >= 5 - lengths[:, None], 3 + np.arange(5) % 2, 1).astype(np.int32)
    split = open_dataset(_save(tmp_path / "x.npz", arrays)).split("train")
    assert split.modalities["language"].valid.tolist() == [[True] * 5, [False] * 4 + [True]]
    arrays = _trimodal()
    arrays["audio"][:, :2] = 0
    dataset = open_dataset(_save(tmp_path / "y.npz", arrays))
    assert dataset.split("train").modalities["audio"].valid[0].tolist() == [False, False, True, True, True, True]


def test_only_what_a_layout_names_is_known_about_its_features(tmp_path: Path) -> None:
    assert open_dataset(_save(tmp_path / "x.npz", _language_audio())).features == {"language": FeatureSource("GloVe")}
    assert open_dataset(_save(tmp_path / "y.npz", _trimodal())).features == {}


@pytest.mark.parametrize(
    ("name", "extractors"),
    [
        ("mosi_language_audio.npz", {"language": "GloVe", "audio": "openSMILE"}),
        ("mosi_trimodal_229.npz", {"language": "GloVe", "audio": "COVAREP", "vision": "FACET"}),
        ("ict_mmmo.npz", {"language": "GloVe"}),
    ],
)
def test_the_publishers_of_a_file_say_what_computed_its_features(name: str, extractors: dict[str, str]) -> None:
    features = open_dataset(_shared(name)).features
    assert features == {modality: FeatureSource(extractor) for modality, extractor in extractors.items()}
