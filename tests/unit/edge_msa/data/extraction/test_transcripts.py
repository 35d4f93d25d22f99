from __future__ import annotations

from pathlib import Path

import pytest

from edge_msa.data.extraction.table import read_labels
from edge_msa.data.extraction.transcripts import add_transcripts
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import MOSI
from edge_msa.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (videos / name).touch()
    return videos


def texts(folder: Path, labels: str, transcripts: str) -> list[str]:
    (folder.parent / "labels.csv").write_text(labels)
    (folder.parent / "words.csv").write_text(transcripts)
    table = read_labels(folder.parent / "labels.csv", folder, LoadOptions())
    return [item.text for item in add_transcripts(table, folder.parent / "words.csv", folder).segments]


def test_whole_files_get_their_words(folder: Path) -> None:
    assert texts(folder, "file\na.mp4\nb.mp4\n", "file,text\nb.mp4,two words\n") == ["", "two words"]


def test_segments_get_the_pieces_whose_middle_is_inside(folder: Path) -> None:
    labels = "file,start,end\na.mp4,0,2\na.mp4,2,4\n"
    pieces = (
        "file,start,end,text\na.mp4,2.5,3,good\na.mp4,0,1,this\na.mp4,1.2,2.2,is\na.mp4,1.9,2.3,so\na.mp4,9,9.5,no\n"
    )
    assert texts(folder, labels, pieces) == ["this is", "so good"]


def test_the_words_of_transcripts_replace_those_of_the_table_of_labels(folder: Path) -> None:
    (folder.parent / "labels.csv").write_text("file,text\na.mp4,mine\nb.mp4,kept\n")
    (folder.parent / "words.csv").write_text("file,text\na.mp4,other\nb.mp4,\n")
    table = add_transcripts(
        read_labels(folder.parent / "labels.csv", folder, LoadOptions(MOSI)), folder.parent / "words.csv", folder
    )
    assert [item.text for item in table.segments] == ["other", "kept"]
    note = "1 of 2 segments has other words in words.csv than in the column `text`, which are not used: a.mp4"
    assert table.notes[-1] == note


def test_parts_of_a_file_need_times(folder: Path) -> None:
    with pytest.raises(DataError, match=r"words\.csv, line 2: start and end must be stated for a\.mp4"):
        texts(folder, "file,start,end\na.mp4,0,2\n", "file,text\na.mp4,all of it\n")


def test_lines_of_other_files_are_counted(folder: Path) -> None:
    (folder.parent / "labels.csv").write_text("file\na.mp4\n")
    (folder.parent / "words.csv").write_text("file,text\na.mp4,yes\nb.mp4,no\nc.mp4,no\n")
    table = read_labels(folder.parent / "labels.csv", folder, LoadOptions())
    table = add_transcripts(table, folder.parent / "words.csv", folder)
    assert table.notes[-1:] == ("2 of 3 lines of words.csv are for files that the table of labels does not name",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,words\na.mp4,hi\n", "must have a column 'text'"),
        ("file,strat,end,text\na.mp4,0,1,hi\n", "has a column 'strat', which is not used. Did you mean 'start'?"),
        ("file,start,end,text\na.mp4,2,1,hi\n", r"words\.csv, line 2: end must be after start"),
    ],
)
def test_a_wrong_table_is_refused(folder: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        texts(folder, "file\na.mp4\n", content)
