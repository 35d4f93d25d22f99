from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from edge_msa.cli import run
from edge_msa.data.opening import open_dataset
from edge_msa.data.utterances import Utterance
from edge_msa.errors import UnstatedTaskError, UsageError
from edge_msa.workflows.data import convert_data, inspect_data, save_data
from tests.unit.edge_msa.toy_runs import write_dataset


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


@pytest.mark.parametrize("samples", ["5", "a:b", "-2:", "1:2:3"])
def test_invalid_slice_raises_an_error(data: str, tmp_path: Path, samples: str) -> None:
    with pytest.raises(UsageError, match="must be a slice of training samples"):
        convert_data(data, output=tmp_path / "part.npz", samples=samples)


def test_an_empty_slice_raises_an_error(data: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must select some of the 12 training samples, got 5:2"):
        convert_data(data, output=tmp_path / "part.npz", samples="5:2")
    assert not (tmp_path / "part.npz").exists()


@pytest.mark.case("F7")
@pytest.mark.usefixtures("printing")
def test_an_unlabeled_file_is_converted_without_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {"test": {"audio": np.ones((2, 3, 4)), "id": ["a", "b"], "text_bert": None, "raw_text": ["x", None]}}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    assert run(["data", "convert", str(tmp_path / "x.pkl"), "--output", str(tmp_path / "x.npz")]) == 0
    assert f"next: edge-msa predict MODEL --data {tmp_path / 'x.npz'}" in capsys.readouterr().out
    archive = open_dataset(tmp_path / "x.npz", labels=False)
    assert (archive.split("test").ids, archive.split("test").texts) == (("a", "b"), ("x", ""))
    with pytest.raises(UnstatedTaskError, match="has no labels"):
        open_dataset(tmp_path / "x.npz")
    inspection = json.loads(json.dumps(inspect_data(str(tmp_path / "x.npz")).to_json()))
    assert inspection["task"] == "none"
    assert "no labels: use predict, or distill --transfer" in inspection["notes"]


@pytest.mark.case("F13")
def test_clipping_is_a_choice_of_inspect_and_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {"train": {"audio": np.ones((2, 3, 4)), "regression_labels": np.array([3.667, 0])}}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    assert run(["data", "inspect", str(tmp_path / "x.pkl")]) == 0
    assert "the most extreme is 3.667 (train-0); clipped" in capsys.readouterr().out
    line = ["data", "convert", str(tmp_path / "x.pkl"), "--output", str(tmp_path / "x.npz"), "--no-clip-labels"]
    assert run(line) == 0
    np.testing.assert_allclose(open_dataset(tmp_path / "x.npz").split("train").labels, [3.667, 0])


def utterances(count: int = 6) -> list[Utterance]:
    return [Utterance(f"video-{n}", n - 2.5, audio=np.full((n + 1, 2), n), text=f"word {n}") for n in range(count)]


def test_saved_arrays_are_split_and_can_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = {"audio": {"extractor": "mine", "rate_hz": 10}}
    path = save_data(utterances(), output=tmp_path / "mine.npz", task="mosi", features=features)
    assert capsys.readouterr().out == ""
    dataset = open_dataset(path)
    assert (dataset.name, dataset.task.kind, dataset.features["audio"].rate_hz) == ("mine", "mosi", 10)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 4, "valid": 1, "test": 1}
    given = {item.id: item for item in utterances()}
    for split in dataset.splits.values():
        for row, name in enumerate(split.ids):
            np.testing.assert_array_equal(split.sample(row)["audio"], np.asarray(given[name].audio))
            assert (split.labels[row], split.texts[row]) == (given[name].label, given[name].text)


def test_splits_can_be_stated(tmp_path: Path) -> None:
    samples = utterances()
    path = save_data({"test": samples[:2], "train": samples[2:]}, output=tmp_path / "mine.npz", task="mosi")
    splits = open_dataset(path).splits
    assert {name: split.ids for name, split in splits.items()} == {
        "train": ("video-2", "video-3", "video-4", "video-5"),
        "test": ("video-0", "video-1"),
    }


def test_saving_refuses_what_it_cannot_save(tmp_path: Path) -> None:
    archive = tmp_path / "mine.npz"
    with pytest.raises(UsageError, match=r"must end in \.npz"):
        save_data(utterances(), output=tmp_path / "mine.pkl", task="mosi")
    with pytest.raises(UsageError, match=r"Unknown task 'mose'\. Did you mean 'mosi'"):
        save_data(utterances(), output=archive, task="mose")
    with pytest.raises(UsageError, match="must be for modalities of mine"):
        save_data(utterances(), output=archive, task="mosi", features={"vision": {"extractor": "mine"}})
    with pytest.raises(UsageError, match="at least 3 videos"):
        save_data(utterances(2), output=archive, task="mosi")
    assert not archive.exists()
    save_data(utterances(), output=archive, task="mosi")
    with pytest.raises(UsageError, match="exists"):
        save_data(utterances(), output=archive, task="mosi")
    save_data(utterances(), output=archive, task="mosi", overwrite=True)
