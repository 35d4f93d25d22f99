from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS
from edge_msa.errors import DataError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_scores_splits_and_videos_are_loaded(tmp_path: Path) -> None:
    file = written(
        tmp_path / "t.csv",
        'video_id,clip_id,text,label,mode\nv1,0,"Good, really",2.5,train\nv1,1,bad,-1,train\nv2,0,fine,0.5,valid\n',
    )
    dataset = open_dataset(file)
    train = dataset.split("train")
    assert train.texts == ("Good, really", "bad")
    assert train.labels.tolist() == [2.5, -1.0]
    assert train.ids == ("v1[0]", "v1[1]")
    assert train.groups == ("v1", "v1")
    assert dataset.split("valid").texts == ("fine",)
    assert "test" not in dataset.splits
    assert dataset.dims == {}


def test_a_compressed_file_is_loaded(tmp_path: Path) -> None:
    text = "text,score\nyes,1\n"
    plain = open_dataset(written(tmp_path / "t.csv", text))
    with gzip.open(tmp_path / "t.csv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    assert open_dataset(tmp_path / "t.csv.gz").split("train").texts == plain.split("train").texts


def test_splits_and_scores_are_optional(tmp_path: Path) -> None:
    dataset = open_dataset(written(tmp_path / "t.csv", "Transcript\nhello there\nemoji \U0001f600\n"))
    assert dataset.split("train").texts == ("hello there", "emoji \U0001f600")
    assert np.isnan(dataset.split("train").labels).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "must have a column 'text', got a, b"),
        ("", "must have a column 'text', got nothing"),
        ("text,label\n", "at least one transcript"),
        ("text,label\nhi,good\n", "line 2: the score must be a number, got 'good'"),
        ("text,label\nhi,9\n", "must be within -3.0 to 3.0"),
        ("text,label\nhi,nan\n", "must be a finite number"),
        ("text,label,split\nhi,1,holdout\n", "line 2: the split must be train, valid or test, got 'holdout'"),
    ],
)
def test_invalid_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(written(tmp_path / "t.csv", content))
    assert "\n" not in str(caught.value)


def test_errors_name_the_line_of_the_file(tmp_path: Path) -> None:
    content = 'text,label\n"two\nlines",1\n\nlast,bad\n'
    with pytest.raises(DataError, match="line 5: the score must be a number, got 'bad'"):
        open_dataset(written(tmp_path / "t.csv", content))


def test_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01text")
    with pytest.raises(DataError, match="CSV file in UTF-8"):
        open_dataset(tmp_path / "t.csv")
    (tmp_path / "t.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match="CSV file in UTF-8"):
        open_dataset(tmp_path / "t.csv.gz")


def test_the_task_emotions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Omit --task"):
        open_dataset(written(tmp_path / "t.csv", "text\nhi\n"), task=EMOTIONS)
