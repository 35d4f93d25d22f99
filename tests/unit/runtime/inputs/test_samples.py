from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import DataError, UsageError
from edge_msa_runtime.inputs.samples import Sample, open_samples

pytestmark = pytest.mark.case("F7")

FRAMES = np.arange(1, 13, dtype=np.float32).reshape(2, 3, 2)


def _archive(path: Path, **arrays: Any) -> Path:
    header = np.array(json.dumps({"schema": 1, "task": None}))
    named = {name.replace("__", "/"): value for name, value in arrays.items()}
    np.savez(path, header=header, **named)
    return path


def _read(path: Path, **options: Any) -> list[Sample]:
    samples = open_samples(path, **options)
    read = list(samples.read())
    assert len(read) == samples.count
    return read


def test_an_archive_keeps_ids_splits_texts_and_valid_frames(tmp_path: Path) -> None:
    path = _archive(
        tmp_path / "x.npz",
        train__ids=np.array(["a", "a"]),
        train__audio=FRAMES,
        train__audio_valid=np.array([[True, False, True], [False] * 3]),
        train__texts=np.array(["one", "two"]),
        test__labels=np.array([1.0, np.nan]),
        test__language_ids=np.array([[1, 0], [0, 1]]),
        test__language_valid=np.ones((2, 2), bool),
        language_table=np.array([[0, 0], [5, 6]], np.float32),
    )
    first, second, third, _ = _read(path)
    assert (first.id, first.split, first.text) == ("a", "train", "one")
    assert first.frames["audio"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert first.valid["audio"].tolist() == [True, False, True]
    assert (second.id, dict(second.frames)) == ("a#2", {})
    assert (third.id, third.split, third.text, third.frames["language"].tolist()) == (
        "test-0",
        "test",
        None,
        [[5, 6], [0, 0]],
    )
    assert [sample.id for sample in _read(path, split="test")] == ["test-0", "test-1"]
    with pytest.raises(UsageError, match=r"has no valid split\. Available: train, test"):
        open_samples(path, split="valid")


def test_a_public_layout_is_read_without_labels(tmp_path: Path) -> None:
    audio = FRAMES.copy()
    audio[0, 0, 0] = -np.inf
    np.savez(tmp_path / "x.npz", test_audio=audio, test_vision=np.zeros((2, 3, 4), np.float32))
    samples = open_samples(tmp_path / "x.npz")
    assert "audio: 1 value in test was -inf, set to 0" in samples.notes
    assert [list(sample.frames) for sample in samples.read()] == [["audio"], ["audio"]]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.TSV"])
def test_tables_of_texts_are_read(tmp_path: Path, name: str) -> None:
    content = "\ufeffid;text;label\nx;i love it, really;2\nx;;oops\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert [(item.id, item.split, item.text) for item in _read(tmp_path / name)] == [
        ("x", "train", "i love it, really"),
        ("x#2", "train", ""),
    ]


def test_a_folder_has_one_utterance_per_id(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    np.save(tmp_path / "b" / "audio.npy", FRAMES[0])
    np.save(tmp_path / "a.audio.npy", FRAMES[1])
    np.save(tmp_path / "a.vision.npy", FRAMES[0])
    arrays: dict[str, Any] = {"audio": FRAMES[0], "valid.audio": np.array([True, False, True])}
    np.savez(tmp_path / "c.npz", **arrays)
    (tmp_path / "notes.txt").touch()
    samples = open_samples(tmp_path)
    assert [(item.id, sorted(item.frames), list(item.valid)) for item in samples.read()] == [
        ("a", ["audio", "vision"], []),
        ("b", ["audio"], []),
        ("c", ["audio"], ["audio"]),
    ]
    assert samples.notes == (f"1 other file in {tmp_path} ignored, e.g. notes.txt",)


def test_the_frames_of_one_utterance_are_one_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", audio=FRAMES[0])
    (sample,) = _read(tmp_path / "one.npz")
    assert (sample.id, sample.frames["audio"].tolist()) == ("one", FRAMES[0].tolist())


@pytest.mark.parametrize("name", ["x.pkl", "x.csd", "x.txt"])
def test_other_formats_name_the_command_that_converts_them(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(
        UsageError, match=r"format that this command cannot read.*edge-msa data convert FILE --output OUT\.npz"
    ):
        open_samples(tmp_path / name)


def test_invalid_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_samples(tmp_path / "none.npz")
    with pytest.raises(UsageError, match=r"must contain utterances: ID/audio\.npy"):
        open_samples(tmp_path)
    with pytest.raises(DataError, match=r"texts of test in .* must have 2 samples, as ids has, got 1"):
        open_samples(
            _archive(tmp_path / "x.npz", test__ids=np.array(["a", "b"]), test__audio=FRAMES, test__texts=["t"])
        )
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match="must have a column 'text', got a"):
        open_samples(tmp_path / "t.csv")
