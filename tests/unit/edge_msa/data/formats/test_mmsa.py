from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.formats import mmsa
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import MOSI, NO_TASK, REGRESSION, SIMS
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.published_files import find_features

Content = dict[str, dict[str, Any]]


def _split(count: int, seed: int, frames: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    bert = np.zeros((count, 3, frames))
    bert[:, 1, :4] = 1
    audio = rng.normal(size=(count, frames, 5)).astype(np.float32)
    audio[:, 5:] = 0
    return {
        "raw_text": np.array(["words"] * count),
        "audio": audio,
        "vision": rng.normal(size=(count, frames, 7)).astype(np.float32),
        "id": np.array([f"vid{seed}$_${row}" for row in range(count)], dtype=object),
        "text": rng.normal(size=(count, frames, 8)).astype(np.float32),
        "text_bert": bert,
        "annotations": np.array(["Neutral"] * count),
        "classification_labels": np.ones(count),
        "regression_labels": rng.uniform(-1, 1, count).astype(np.float32),
    }


def _content() -> Content:
    return {"train": _split(5, 0), "valid": _split(2, 1), "test": _split(3, 2)}


def _write(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def test_an_aligned_file_is_loaded(tmp_path: Path) -> None:
    dataset = open_dataset(_write(tmp_path / "aligned_50.pkl", _content()))
    assert dataset.task == MOSI
    assert dataset.dims == {"language": 8, "audio": 5, "vision": 7}
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 5, "valid": 2, "test": 3}
    train = dataset.split("train")
    assert train.texts == ("words",) * 5
    assert train.ids[1] == "vid0$_$1"
    assert set(train.groups) == {"vid0"}
    assert {m: frames.lengths[0] for m, frames in train.modalities.items()} == {"language": 4, "audio": 5, "vision": 6}


def test_an_unaligned_file_uses_its_lengths(tmp_path: Path) -> None:
    content = _content()
    for split in content.values():
        count = len(split["id"])
        split["audio"] = np.ones((count, 9, 5))
        split["audio_lengths"] = [1 + row for row in range(count)]
        split["vision_lengths"] = [6] * count
    train = open_dataset(_write(tmp_path / "unaligned_50.pkl", content)).split("train")
    assert train.modalities["audio"].lengths.tolist() == [1, 2, 3, 4, 5]
    assert train.modalities["vision"].lengths.tolist() == [6] * 5


def test_sims_is_recognized_by_its_unimodal_labels(tmp_path: Path) -> None:
    content = _content()
    for split in content.values():
        split["regression_labels_T"] = split["regression_labels"]
    path = _write(tmp_path / "unaligned_39.pkl", content)
    assert open_dataset(path).task == SIMS
    assert open_dataset(path, task=REGRESSION).task == REGRESSION


def test_infinite_audio_becomes_zero_with_a_note(tmp_path: Path) -> None:
    content = _content()
    content["train"]["audio"][0, :3, 1] = -np.inf
    dataset = open_dataset(_write(tmp_path / "x.pkl", content))
    assert "audio: 3 values in train were -inf, set to 0" in dataset.notes


def _drop(content: Content, split: str, key: str) -> Content:
    del content[split][key]
    return content


def _put(content: Content, split: str, key: str, value: Any) -> Content:
    content[split][key] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_drop(_content(), "valid", "regression_labels"), "valid .* must have regression_labels"),
        (_drop(_content(), "train", "text"), "text_bert but no text"),
        (
            _put(_content(), "test", "audio", np.ones((3, 6, 4))),
            "audio must have 5 features in test, as in train, got 4",
        ),
        (_put(_content(), "test", "audio", np.ones((2, 6, 5))), "audio of test must have .* got 2"),
        (
            _put(_content(), "train", "audio_lengths", [9] * 5),
            "lengths of audio of train must be whole numbers from 0 to 6",
        ),
        (_put(_content(), "train", "audio_lengths", ["9"] * 5), "lengths of audio of train must be .* got <U1 values"),
        (_put(_content(), "train", "audio", [[1], [2, 3]]), "audio of train .* must be an array"),
        (
            _put(_content(), "test", "regression_labels", np.array([0, np.inf, 1])),
            r"'vid2\$_\$1' in test must be a finite number, got inf",
        ),
        (_content() | {"valid": _split(0, 1)}, "valid split is empty"),
    ],
)
def test_invalid_content_is_refused(tmp_path: Path, content: Content, message: str) -> None:
    path = _write(tmp_path / "x.pkl", content)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert "\n" not in str(caught.value)


