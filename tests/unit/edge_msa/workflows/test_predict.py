"""Predictions for files of every format, with and without labels."""

from __future__ import annotations

import csv
import json
import pickle
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.cli import run as run_cli
from edge_msa.console import messages
from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS
from edge_msa.errors import DataError, UsageError
from edge_msa.workflows.data import convert_data
from edge_msa.workflows.evaluate import evaluate
from edge_msa.workflows.predict import predict
from tests.unit.edge_msa.toy_runs import DIMS, write_dataset, write_teacher

pytestmark = pytest.mark.case("F7")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_dataset(tmp_path_factory.mktemp("data") / "all.npz")


@pytest.fixture(scope="module")
def run(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_teacher(tmp_path_factory.mktemp("run") / "teacher", data)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _pickle(path: Path, data: str, **changes: Any) -> Path:
    """Write the test split of a dataset as an MMSA pickle."""
    split = open_dataset(data).split("test")
    names = {"language": "text", "audio": "audio", "vision": "vision"}
    content: dict[str, Any] = {names[name]: frames.take() for name, frames in split.modalities.items()}
    content |= {"id": list(split.ids), "regression_labels": split.labels.copy(), **changes}
    path.write_bytes(pickle.dumps({"test": {key: value for key, value in content.items() if value is not None}}))
    return path


def test_labeled_and_unlabeled_files_get_the_same_predictions(run: Path, data: str, tmp_path: Path) -> None:
    labeled = _pickle(tmp_path / "labeled.pkl", data)
    unlabeled = _pickle(tmp_path / "unlabeled.pkl", data, regression_labels=None)
    expected = [item for item in predict(run, data=data, output=tmp_path / "all.csv") if item.split == "test"]
    for path in (labeled, unlabeled):
        assert list(predict(run, data=str(path), output=tmp_path / "out.csv", overwrite=True)) == expected
        rows = _rows(tmp_path / "out.csv")
        assert [row["id"] for row in rows] == [f"test{row}" for row in range(12)]
        assert {(row["split"], row["subset"]) for row in rows} == {("test", "lav")}
        assert all(np.float32(row["score"]) == item.score for row, item in zip(rows, expected, strict=True))
    assert len(_rows(tmp_path / "all.csv")) == 36


def test_json_has_the_same_predictions(run: Path, data: str, tmp_path: Path) -> None:
    predicted = predict(run, data=data, split="valid", output=tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert (content["model"], content["data"], content["task"]) == ("teacher", "all.npz", "mosi")
    assert [item["id"] for item in content["predictions"]] == [item.id for item in predicted]
    assert [item["label"] for item in content["predictions"]] == [item.label for item in predicted]


@pytest.mark.usefixtures("printing")
def test_every_sample_is_predicted_from_what_it_has(
    run: Path, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = np.ones((12, 5, DIMS["audio"]), np.float32)
    language = np.ones((12, 5, DIMS["language"]), np.float32)
    language[3:] = audio[6:] = 0
    path = _pickle(tmp_path / "x.pkl", data, text=language, audio=audio, vision=None, regression_labels=None)
    predicted = predict(run, data=str(path))
    assert [item.subset for item in predicted] == ["la"] * 3 + ["a"] * 3 + [""] * 6
    captured = capsys.readouterr()
    assert str(predicted).splitlines()[-1] == "test11,test,,,,,,no valid frame or word"
    assert "6 of 12 samples have no prediction" in captured.err


def test_labels_of_another_task_are_ignored(data: str, tmp_path: Path) -> None:
    emotions = write_dataset(tmp_path / "emotions.npz", task=EMOTIONS)
    run = write_teacher(tmp_path / "emotional", emotions, task=EMOTIONS)
    predict(run, data=data, split="test", output=tmp_path / "out.csv")
    rows = _rows(tmp_path / "out.csv")
    assert [name for name in rows[0] if name.startswith("probability.")] == [
        f"probability.{label}" for label in EMOTIONS.labels
    ]
    assert rows[0]["score"] == ""
    assert rows[0]["label"] in EMOTIONS.labels


def test_the_command_that_evaluate_suggests_predicts_the_file(
    run: Path, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _pickle(tmp_path / "un labeled.pkl", data, regression_labels=None)
    with pytest.raises(DataError, match="The test split of un labeled has no labels") as caught:
        evaluate(run, data=str(path))
    program, *arguments = shlex.split(str(caught.value).partition("predict it: ")[2])
    assert program == "edge-msa"
    capsys.readouterr()
    assert run_cli(arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == 13


def test_evaluate_leaves_out_and_counts_unlabeled_samples(run: Path, data: str, tmp_path: Path) -> None:
    labels = open_dataset(data).split("test").labels.copy()
    labels[4] = np.nan
    path = _pickle(tmp_path / "x.pkl", data, regression_labels=labels)
    evaluation = evaluate(run, data=str(path), predictions=tmp_path / "out.csv")
    assert evaluation.samples == 11
    assert "test: 1 of 12 samples has no label; left out" in evaluation.notes
    assert "test4" not in {row["id"] for row in _rows(tmp_path / "out.csv")}


def test_invalid_arguments_are_refused(run: Path, data: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.csv or \.json, got .*out\.txt"):
        predict(run, data=data, output=tmp_path / "out.txt")
    with pytest.raises(UsageError, match="are for bundles"):
        predict(run, data=data, precision="fp32")
    with pytest.raises(DataError, match="has no train split"):
        predict(run, data=str(_pickle(tmp_path / "x.pkl", data)), split="train")


def test_features_of_another_extractor_cause_one_warning(
    tmp_path: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = tmp_path / "features.toml"
    for name, text in (("covarep", 'extractor = "COVAREP"\nrate_hz = 100'), ("librosa", 'extractor = "librosa"')):
        statement.write_text(f"[audio]\n{text}\n")
        convert_data(data, output=tmp_path / f"{name}.npz", features=statement)
    run = write_teacher(tmp_path / "teacher", str(tmp_path / "covarep.npz"))
    capsys.readouterr()
    for other, warnings in ((data, 0), (str(tmp_path / "covarep.npz"), 0), (str(tmp_path / "librosa.npz"), 1)):
        for command in (partial(predict, output=tmp_path / "out.csv", overwrite=True), evaluate):
            with messages(verbose=True):
                command(run, data=other)
            captured = capsys.readouterr().err
            assert captured.count("has other features than the model was trained on") == warnings
            assert captured.count("(audio: librosa instead of COVAREP)") == warnings
