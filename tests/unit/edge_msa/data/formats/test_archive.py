from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split, SplitName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS, MOSI, Task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.features import FeatureSource

_NAMES: tuple[SplitName, ...] = ("train", "valid", "test")
_SOURCE = FeatureSource("COVAREP", "1.4", 12.5, ("F0", "VUV"), ("Hz", ""), {"window_ms": 25.5}, "0f" * 32)


def _dataset(task: Task = MOSI) -> Dataset:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(7, 3)).astype(np.float32)
    splits: dict[SplitName, Split] = {}
    for at, name in enumerate(_NAMES):
        count = 3 + at
        labels = rng.integers(0, 2, (count, 4)) if task.kind == "emotions" else rng.uniform(-3, 3, count)
        modalities = {
            "language": Frames(rng.random((count, 5)) > 0.3, ids=rng.integers(0, 7, (count, 5)), table=table),
            "audio": Frames(rng.random((count, 4)) > 0.3, rng.normal(size=(count, 4, 2)).astype(np.float32)),
        }
        if name == "train":
            del modalities["language"]
        ids = tuple(f"{name}{row}é" for row in range(count))
        splits[name] = Split(ids, tuple(f"g{name}" for _ in ids), labels.astype(np.float32), modalities, _texts(count))
    return Dataset("corpus", task, splits, "digest", {"audio": _SOURCE}, ("a note",))


def _texts(count: int) -> tuple[str, ...]:
    return tuple(f"what <b>{row}</b> said" for row in range(count))


def _assert_same(one: Dataset, other: Dataset) -> None:
    assert (one.name, one.task, one.features, one.notes) == (other.name, other.task, other.features, other.notes)
    for name in one.splits:
        left, right = one.splits[name], other.splits[name]
        assert left.texts == right.texts != ()
        assert (left.ids, left.groups, set(left.modalities)) == (right.ids, right.groups, set(right.modalities))
        np.testing.assert_array_equal(left.labels, right.labels)
        for modality, frames in left.modalities.items():
            np.testing.assert_array_equal(frames.valid, right.modalities[modality].valid)
            np.testing.assert_array_equal(frames.take(), right.modalities[modality].take())


@pytest.mark.parametrize("task", [MOSI, EMOTIONS, Task("regression", ("low", "high"), (2.0,), 0.0, None)])
def test_an_archive_is_loaded_as_written(tmp_path: Path, task: Task) -> None:
    dataset = _dataset(task)
    if task.low == 0:
        dataset = Dataset(
            dataset.name,
            task,
            {n: Split(s.ids, s.groups, abs(s.labels), s.modalities, s.texts) for n, s in dataset.splits.items()},
            "digest",
        )
    write_archive(dataset, tmp_path / "x.npz")
    loaded = open_dataset(tmp_path / "x.npz")
    _assert_same(dataset, loaded)
    valid, test = loaded.splits["valid"].modalities["language"], loaded.splits["test"].modalities["language"]
    assert valid.ids is not None
    assert valid.table is test.table