def _single(**more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "text": rng.normal(size=(6, 8)),
        "text_bert": np.array([[1.0] * 6, [1, 1, 1, 0, 0, 0], [0] * 6]),
        "audio": rng.normal(size=(9, 5)),
        "audio_lengths": 4,
        "vision": rng.normal(size=(3, 7)),
        "raw_text": "words",
        **more,
    }


def test_a_single_sample_is_the_test_split(tmp_path: Path) -> None:
    path = _write(tmp_path / "one.pkl", _single(id="clip", regression_labels=0.5))
    split = open_dataset(path, task=MOSI).split("test")
    assert (split.ids, split.labels.tolist()) == (("clip",), [0.5])
    assert {m: f.lengths.tolist() for m, f in split.modalities.items()} == {
        "language": [3],
        "audio": [4],
        "vision": [3],
    }


def test_a_single_sample_may_lack_its_label_but_needs_a_task(tmp_path: Path) -> None:
    path = _write(tmp_path / "one.pkl", _single())
    with pytest.raises(UsageError, match="--task"):
        open_dataset(path)
    dataset = open_dataset(path, task=MOSI)
    assert np.isnan(dataset.split("test").labels).all()
    assert "no labels in test: use predict, or distill --transfer" in dataset.notes
    assert dataset.split("test").ids == ("one",)


@pytest.mark.case("F7")
@pytest.mark.parametrize("missing", ["no key", None, [np.nan] * 3, np.array([None] * 3)])
def test_a_file_without_labels_is_loaded_for_predictions(tmp_path: Path, missing: Any) -> None:
    content = {"test": _split(3, 2)}
    del content["test"]["classification_labels"], content["test"]["regression_labels"]
    if not isinstance(missing, str):
        content["test"]["regression_labels"] = missing
    path = _write(tmp_path / "x.pkl", content)
    if missing is None or isinstance(missing, str):
        with pytest.raises(UnstatedTaskError, match="has no labels, so its task is unknown") as caught:
            open_dataset(path)
        assert caught.value.unlabeled
        assert open_dataset(path, labels=False).task == NO_TASK
    dataset = open_dataset(path, labels=False)
    assert (len(dataset.split("test")), dataset.dims) == (3, {"language": 8, "audio": 5, "vision": 7})
    assert np.isnan(open_dataset(path, task=MOSI).split("test").labels).all()


@pytest.mark.case("F7")
def test_a_sample_without_a_label_is_counted(tmp_path: Path) -> None:
    content = _content()
    content["test"]["regression_labels"] = [0.5, None, float("nan")]
    dataset = open_dataset(_write(tmp_path / "x.pkl", content))
    assert np.isnan(dataset.split("test").labels).tolist() == [False, True, True]
    assert "test: 2 of 3 samples have no label" in dataset.notes


@pytest.mark.case("F7")
def test_samples_without_splits_are_the_test_split(tmp_path: Path) -> None:
    split = _split(3, 2)
    del split["regression_labels"], split["classification_labels"]
    dataset = open_dataset(_write(tmp_path / "x.pkl", split), labels=False)
    assert list(dataset.splits) == ["test"]
    assert dataset.split("test").ids[0] == "vid2$_$0"
    assert "the file has no splits" in dataset.notes[0]


@pytest.mark.case("F10")
def test_other_split_names_are_read_or_counted_in_a_note(tmp_path: Path) -> None:
    content: dict[str, Any] = {"Training": _split(5, 0), "dev": _split(2, 1), "testing": _split(3, 2)}
    dataset = open_dataset(_write(tmp_path / "x.pkl", content | {"train_mix": _split(4, 3), "version": "2"}))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 5, "valid": 2, "test": 3}
    assert any(note.startswith("split 'train_mix' with 4 samples is ignored") for note in dataset.notes)
    assert "key 'version' is ignored" in dataset.notes


@pytest.mark.case("F10")
def test_a_file_of_unknown_splits_names_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got train_mix"):
        open_dataset(_write(tmp_path / "x.pkl", {"train_mix": _split(4, 3)}))


