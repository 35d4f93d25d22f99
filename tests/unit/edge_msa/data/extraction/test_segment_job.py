from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.data.extraction import segment_job
from edge_msa.data.extraction.segment_job import (
    FACTS,
    FileState,
    Job,
    SegmentResult,
    compute_segment,
    hash_file,
)
from edge_msa.data.extraction.settings import Settings, find_versions
from edge_msa.errors import BackendUnavailableError
from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.front_ends import TimedFrames
from tests.unit.edge_msa.data.extraction.stand_ins import NOTE, write_media

BOTH = Settings(("audio", "vision"), recognizer="fake", versions=find_versions(("audio", "vision"), "fake"))


def job(path: Path, start: float = 0.0, end: float | None = None, **others: Any) -> Job:
    recognize = others.pop("recognize", False)
    state: FileState = hash_file(str(path), path.name).value
    return Job(str(path), path.name, start, end, recognize, dataclasses.replace(BOTH, **others), state)


def compute(path: Path, start: float = 0.0, end: float | None = None, **others: Any) -> SegmentResult:
    outcome = compute_segment(job(path, start, end, **others))
    assert outcome.reason == ""
    return SegmentResult.from_bytes(outcome.value)


@pytest.mark.usefixtures("fakes")
def test_a_whole_file_becomes_frames(tmp_path: Path) -> None:
    result = compute(write_media(tmp_path / "a.mp4", seconds=2, notes=[NOTE]))
    assert {name: frames.shape for name, frames in result.frames.items()} == {"audio": (20, 2), "vision": (20, 3)}
    assert all(mask.all() for mask in result.valid.values())
    assert result.text is None
    assert (result.seconds, result.facts, result.notes) == (2.0, (), (NOTE,))


@pytest.mark.usefixtures("fakes")
def test_a_part_of_a_file_starts_at_zero(tmp_path: Path) -> None:
    result = compute(write_media(tmp_path / "a.mp4", seconds=9), 3.0, 5.0)
    assert len(result.frames["vision"]) == 20
    assert result.frames["vision"][0, 0] == 0
    assert result.facts == ()


@pytest.mark.usefixtures("fakes")
def test_pictures_without_a_face_are_masked(tmp_path: Path) -> None:
    result = compute(write_media(tmp_path / "a.mp4", face=False))
    assert not result.valid["vision"].any()
    assert not result.frames["vision"].any()
    assert result.facts == ("no face",)


@pytest.mark.parametrize(
    ("content", "modalities", "facts"),
    [
        ({"level": None}, {"vision"}, ("no sound",)),
        ({"level": 0.0}, {"audio", "vision"}, ("silent",)),
        ({"level": 0.05}, {"audio", "vision"}, ("no voice",)),
        ({"face": None}, {"audio"}, ("no pictures",)),
        ({"seconds": 3, "duration": 3}, {"audio", "vision"}, ("truncated",)),
        ({"seconds": 3, "duration": None}, {"audio", "vision"}, ("truncated",)),
        ({"seconds": 1, "duration": None}, {"audio", "vision"}, ()),
    ],
)
@pytest.mark.usefixtures("fakes")
def test_what_is_special_is_stated(
    tmp_path: Path, content: dict[str, Any], modalities: set[str], facts: tuple[str, ...]
) -> None:
    result = compute(write_media(tmp_path / "a.mp4", **content), max_seconds=2.0)
    assert set(result.frames) == modalities
    assert result.facts == facts
    assert all(name in FACTS for name in facts)


