from __future__ import annotations

import math
from pathlib import Path

import pytest

from edge_msa.data.extraction.table import LabelTable, describe_unnamed, read_labels
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import EMOTIONS, MOSI, NO_TASK, SIMS, Task
from edge_msa.errors import DataError, UnstatedTaskError, UsageError

MOSI_OPTIONS = LoadOptions(MOSI)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with empty files: a.mp4, b.mp4, v1/1.mkv, v1/2.mkv, notes.txt and a hidden one."""
    videos = tmp_path / "videos"
    for name in ("a.mp4", "b.mp4", "v1/1.mkv", "v1/2.mkv", "notes.txt", ".hidden.mp4"):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        (videos / name).touch()
    return videos


def read(folder: Path, content: str, options: LoadOptions = MOSI_OPTIONS) -> LabelTable:
    path = folder.parent / "labels.csv"
    path.write_text(content)
    return read_labels(path, folder, options)


def test_lines_become_segments(folder: Path) -> None:
    table = read(
        folder,
        "file,start,end,label,text,video,speaker,split\na.mp4,1.5,3,2,so good,talk,Ann,train\nb.mp4,,,-1.25,,,,val\n",
    )
    one, two = table.segments
    assert (one.id, one.file, one.line, one.start, one.end) == ("a.mp4[1.5:3]", "a.mp4", 2, 1.5, 3.0)
    assert (one.label, one.text, one.video, one.speaker, one.split) == ((2.0,), "so good", "talk", "Ann", "train")
    assert one.position == 1.5
    assert (two.id, two.start, two.end, two.video, two.split) == ("b.mp4", 0.0, None, "b", "valid")
    assert math.isnan(two.position)
    assert table.task == MOSI
    assert table.has_splits
    assert table.is_labeled


def test_files_that_the_table_does_not_name_are_listed(folder: Path) -> None:
    table = read(folder, "file,label\na.mp4,1\n")
    assert table.unnamed == ("b.mp4", "v1/1.mkv", "v1/2.mkv")
    note = describe_unnamed(table.unnamed, Path("labels.csv"))
    assert note == "3 files are not in labels.csv: b.mp4, v1/1.mkv, v1/2.mkv"
    assert describe_unnamed(("a.mp4",), Path("t.csv")) == "1 file is not in t.csv: a.mp4"


def test_a_table_of_mmsa_names_videos_and_clips(folder: Path) -> None:
    table = read(folder, "video_id,clip_id,text,label,mode\nv1,1,one,1,train\nv1,2,two,-1,test\n")
    assert [(item.file, item.video, item.position) for item in table.segments] == [
        ("v1/1.mkv", "v1", 1.0),
        ("v1/2.mkv", "v1", 2.0),
    ]


def test_the_name_of_a_clip_states_its_position(folder: Path) -> None:
    for name in ("talk_1.mp4", "talk_2.mp4"):
        (folder / name).touch()
    table = read(folder, "file,video,label\ntalk_2.mp4,talk,1\ntalk_1.mp4,talk,-1\n")
    assert [item.position for item in table.segments] == [2.0, 1.0]
    table = read(folder, "file,video,position\na.mp4,talk,7\n", LoadOptions())
    assert [item.position for item in table.segments] == [7.0]
    lines = ["file,video,position,start,end", "talk_1.mp4,talk,7,3,4", "talk_1.mp4,talk,,0,1", "talk_2.mp4,talk,,,"]
    table = read(folder, "\n".join(lines), LoadOptions())
    assert [item.position for item in table.segments] == [7.0, 0.0, 2.0]
    table = read(folder, "file,video,clip_id,start\ntalk_1.mp4,talk,5,3\na.mp4,talk,,\n", LoadOptions())
    assert [item.position for item in table.segments][:1] == [5.0]
    assert math.isnan(table.segments[1].position)


def test_all_errors_are_reported_with_their_lines(folder: Path) -> None:
    lines = ["file,start,end,label,split", "a.mp4,0,1,good,train", "c.mp4,0,1,1,train", "a.mp4,3,2,1,train"]
    lines += ["b.mp4,0,-1,1,train", "b.mp4,0,2,1,holdout", ",0,1,1,train", "../x.mp4,,,1,train"]
    with pytest.raises(DataError) as caught:
        read(folder, "\n".join(lines) + "\n")
    message = str(caught.value)
    assert "has 7 errors. Line 2: label must be a number, got 'good'; line 3: " in message
    assert f"line 3: {folder / 'c.mp4'} does not exist" in message
    for part in (
        "line 4: end must be after start (3 s), got 2 s",
        "line 5: end must be a time in seconds, 0 or later, got '-1'",
        "line 6: split must be one of train, valid, test, got 'holdout'",
        "line 7: the file is missing",
        f"line 8: the file must be inside {folder}, got '../x.mp4'",
    ):
        assert part in message
    assert "\n" not in message


def test_more_errors_are_reported_by_their_lines(folder: Path) -> None:
    with pytest.raises(DataError, match=r"has 11 errors.*other errors are in the lines 10, 11, 12\. Correct the table"):
        read(folder, "file,label\n" + "a.mp4,x\n" * 11)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,label\na.mp4,1\n", "must have a column 'file'"),
        ("video,label\na,1\n", "must have a column 'file' with the path of each file"),
        ("file,label\na.mp3,1\n", r"line 2: .*a\.mp3 does not exist \(did you mean a\.mp4\?\)"),
        ("file,label\na.mp4,1\nb.mp4,0\na.mp4,2\n", r"line 4: a\.mp4 is in line 2 already"),
        ("file,label\na.mp4,7\n", r"line 2: The label of sample 'a\.mp4' in train must be within -3\.0 to 3\.0"),
        ("file,label\na.mp4,inf\n", r"line 2: .* must be a finite number"),
        ("file,label\n", "must have at least one label, got only the header"),
        ("file,label\nclip.mp3,1\n", r"line 2: .*clip\.mp3 does not exist\. Correct"),
        ("file,lable\na.mp4,1\n", r"has a column 'lable', which is not used\. Did you mean 'label'\? Rename or remove"),
        ("file,labels,spilt\na.mp4,1,train\n", "has a column 'labels', which is not used"),
        ("file,label,spilt\na.mp4,1,train\n", r"Did you mean 'split'\?"),
    ],
)
def test_a_wrong_table_is_refused(folder: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder, content)


def test_the_task_is_stated_or_implied(folder: Path) -> None:
    assert read(folder, "file,label\na.mp4,-2\nb.mp4,3\n", LoadOptions()).task == MOSI
    assert read(folder, "file,label\na.mp4,-.2\nb.mp4,.3\n", LoadOptions(SIMS)).task == SIMS
    with pytest.raises(UnstatedTaskError, match="fits the task mosi, sims or regression"):
        read(folder, "file,label\na.mp4,-.2\nb.mp4,.3\n", LoadOptions())


def test_the_first_score_outside_the_task_is_named(folder: Path) -> None:
    message = r"fits the task regression\. .* The first score beyond -3 to 3 is 80 in line 3\."
    with pytest.raises(UnstatedTaskError, match=message):
        read(folder, "file,label\na.mp4,1\nb.mp4,80\n", LoadOptions())


def test_labels_may_be_missing(folder: Path) -> None:
    for content in ("file\na.mp4\n", "file,label\na.mp4,\n"):
        table = read(folder, content, LoadOptions())
        assert table.task == NO_TASK
        assert not table.is_labeled


def test_what_is_ignored_or_has_no_label_is_said(folder: Path) -> None:
    table = read(folder, "file,label,Age,model,label_T\na.mp4,nan,3,x,1\nb.mp4,1,4,y,1\n")
    assert table.notes == (
        "2 columns are not used in labels.csv: age, model",
        "1 of 2 segments has no label: it is a.mp4 in line 2",
    )
    assert read(folder, "file,label\na.mp4,\n").notes == (
        "no segment has a label: the column 'label' of labels.csv is empty or nan",
    )
    assert read(folder, "file\na.mp4\n").notes == ("no segment has a label, because labels.csv has no column 'label'",)


def test_emotions_have_a_column_each(folder: Path) -> None:
    options = LoadOptions(EMOTIONS)
    table = read(folder, "file,neutral,happy,sad,angry\na.mp4,0,1,0,0\n", options)
    assert table.segments[0].label == (0.0, 1.0, 0.0, 0.0)
    with pytest.raises(DataError, match="must have a column for each emotion with the task emotions, lacks angry"):
        read(folder, "file,neutral,happy,sad\na.mp4,0,1,0\n", options)
    with pytest.raises(DataError, match=r"line 2: .* must be 0 \(emotion absent\) or 1 \(present\), got 2"):
        read(folder, "file,neutral,happy,sad,angry\na.mp4,0,2,0,0\n", options)


def test_numbers_may_have_a_decimal_comma(folder: Path) -> None:
    (segment,) = read(folder, "file;start;end;label\na.mp4;0,5;2;-1,5\n").segments
    assert (segment.start, segment.label) == (0.5, (-1.5,))


def test_the_folder_must_exist(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file\na.mp4\n")
    with pytest.raises(UsageError, match="FOLDER must be a folder"):
        read_labels(tmp_path / "labels.csv", tmp_path / "nowhere", LoadOptions())


def test_a_text_label_is_the_name_of_a_class(folder: Path) -> None:
    table = read(folder, "file,emotion,split\na.mp4,joy,train\nb.mp4,anger,train\nv1/1.mkv,,val\n", LoadOptions())
    assert table.task == Task("classes", ("anger", "joy"))
    assert [segment.label[0] for segment in table.segments[:2]] == [1.0, 0.0]
    assert math.isnan(table.segments[2].label[0])


def test_the_text_nan_is_no_class_and_a_number_among_names_is_reported(folder: Path) -> None:
    table = read(folder, "file,emotion\na.mp4,joy\nb.mp4,anger\nv1/1.mkv,nan\n", LoadOptions())
    assert table.task == Task("classes", ("anger", "joy"))
    assert math.isnan(table.segments[2].label[0])
    with pytest.raises(DataError, match="'line 4' in train is the number '3', but the other labels are names"):
        read(folder, "file,emotion\na.mp4,joy\nb.mp4,anger\nv1/1.mkv,3\n", LoadOptions())


def test_a_label_that_is_no_class_is_reported_with_its_line(folder: Path) -> None:
    options = LoadOptions(Task("classes", ("anger", "joy")))
    with pytest.raises(DataError, match=r"line 3: emotion must be one of anger, joy, got 'fun'"):
        read(folder, "file,emotion\na.mp4,joy\nb.mp4,fun\n", options)


def test_a_number_is_a_class_only_if_all_labels_are_numbers(folder: Path) -> None:
    options = LoadOptions(Task("classes", ("anger", "joy")))
    table = read(folder, "file,emotion\na.mp4,1\nb.mp4,0\nv1/1.mkv,\n", options)
    assert [segment.label[0] for segment in table.segments[:2]] == [1.0, 0.0]
    with pytest.raises(DataError, match=r"line 3: emotion must be one of anger, joy, got '1'"):
        read(folder, "file,emotion\na.mp4,joy\nb.mp4,1\n", options)