def test_a_split_of_none_is_noted_and_a_list_is_refused(tmp_path: Path) -> None:
    dataset = open_dataset(_write(tmp_path / "x.pkl", _content() | {"valid": None}))
    assert set(dataset.splits) == {"train", "test"}
    assert "valid: the split is None, so it is ignored" in dataset.notes
    with pytest.raises(DataError, match=r"valid of .* must be a dict of arrays, got list"):
        open_dataset(_write(tmp_path / "x.pkl", _content() | {"valid": [1, 2]}))


@pytest.mark.case("F11")
def test_left_padded_frames_are_read_despite_lengths(tmp_path: Path) -> None:
    content = _content()
    audio = np.zeros((5, 9, 5), np.float32)
    for row in range(5):
        audio[row, 9 - (row + 1) :] = row + 1
    content["train"] |= {"audio": audio, "audio_lengths": [1, 2, 3, 4, 5]}
    dataset = open_dataset(_write(tmp_path / "x.pkl", content))
    samples = [dataset.split("train").sample(row)["audio"] for row in range(5)]
    assert [frames[:, 0].tolist() for frames in samples] == [[row + 1.0] * (row + 1) for row in range(5)]
    assert any(note.startswith("audio: in train, 5 of 5 samples are not padded where") for note in dataset.notes)


@pytest.mark.case("F12")
def test_missing_texts_are_empty_and_counted(tmp_path: Path) -> None:
    content = _content()
    content["train"]["raw_text"] = np.array(
        ["nan", None, float("nan"), np.float32("nan"), b"\xe5\xa5\xbd"], dtype=object
    )
    dataset = open_dataset(_write(tmp_path / "x.pkl", content))
    assert dataset.split("train").texts == ("nan", "", "", "", "\u597d")
    assert "train: 3 of 5 texts are missing or empty" in dataset.notes


@pytest.mark.case("F12")
def test_texts_may_be_lists_of_words(tmp_path: Path) -> None:
    content = {"train": _split(3, 0)}
    content["train"]["raw_text"] = [np.array(["oh", "no"]), None, ["a", b"b"]]
    assert open_dataset(_write(tmp_path / "x.pkl", content)).split("train").texts == ("oh no", "", "a b")


@pytest.mark.case("F12")
def test_texts_of_another_number_of_samples_are_noted(tmp_path: Path) -> None:
    content = _content()
    content["train"]["raw_text"] = ["one"]
    dataset = open_dataset(_write(tmp_path / "x.pkl", content))
    assert dataset.split("train").texts == ()
    assert "train: raw_text has 1 texts for 5 samples, so it is ignored" in dataset.notes


@pytest.mark.case("F23")
def test_scores_that_would_also_fit_sims_are_noted(tmp_path: Path) -> None:
    content = _content()
    assert any(
        "would also fit the task sims" in note for note in open_dataset(_write(tmp_path / "x.pkl", content)).notes
    )
    content["train"]["regression_labels"][0] = 2.5
    assert not any("sims" in note for note in open_dataset(_write(tmp_path / "x.pkl", content)).notes)


def _published(audio: tuple[int, int], vision: tuple[int, int], counts: tuple[int, ...]) -> dict[str, Any]:
    shapes = {"audio": audio, "vision": vision}
    return {
        f"{split}/{key}": np.broadcast_to(np.float32(0), (count, *shape))
        for split, count in zip(("train", "valid", "test"), counts, strict=True)
        for key, shape in shapes.items()
    }


def test_published_files_are_known_by_all_their_shapes() -> None:
    mosei = find_features(_published((500, 74), (500, 35), (16326, 1871, 4659)), mmsa.PUBLISHED)
    assert mosei == {"audio": FeatureSource("COVAREP"), "vision": FeatureSource("FACET")}
    sims = find_features(_published((400, 33), (55, 709), (1368, 456, 457)), mmsa.PUBLISHED)
    assert sims == {"audio": FeatureSource("librosa"), "vision": FeatureSource("OpenFace", "2.0")}


def test_an_extractor_is_not_guessed_by_the_number_of_features(tmp_path: Path) -> None:
    assert find_features(_published((500, 74), (500, 35), (16326, 1871, 4658)), mmsa.PUBLISHED) == {}
    content = _content()
    for split in content.values():
        count = len(split["id"])
        split |= {"audio": np.ones((count, 6, 74)), "vision": np.ones((count, 6, 35)), "text": np.ones((count, 6, 768))}
    assert open_dataset(_write(tmp_path / "aligned_50.pkl", content)).features == {}