@pytest.mark.usefixtures("fakes")
def test_long_segments_end_at_the_limit(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", seconds=9)
    assert len(compute(path, max_seconds=2.0).frames["audio"]) == 20
    result = compute(path, 1.0, 8.0, max_seconds=2.0)
    assert (len(result.frames["audio"]), result.facts) == (20, ("truncated",))
    assert compute(path, 1.0, 3.0, max_seconds=2.0).facts == ()


@pytest.mark.usefixtures("fakes")
def test_a_segment_that_ends_after_its_file_is_stated(tmp_path: Path) -> None:
    assert compute(write_media(tmp_path / "a.mp4", seconds=3), 1.0, 8.0).facts == ("short",)


@pytest.mark.usefixtures("fakes")
def test_a_gap_is_masked_and_words_keep_their_times(tmp_path: Path) -> None:
    result = compute(write_media(tmp_path / "a.mp4", seconds=2, gap=(0.5, 1.0)), recognize=True)
    for name in ("audio", "vision"):
        assert np.flatnonzero(~result.valid[name]).tolist() == [5, 6, 7, 8, 9]
    assert result.text == "2 seconds"


@pytest.mark.usefixtures("fakes")
def test_silence_has_no_words(tmp_path: Path) -> None:
    assert compute(write_media(tmp_path / "a.mp4", level=0.0), recognize=True).text == ""
    assert compute(write_media(tmp_path / "b.mp4", level=None), recognize=True).text == ""


@pytest.mark.usefixtures("fakes")
def test_files_that_cannot_be_used_have_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_text("no video")
    assert compute_segment(job(path)).reason == "a.mp4 is not audio or video. Choose another file."
    write_media(path, crash=True)
    assert compute_segment(job(path)).reason == "a.mp4 cannot be processed (ValueError: deep inside)."


@pytest.mark.usefixtures("fakes")
def test_a_file_that_changed_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "a.mp4", level=0.5)
    before = job(path)
    reason = "a.mp4 changed while it was read. Run the same command again when nothing writes to the file."
    write_media(path, level=0.6)
    assert compute_segment(before).reason == reason
    original = segment_job._compute

    def change(item: Job, tools: segment_job.Tools) -> SegmentResult:
        result = original(item, tools)
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        write_media(path, level=0.7)  # the same size and time of change
        os.utime(path, ns=times)
        return result

    monkeypatch.setattr(segment_job, "_compute", change)
    assert compute_segment(job(path)).reason == reason
    path.unlink()
    assert compute_segment(before).reason == "a.mp4 cannot be read (No such file or directory)."


@pytest.mark.usefixtures("fakes")
def test_a_copy_of_the_same_content_is_no_change(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4")
    before = job(path)
    path.unlink()
    write_media(path)
    assert compute_segment(before).reason == ""


def test_a_file_that_changes_while_it_is_hashed_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    def write(path: Path) -> str:
        path.write_bytes(b"abcd")
        return ""

    monkeypatch.setattr(segment_job, "digest_file", write)
    assert hash_file(str(tmp_path / "a"), "a").reason.startswith("a changed while it was read.")


@pytest.mark.usefixtures("fakes")
def test_a_failed_file_does_not_affect_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_media(tmp_path / "a.mp4")
    expected = compute(path).to_bytes()
    tools = segment_job.open_tools(BOTH)
    finished: list[str] = []
    for front_end in tools.front_ends.values():
        finish = front_end.finish

        def count(finish: Any = finish, name: str = front_end.modality) -> TimedFrames:
            finished.append(name)
            result: TimedFrames = finish()
            return result

        monkeypatch.setattr(front_end, "finish", count)
    assert compute_segment(job(write_media(tmp_path / "b.mp4", crash=True))).reason
    assert finished == ["audio", "vision"]
    assert compute(path).to_bytes() == expected


@pytest.mark.usefixtures("fakes")
def test_a_missing_package_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Settings) -> None:
        raise PackageImportError("Cannot import av", "av", "av")

    monkeypatch.setattr(segment_job, "_open_tools", fail)
    with pytest.raises(BackendUnavailableError, match="Run: pip install av") as caught:
        compute_segment(job(write_media(tmp_path / "a.mp4")))
    assert type(caught.value) is BackendUnavailableError  # others cannot be sent to another process


@pytest.mark.usefixtures("fakes")
def test_another_version_stops_the_work(tmp_path: Path) -> None:
    versions = (("numpy", "0.1"),)
    with pytest.raises(BackendUnavailableError, match=r"All workers must have numpy 0\.1, .* got \d"):
        compute_segment(job(write_media(tmp_path / "a.mp4"), versions=versions))


def test_files_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_file(str(tmp_path / "a"), "a").value.content == digest
    assert hash_file(str(tmp_path / "b"), "b").reason == "b cannot be read (No such file or directory)."
