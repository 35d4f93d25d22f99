from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_msa as em
from edge_msa.cli import run
from edge_msa.data.extraction import segment_job
from edge_msa.data.extraction.settings import Settings
from edge_msa.data.opening import open_dataset
from edge_msa_runtime.errors import PackageImportError
from tests.unit.edge_msa.data.extraction import stand_ins
from tests.unit.edge_msa.data.extraction.stand_ins import write_media

CLIPS = 12


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_ins.install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for clip in range(CLIPS):
        write_media(Path("videos", f"{clip}.mp4"), seconds=1 + clip % 3, level=0.1 + clip / 20)
    write_table()


def write_table(labels: Callable[[int], object] = lambda clip: clip % 7 - 3, *, names: str = "{}.mp4") -> None:
    rows = [f"{names.format(clip)},{labels(clip)},clip number {clip},video{clip // 2}" for clip in range(CLIPS)]
    Path("labels.csv").write_text("\n".join(["file,label,text,video", *rows]) + "\n")


def extract(**others: Any) -> em.Extraction:
    return em.extract_features(
        "videos", **{"labels": "labels.csv", "output": "clips.npz", "draw_splits": True, **others}
    )


def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of each file that is decoded from now on."""
    names: list[str] = []
    original = segment_job._compute

    def count(job: segment_job.Job, tools: segment_job.Tools) -> segment_job.SegmentResult:
        names.append(job.name)
        return original(job, tools)

    monkeypatch.setattr(segment_job, "_compute", count)
    return names


def test_files_become_an_archive() -> None:
    extraction = extract()
    assert extraction.failed == ()
    assert extraction.counts == {"language": 12, "audio": 12, "vision": 12}
    dataset = open_dataset("clips.npz")
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 8, "valid": 2, "test": 2}
    assert dataset.features["audio"].extractor == "fake audio"
    assert dataset.features["vision"].rate_hz == 10
    assert dataset.task.kind == "mosi"
    train = dataset.splits["train"]
    assert train.texts[0].startswith("clip number")
    assert all(name.startswith("video") for name in train.groups)
    assert extraction.rows[0] == {
        "id": "0.mp4",
        "line": 2,
        "split": extraction.rows[0]["split"],
        "seconds": 1.0,
        "audio_frames": 10,
        "audio_valid": 10,
        "vision_frames": 10,
        "vision_valid": 10,
        "words": 3,
        "recognized": False,
        "facts": "",
    }
    assert repr(extraction) == "<Extraction of 12 samples, 0 failed, clips.npz>"
    assert em.inspect_data(extraction).dims == {"audio": 2, "vision": 3}


def test_the_same_call_again_does_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first, content = extract(), Path("clips.npz").read_bytes()
    names = computed(monkeypatch)
    again = extract(verbose=True)
    assert "Skipped: clips.npz is up to date." in capsys.readouterr().out
    assert names == []
    assert again.rows == first.rows
    assert Path("clips.npz").read_bytes() == content


def test_an_interrupted_call_resumes(monkeypatch: pytest.MonkeyPatch) -> None:
    extract(output="whole.npz")

    def interrupt(progress: em.Progress) -> None:
        if progress.step == "segments computed" and progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(output="parts.npz", on_progress=interrupt)
    assert not Path("parts.npz").exists()
    names = computed(monkeypatch)
    extraction = extract(output="parts.npz")
    assert len(names) == CLIPS - 5
    assert extraction.reused == 5
    whole, parts = open_dataset("whole.npz"), open_dataset("parts.npz")
    for name, split in whole.splits.items():
        assert split.ids == parts.splits[name].ids
        for modality, frames in split.modalities.items():
            assert np.array_equal(frames.take(), parts.splits[name].modalities[modality].take())


def test_only_changed_files_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    extract()
    write_media(Path("videos/3.mp4"), seconds=2, level=0.9)
    Path("videos/5.mp4").touch()  # another time of change, the same content
    names = computed(monkeypatch)
    extraction = extract()
    assert names == ["3.mp4"]
    assert extraction.reused == CLIPS - 1


def test_a_changed_front_end_computes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    extract()
    monkeypatch.setitem(stand_ins.VERSION, "audio", "2")
    monkeypatch.setattr(segment_job._kept, "settings", None)
    names = computed(monkeypatch)
    extract()
    assert len(names) == CLIPS
    assert open_dataset("clips.npz").features["audio"].version == "2"


def test_copies_of_a_file_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for clip in range(CLIPS):
        write_media(Path("videos", f"{clip}.mp4"), seconds=1)
    names = computed(monkeypatch)
    assert len(extract().rows) == CLIPS
    assert len(names) == 1


def test_another_request_needs_overwrite() -> None:
    extract()
    content = Path("clips.npz").read_bytes()
    with pytest.raises(em.RunUsageError, match=r"another request .* picture_rate 15\.0 -> 5\.0.*overwrite"):
        extract(picture_rate=5.0)
    write_table(lambda clip: -(clip % 7 - 3))
    with pytest.raises(em.RunUsageError, match="labels"):
        extract()
    assert Path("clips.npz").read_bytes() == content
    extract(overwrite=True)
    assert Path("clips.npz").read_bytes() != content


def test_a_file_of_something_else_needs_overwrite() -> None:
    Path("clips.npz").write_bytes(b"precious")
    with pytest.raises(em.UsageError, match="exists"):
        extract()
    assert run(["features", "extract", "videos", "--labels", "labels.csv", "--draw-splits", "--output", "clips.npz"])
    assert Path("clips.npz").read_bytes() == b"precious"
    extract(overwrite=True)
    Path("clips.npz").write_bytes(b"precious")  # also after an extraction
    with pytest.raises(em.UsageError, match="exists"):
        extract()


def test_files_that_fail_are_listed_and_the_others_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("videos/4.mp4").write_text("no video")
    write_media(Path("videos/7.mp4"), crash=True)
    arguments = ["features", "extract", "videos", "--labels", "labels.csv", "--draw-splits", "--output", "clips.npz"]
    assert run([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["samples"] == 10
    assert [(item["id"], item["line"]) for item in result["failed"]] == [("4.mp4", 6), ("7.mp4", 9)]
    assert "line 6, 4.mp4: 4.mp4 is not audio or video. Choose another file." in err
    assert "line 9, 7.mp4: 7.mp4 cannot be processed (ValueError: deep inside)." in err
    assert "edge-msa: 2 of 12 segments are not in clips.npz. Replace their files" in err
    assert "2 of 12 segments are left out (" in " ".join(open_dataset("clips.npz").notes)
    write_media(Path("videos/4.mp4"))
    names = computed(monkeypatch)
    assert run(arguments) == 1
    assert names == ["4.mp4", "7.mp4"]
    Path("labels.csv").write_text("".join(Path("labels.csv").read_text().splitlines(keepends=True)[:8]))
    assert run([*arguments, "--overwrite"]) == 0


def test_a_file_that_changes_between_hash_and_result_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = segment_job._compute

    def change(job: segment_job.Job, tools: segment_job.Tools) -> segment_job.SegmentResult:
        if job.name == "4.mp4":
            write_media(Path(job.path), seconds=9)
        return original(job, tools)

    with monkeypatch.context() as patch:
        patch.setattr(segment_job, "_compute", change)
        extraction = extract()
    assert [(item.id, item.reason.partition(".")[0]) for item in extraction.failed] == [("4.mp4", "4")]
    assert extraction.failed[0].reason.startswith("4.mp4 changed while it was read.")
    names = computed(monkeypatch)
    assert extract().failed == ()
    assert names == ["4.mp4"]


def test_the_face_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    extract()
    with pytest.raises(em.RunUsageError, match=r"another request .* face none -> \[0\.2, 0\.5\]"):
        extract(face=(0.2, 0.5))
    chosen: list[Any] = []

    def open_tools(settings: Settings) -> segment_job.Tools:
        chosen.append(settings.face)
        return stand_ins.open_fakes(settings)

    monkeypatch.setattr(segment_job, "_open_tools", open_tools)
    monkeypatch.setattr(segment_job._kept, "settings", None)
    names = computed(monkeypatch)
    arguments = ["features", "extract", "videos", "--labels", "labels.csv", "--draw-splits", "--output", "clips.npz"]
    assert run([*arguments, "--face", "0.2,0.5", "--overwrite"]) == 0
    assert (chosen, len(names)) == ([(0.2, 0.5)], CLIPS)
    assert run([*arguments, "--face", "0.2,5"]) == 2


def test_a_dry_run_writes_nothing_and_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "features",
        "extract",
        "videos",
        "--labels",
        "labels.csv",
        "--draw-splits",
        "--output",
        "new/clips.npz",
    ]

    def states() -> list[str]:
        capsys.readouterr()
        assert run([*arguments, "--dry-run", "--json"]) == 0
        return [step["state"] for step in json.loads(capsys.readouterr().out.splitlines()[-1])["steps"]]

    before = sorted(Path().rglob("*"))
    assert states() == ["runs"]
    assert sorted(Path().rglob("*")) == before
    extract(output="new/clips.npz")
    assert states() == ["cached"]
    write_media(Path("videos/3.mp4"), seconds=2, level=0.9)
    assert states() == ["resumes"]


def test_a_split_without_a_usable_file_is_named() -> None:
    Path("labels.csv").write_text("file,split\n0.mp4,train\n1.mp4,valid\n2.mp4,train\n")
    Path("videos/1.mp4").write_text("no video")
    extract(draw_splits=False)
    notes = open_dataset("clips.npz", labels=False).notes
    assert "1 of 3 segments is left out (valid 1): the files are not usable" in notes
    assert "the split valid is empty: none of its files is usable. Move segments to it" in notes


def test_nothing_usable_is_an_error() -> None:
    for clip in range(CLIPS):
        Path("videos", f"{clip}.mp4").write_text("no video")
    with pytest.raises(em.DataError, match=r"None of 12 segments can be used\. The first: 0\.mp4 is not audio"):
        extract()
    assert not Path("clips.npz").exists()


def test_errors_of_the_table_come_before_the_first_file(monkeypatch: pytest.MonkeyPatch) -> None:
    names = computed(monkeypatch)
    write_table(lambda clip: "bad" if clip > 9 else clip % 3)
    with pytest.raises(em.DataError, match=r"has 2 errors\. Line 12: label must be a number, got 'bad'; line 13"):
        extract()
    assert names == []


def test_labels_need_splits_or_a_draw() -> None:
    with pytest.raises(em.UsageError, match=r"has labels, but no column `split`\. Pass draw_splits=True to draw"):
        extract(draw_splits=False)
    Path("labels.csv").write_text("file\n0.mp4\n1.mp4\n")
    extract(draw_splits=False)
    assert list(open_dataset("clips.npz", labels=False).splits) == ["train"]


def test_missing_words_are_recognized() -> None:
    Path("labels.csv").write_text("file,text,split\n0.mp4,given,train\n1.mp4,,train\n2.mp4,,train\n")
    Path("words.csv").write_text("file,text\n2.mp4,from the table\n")
    extraction = extract(asr="whisper:fake", transcripts="words.csv", draw_splits=False)
    dataset = open_dataset("clips.npz", labels=False)
    assert dataset.splits["train"].texts == ("given", "2 seconds", "from the table")
    assert str(extraction).splitlines()[0] == "3 samples: train 3; with texts 3; with frames of audio 3, vision 3"
    with pytest.raises(
        em.UsageError, match=r"transcripts must be a table \(CSV\), got nope\.csv, which does not exist"
    ):
        extract(transcripts="nope.csv", output="other.npz")
    assert [row["recognized"] for row in extraction.rows] == [False, True, False]
    assert "the words of 1 sample were recognized by whisper:fake" in dataset.notes


def test_another_recognizer_under_the_same_name_recognizes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("labels.csv").write_text("file,text,split\n0.mp4,given,train\n1.mp4,,train\n")
    extract(asr="whisper:fake", draw_splits=False)
    names = computed(monkeypatch)
    monkeypatch.setitem(stand_ins.VERSION, "recognizer", "2")
    monkeypatch.setattr(segment_job._kept, "settings", None)
    extract(asr="whisper:fake", draw_splits=False, overwrite=True)
    assert names == ["1.mp4"]


def test_what_is_special_is_counted_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    for clip in (1, 2):
        write_media(Path("videos", f"{clip}.mp4"), face=False)
    write_media(Path("videos/3.mp4"), level=None)
    write_media(Path("videos/4.mp4"), level=None, face=False)
    write_media(Path("videos/extra.mp4"))
    extraction = extract(verbose=True)
    assert extraction.facts == {"no sound": 2, "no face": 3}
    assert extraction.counts == {"language": 12, "audio": 10, "vision": 9}
    assert extraction.unnamed == ("extra.mp4",)
    out, err = capsys.readouterr()
    assert "3 samples without a face: 1.mp4, 2.mp4, 4.mp4" in out
    assert "2 samples without sound: 3.mp4, 4.mp4" in out
    assert "1 sample without a valid frame: 4.mp4" in out
    assert "1 file is not in labels.csv: extra.mp4" in err


def test_long_segments_are_truncated_with_a_note() -> None:
    extraction = extract(max_seconds=1.5)
    assert extraction.facts == {"truncated": 8}
    assert "8 of 12 segments are longer than 1.5 s and end there" in open_dataset("clips.npz").notes


def test_one_modality_can_be_computed() -> None:
    extract(modalities=["audio"])
    assert open_dataset("clips.npz").dims == {"audio": 2}


def test_a_missing_package_names_its_fix_and_the_way_around(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: Settings) -> segment_job.Tools:
        if "vision" in settings.modalities:
            raise PackageImportError("Cannot import ai_edge_litert", "'edge-msa-runtime[vision]'", "ai_edge_litert")
        return stand_ins.open_fakes(settings)

    monkeypatch.setattr(segment_job, "_open_tools", fail)
    with pytest.raises(em.BackendUnavailableError, match=r"pip install 'edge-msa-runtime\[vision\]', or .*audio"):
        extract()
    extract(modalities=["audio"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modalities": ["audio", "sound"]}, "modalities must be one of audio, vision, got 'sound'"),
        ({"modalities": []}, "modalities must be audio, vision or both"),
        ({"picture_rate": 0}, "picture_rate must be a number above 0, got 0"),
        ({"max_seconds": float("inf")}, "max_seconds must be a number above 0, got inf"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:1"}, "workers and scheduler exclude each other"),
        ({"output": "clips.csv"}, "must end in .npz"),
        ({"labels": "nothing.csv"}, "nothing.csv"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(em.UsageError, match=message):
        extract(**arguments)
