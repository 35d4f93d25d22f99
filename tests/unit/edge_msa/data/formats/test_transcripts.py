from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.opening import open_dataset
from edge_msa.data.tasks import EMOTIONS, MOSI, REGRESSION, SIMS
from edge_msa.errors import DataError, UnstatedTaskError


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
    plain = open_dataset(written(tmp_path / "t.csv", text), task=MOSI)
    with gzip.open(tmp_path / "t.csv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    assert open_dataset(tmp_path / "t.csv.gz", task=MOSI).split("train").texts == plain.split("train").texts


def test_splits_and_scores_are_optional(tmp_path: Path) -> None:
    dataset = open_dataset(written(tmp_path / "t.csv", "Transcript\nhello there\nemoji \U0001f600\n"), task=MOSI)
    assert dataset.split("train").texts == ("hello there", "emoji \U0001f600")
    assert np.isnan(dataset.split("train").labels).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "must have a column 'text', got a, b \\(separated by commas\\)"),
        ("", "must have a column 'text', got nothing"),
        ("text,label\n", "at least one transcript"),
        ("text,label\nhi,good\n", "line 2: the score must be a number, got 'good'"),
        ("text,label\nhi,inf\n", "must be a finite number"),
        ("text,text\nhi,ho\n", "must have columns of different names, got 'text' twice"),
        ("text,label,split\nhi,1,holdout\n", "'split' of .* must name the splits train, valid, test, got 'holdout'"),
        ("text,split\nhi,val\nhi,dev\n", "one valid split, got 'val' and 'dev'"),
    ],
)
def test_invalid_tables_are_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(written(tmp_path / "t.csv", content), task=MOSI)
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


@pytest.mark.case("F7")
def test_empty_scores_are_missing_labels(tmp_path: Path) -> None:
    dataset = open_dataset(written(tmp_path / "t.csv", "text,label\nyes,2\nno,\nwell,-1\n"))
    assert np.isnan(dataset.split("train").labels).tolist() == [False, True, False]
    assert "train: 1 of 3 samples has no label" in dataset.notes


@pytest.mark.case("F10")
def test_split_aliases_are_read_and_others_counted(tmp_path: Path) -> None:
    rows = "a,Training\nb,dev\nc,testing\nd,train_mix\ne,train_mix\nf,\n"
    dataset = open_dataset(written(tmp_path / "t.csv", "text,mode\n" + rows), task=MOSI)
    assert {name: split.texts for name, split in dataset.splits.items()} == {
        "train": ("a", "f"),
        "valid": ("b",),
        "test": ("c",),
    }
    assert any(note.startswith("split 'train_mix' with 2 samples is ignored") for note in dataset.notes)


@pytest.mark.case("F12")
def test_empty_cells_are_empty_texts_and_counted(tmp_path: Path) -> None:
    dataset = open_dataset(written(tmp_path / "t.csv", "text,label\nnan,1\n,2\n  ,-1\n"))
    assert dataset.split("train").texts == ("nan", "", "")
    assert "train: 2 of 3 texts are missing or empty" in dataset.notes


@pytest.mark.case("F23")
@pytest.mark.parametrize(
    ("scores", "fits"),
    [((0.4, -0.8), "mosi, sims or regression"), ((1, 5), "regression"), ((0.5, 3), "mosi or regression")],
)
def test_ambiguous_scores_need_a_task(tmp_path: Path, scores: tuple[float, float], fits: str) -> None:
    path = written(tmp_path / "t.csv", "text,label\n" + "".join(f"hi,{score}\n" for score in scores))
    with pytest.raises(UnstatedTaskError, match=rf"fits the task {fits}\. Pass --task"):
        open_dataset(path)
    assert open_dataset(path, task=REGRESSION).task == REGRESSION


@pytest.mark.case("F23")
def test_scores_that_fit_mosi_only_are_noted(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "text,label\nhi,2.4\nhi,-1\n")
    dataset = open_dataset(path)
    assert dataset.task == MOSI
    assert dataset.notes == ("scores are -1 to 2.4: the task is mosi (pass --task if they mean something else)",)
    with pytest.raises(DataError, match=r"must be within -1.0 to 1.0 for the task 'sims', got 2.4"):
        open_dataset(path, task=SIMS)


@pytest.mark.case("F28")
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters_are_detected(tmp_path: Path, delimiter: str) -> None:
    rows = [("\ufeffid", "Text", "label"), ("a", f'"x{delimiter} ""y"", z"', "2,5"), ("b", "u, v", "-1")]
    path = written(tmp_path / "t.csv", "\r\n".join(delimiter.join(row) for row in rows))
    split = open_dataset(path).split("train")
    assert split.ids == ("a", "b")
    assert split.texts == (f'x{delimiter} "y", z', "u, v")
    assert split.labels.tolist() == [2.5, -1.0]


@pytest.mark.case("F28")
def test_errors_name_the_delimiter(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have a column 'text', got id, words \(separated by semicolons\)"):
        open_dataset(written(tmp_path / "t.csv", "id;words\na;b\n"))
    with pytest.raises(DataError, match=r"line 2: a row must have 2 columns separated by commas, .* got 3"):
        open_dataset(written(tmp_path / "t.csv", "text,label\noh, no,1\n"))


@pytest.mark.case("F28")
def test_a_table_of_one_column_may_contain_delimiters(tmp_path: Path) -> None:
    path = written(tmp_path / "t.tsv", 'sep=;\ntext\noh, no; really\n"quoted, too"\n')
    assert open_dataset(path, labels=False).split("train").texts == ("oh, no; really", "quoted, too")


def test_repeated_ids_are_renamed(tmp_path: Path) -> None:
    dataset = open_dataset(written(tmp_path / "t.csv", "id,text\na,one\na,two\n"), labels=False)
    assert dataset.split("train").ids == ("a", "a#2")
    assert "train: 1 sample repeats an id and is renamed to id#2, id#3 and so on" in dataset.notes