def test_writing_is_deterministic(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write_archive(_dataset(), tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.npz", "b.npz"]
    assert open_dataset(tmp_path / "a.npz").digest == open_dataset(tmp_path / "b.npz").digest


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_keeps_the_old_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "x.npz"
    write_archive(_dataset(), path)
    before = path.read_bytes()

    def fail(file: Any, **_arrays: Any) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises((DataError, KeyboardInterrupt)) as caught:
        write_archive(_dataset(), path)
    assert isinstance(error, KeyboardInterrupt) or "No space left on device" in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_invalid_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        write_archive(_dataset(), tmp_path / "x.pkl")
    write_archive(_dataset(), tmp_path / "new" / "x.npz")
    assert (tmp_path / "new" / "x.npz").is_file()


def _by_hand(path: Path, header: Any = None, **changes: Any) -> Path:
    arrays: dict[str, Any] = {
        "header": np.array(json.dumps({"schema": 1, "task": "mosi"} if header is None else header)),
        "train/labels": np.array([1.0, -1.0]),
        "train/audio": np.ones((2, 3, 2), np.float32),
    }
    arrays |= {name.replace("__", "/"): value for name, value in changes.items()}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_a_minimal_archive_is_loaded(tmp_path: Path) -> None:
    dataset = open_dataset(_by_hand(tmp_path / "mine.npz"))
    assert (dataset.name, dataset.task, dataset.split("train").ids) == ("mine", MOSI, ("train-0", "train-1"))
    assert dataset.split("train").modalities["audio"].valid.all()


def test_archives_without_features_say_nothing_about_them(tmp_path: Path) -> None:
    assert open_dataset(_by_hand(tmp_path / "x.npz")).features == {}


def test_frame_rates_of_earlier_archives_are_kept(tmp_path: Path) -> None:
    header = {"schema": 1, "task": "mosi", "frame_rates": {"audio": 25}}
    assert open_dataset(_by_hand(tmp_path / "x.npz", header)).features == {"audio": FeatureSource(rate_hz=25.0)}
    write_archive(open_dataset(tmp_path / "x.npz"), tmp_path / "y.npz")
    assert "frame_rates" not in json.loads(str(np.load(tmp_path / "y.npz")["header"]))


def test_non_finite_values_are_located(tmp_path: Path) -> None:
    audio = np.ones((2, 3, 2), np.float32)
    audio[1, 0, 1] = np.nan
    audio[1, 2, 0] = np.inf
    path = _by_hand(tmp_path / "x.npz", train__audio=audio)
    with pytest.raises(
        DataError, match=r"train/audio .* got 2 NaN or inf values, the first at \[1, 0, 1\]\. Set them to 0"
    ):
        open_dataset(path)
    dataset = _dataset()
    dataset.splits["train"].labels[1] = np.inf
    with pytest.raises(DataError, match=r"train/labels .* \[1\]\. Correct these labels"):
        write_archive(dataset, tmp_path / "y.npz")
    assert not (tmp_path / "y.npz").exists()


@pytest.mark.parametrize(
    ("header", "changes", "message"),
    [
        ({"schema": 2, "task": "mosi"}, {}, "must have schema 1, got 2"),
        ([1], {}, "must be a JSON object"),
        ({"schema": 1, "task": {"kind": "mosy", "labels": [], "edges": []}}, {}, "Did you mean 'mosi'"),
        ({"schema": 1, "task": {"kind": "mosi"}}, {}, "task in the header"),
        ({"schema": 1, "task": "mosi", "frame_rates": {"audio": "fast"}}, {}, "frame_rates"),
        ({"schema": 1, "task": "mosi", "frame_rates": {"audio": -25}}, {}, "must be positive numbers in Hz, got -25"),
        ({"schema": 1, "task": "mosi", "frame_rates": {"audio": float("nan")}}, {}, "positive numbers in Hz, got nan"),
        ({"schema": 1, "task": "mosi", "frame_rates": {"video": 25}}, {}, "must be for language, audio, vision"),
        (
            {"schema": 1, "task": "mosi", "features": {"audio": {"rate_hz": -1}}},
            {},
            r"features\.audio\.rate_hz must be",
        ),
        (
            {"schema": 1, "task": "mosi", "features": {"audio": {"names": ["a"]}}},
            {},
            "must be 2 texts, one per feature",
        ),
        (
            {"schema": 1, "task": "mosi", "frame_rates": {"audio": 25}, "features": {"audio": {"extractor": "x"}}},
            {},
            "must have features or frame_rates, got both",
        ),
        ({"schema": 1, "task": "mosi", "notes": 3}, {}, "notes in the header of .* must be a list of texts, got 3"),
        ({"schema": 1, "task": "mosi", "clip_labels": "no"}, {}, "clip_labels in the header"),
        (None, {"train__groups": np.array("g")}, "train/groups .* must be an array of texts"),
        (None, {"train__texts": np.array("one")}, "train/texts .* must be an array of texts"),
        (None, {"train__ids": np.ones((2, 2))}, "train/ids .* must be an array of texts"),
        (None, {"train__audio_valid": np.array([["a"] * 3] * 2)}, "train/audio_valid .* must be an array of bool"),
        (None, {"train__labels": None}, "must have train/labels"),
        (None, {"train__audoi": np.ones(2)}, "train/audoi"),
        (
            None,
            {"train__labels": None, "train__audio": None, "mix__ids": np.array(["a"])},
            "must have the splits .* got mix",
        ),
        (None, {"train__audio": None}, "must have at least one of language, audio, vision"),
        (None, {"train__language_ids": np.zeros((2, 3), int)}, "language_table"),
        (None, {"train__audio_valid": np.ones((2, 4), bool)}, "mask of audio of train"),
        (None, {"train__ids": np.array(["a"])}, "labels of train"),
        (None, {"train__labels": np.zeros(0), "train__audio": np.zeros((0, 3, 2))}, "train split is empty"),
        (
            None,
            {"test__labels": np.ones(1), "test__audio": np.ones((1, 3, 5))},
            "audio must have 2 features in test, as in train, got 5",
        ),
    ],
)
def test_invalid_archives_are_refused(tmp_path: Path, header: Any, changes: dict[str, Any], message: str) -> None:
    path = _by_hand(tmp_path / "x.npz", header, **changes)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(path)
    assert "\n" not in str(caught.value)


def test_a_split_without_labels_needs_ids(tmp_path: Path) -> None:
    dataset = _dataset()
    dataset.splits["train"].labels[:] = np.nan
    write_archive(dataset, tmp_path / "x.npz")
    assert "train/labels" not in np.load(tmp_path / "x.npz").files
    result = open_dataset(tmp_path / "x.npz")
    assert np.isnan(result.split("train").labels).all()
    assert result.split("train").ids == dataset.split("train").ids
    assert "no labels in train: use predict, or distill --transfer" in result.notes


def test_a_header_that_is_not_json_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", header=np.array("{"))
    with pytest.raises(DataError, match="must be JSON"):
        open_dataset(tmp_path / "x.npz")


def test_a_header_without_a_task_needs_one(tmp_path: Path) -> None:
    path = _by_hand(tmp_path / "x.npz", {"schema": 1})
    with pytest.raises(UsageError, match="--task"):
        open_dataset(path)
    assert open_dataset(path, task=MOSI).task == MOSI


@pytest.mark.parametrize("keep", [0, 10, 300, -30])
def test_a_truncated_archive_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.npz"
    write_archive(_dataset(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="truncated"):
        open_dataset(path)


def test_a_changed_byte_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_archive(_dataset(), path)
    content = bytearray(path.read_bytes())
    content[content.index(b"header.npy") + 60] ^= 0xFF  # inside the compressed data of the header
    path.write_bytes(content)
    with pytest.raises(DataError):
        open_dataset(path)


def test_python_objects_in_an_archive_are_refused(tmp_path: Path) -> None:
    path = _by_hand(tmp_path / "x.npz", train__audio=np.array([object, object]))
    with pytest.raises(DataError, match="array 'train/audio'"):
        open_dataset(path)


def test_texts_must_have_all_samples(tmp_path: Path) -> None:
    path = _by_hand(tmp_path / "x.npz", train__texts=np.array(["one", "two"]))
    assert open_dataset(path).split("train").texts == ("one", "two")
    with pytest.raises(DataError, match="texts must have 2 samples, as ids has, got 1"):
        open_dataset(_by_hand(tmp_path / "y.npz", train__texts=np.array(["one"])))


@pytest.mark.case("F7")
def test_samples_without_labels_are_kept(tmp_path: Path) -> None:
    dataset = _dataset()
    dataset.splits["test"].labels[1] = np.nan
    write_archive(dataset, tmp_path / "x.npz")
    loaded = open_dataset(tmp_path / "x.npz")
    np.testing.assert_array_equal(loaded.split("test").labels, dataset.split("test").labels)
    assert "test: 1 of 5 samples has no label" in loaded.notes


@pytest.mark.case("F10")
def test_split_aliases_are_read_and_others_counted(tmp_path: Path) -> None:
    more = {"dev__labels": np.ones(1), "dev__audio": np.ones((1, 3, 2)), "mix__ids": np.array(["a", "b", "c"])}
    dataset = open_dataset(_by_hand(tmp_path / "x.npz", **more))
    assert set(dataset.splits) == {"train", "valid"}
    assert any("'mix' with 3 samples" in note for note in dataset.notes)


@pytest.mark.case("F11")
def test_a_mask_that_misses_the_frames_is_moved(tmp_path: Path) -> None:
    audio = np.zeros((2, 3, 2), np.float32)
    audio[0, 1:] = audio[1, :2] = 1
    mask = np.array([[True, True, False]] * 2)
    frames = open_dataset(_by_hand(tmp_path / "x.npz", train__audio=audio, train__audio_valid=mask))
    assert frames.split("train").modalities["audio"].valid.tolist() == [[False, True, True], [True, True, False]]
    gaps = np.array([[True, False, False]] * 2)
    kept = open_dataset(_by_hand(tmp_path / "y.npz", train__audio_valid=gaps))
    assert kept.split("train").modalities["audio"].valid.tolist() == gaps.tolist()


@pytest.mark.case("F13")
def test_an_archive_keeps_the_choice_to_clip_labels(tmp_path: Path) -> None:
    path = _by_hand(tmp_path / "x.npz", train__labels=np.array([3.5, -1.0]))
    write_archive(open_dataset(path, clip_labels=False), tmp_path / "y.npz")
    assert open_dataset(tmp_path / "y.npz").split("train").labels.tolist() == [3.5, -1.0]
    assert open_dataset(tmp_path / "y.npz", clip_labels=True).split("train").labels.tolist() == [3.0, -1.0]
    assert open_dataset(path).split("train").labels.tolist() == [3.0, -1.0]
