from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import edge_msa as em

PROGRAM = shutil.which("ffmpeg") or ""
FFMPEG = pytest.mark.skipif(not PROGRAM, reason="ffmpeg is not on the PATH")


def write_table(folder: Path, text: str) -> Path:
    table = folder / "labels.csv"
    table.write_text(text, encoding="utf-8")
    return table


def write_clip(path: Path, *, frequency: int = 440, sound: bool = True, picture: bool = True) -> None:
    tone = ["-f", "lavfi", "-i", f"sine=frequency={frequency}:duration=1"] if sound else []
    source = ["-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=10"] if picture else []
    subprocess.run([PROGRAM, "-v", "error", *tone, *source, str(path)], check=True, stdin=subprocess.DEVNULL)


@pytest.mark.slow
@FFMPEG
def test_a_folder_of_clips_becomes_an_archive(load_example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    example = load_example("video_folder.py")
    write_clip(tmp_path / "high.mp4", frequency=2000)
    write_clip(tmp_path / "low.mkv", frequency=200)
    write_clip(tmp_path / "sound.wav", picture=False)
    lines = "high.mp4,2,train,so good\nlow.mkv,-1.5,valid,\nsound.wav,0,test,so so\n"
    table = write_table(tmp_path, f"file,label,split,text\n{lines}")
    for _ in range(2):  # the second run replaces the archive
        example.main(tmp_path, table, output=tmp_path / "clips.npz")
    with np.load(tmp_path / "clips.npz") as data:
        assert [str(item) for name in ("train", "valid", "test") for item in data[f"{name}/ids"]] == [
            "high.mp4",
            "low.mkv",
            "sound.wav",
        ]
    high, low, sound = (example.extract(tmp_path / name) for name in ("high.mp4", "low.mkv", "sound.wav"))
    assert high["audio"].shape[1] == 40
    assert high["vision"].shape == (5, 32)
    assert set(sound) == {"audio"}
    assert high["audio"].mean(0).argmax() > low["audio"].mean(0).argmax() + 5
    inspection = str(em.inspect_data(tmp_path / "clips.npz"))
    assert "video_folder.py log-mel 1, 25 Hz" in inspection


@pytest.mark.slow
@FFMPEG
def test_without_splits_the_clips_of_a_video_stay_together(
    load_example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    write_clip(tmp_path / "clip.mp4")
    rows = [f"{number}.mp4,{number % 3},video-{number // 2}" for number in range(8)]
    for number in range(8):
        shutil.copy(tmp_path / "clip.mp4", tmp_path / f"{number}.mp4")
    table = write_table(tmp_path, "\n".join(["file,label,video", *rows]))
    load_example("video_folder.py").main(tmp_path, table, output=tmp_path / "clips.npz")
    with np.load(tmp_path / "clips.npz") as data:
        videos = [{int(str(item)[0]) // 2 for item in data[f"{name}/ids"]} for name in ("train", "valid", "test")]
    assert all(videos)
    assert sum(map(len, videos)) == 4


@FFMPEG
@pytest.mark.parametrize(
    ("kind", "present"),
    [("wav", ("audio",)), ("silent mp4", ("vision",)), ("mixed", ("audio", "vision"))],
)
def test_a_folder_without_sound_or_without_pictures_becomes_an_archive(
    load_example: Callable[[str], ModuleType], tmp_path: Path, kind: str, present: tuple[str, ...]
) -> None:
    names = ["clip.wav", "clip.mp4"] if kind == "mixed" else [f"clip.{kind[-3:]}"]
    for name in names:
        write_clip(tmp_path / name, sound=name.endswith("wav"), picture=name.endswith("mp4"))
    lines = [f"{names[row % len(names)]},{row % 3},{split}" for row, split in enumerate(("train", "valid", "test"))]
    table = write_table(tmp_path, "\n".join(["file,label,split", *lines]))
    load_example("video_folder.py").main(tmp_path, table, output=tmp_path / "clips.npz")
    inspection = em.inspect_data(tmp_path / "clips.npz")
    assert tuple(inspection.dims) == present
    assert all(source.extractor.startswith("video_folder.py") for source in inspection.features.values())


@FFMPEG
def test_clips_that_cannot_be_decoded_are_named_with_their_lines(
    load_example: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    write_clip(tmp_path / "good.wav", picture=False)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_text("no video")
    table = write_table(tmp_path, "file,label\ngood.wav,1\na.mp4,1\nb.mp4,1\n")
    example = load_example("video_folder.py")
    with pytest.raises(example.ClipError, match=r"line 3: ffprobe cannot decode .*a\.mp4: .* these lines: 4\. "):
        example.main(tmp_path, table, output=tmp_path / "clips.npz")
    assert not (tmp_path / "clips.npz").exists()
    with pytest.raises(example.ClipError, match=r"^ffprobe cannot decode .*a\.mp4: "):
        example.extract(tmp_path / "a.mp4")


@FFMPEG
@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        ("name,label\na.mp4,1\n", "mosi", "must have the columns file and label, got name, label."),
        ("file,label\n", "mosi", "must have a line per clip, got none."),
        ("file,label\na.mp4,good\n", "mosi", "line 2: label must be a number, got 'good'."),
        ("file,label\na.mp4\n", "mosi", "line 2: label must be a number, got None."),
        ("file,label\nb.mp4,1\n", "mosi", "b.mp4 does not exist."),
        ("file,label,split\na.mp4,1,dev\n", "mosi", "line 2: split must be train, valid or test in every line"),
        ("file,label,split\na.mp4,1,train\n", "mosi", "no line has the split valid, which training needs."),
        (
            "file,label,video\na.mp4,1,v\nb.wav,1,v\n",
            "mosi",
            "must be from at least 3 videos, one per split, got 1. Add a column `split` with train, valid or test",
        ),
        ("file,label,split\na.mp4,7,train\nb.wav,1,valid\n", "mosi", "'a.mp4' in train must be within -3.0 to 3.0"),
        ("file,label,split\na.mp4,1,train\nb.wav,2,valid\n", "sims", "'b.wav' in valid must be within -1.0 to 1.0"),
        ("file,label,split\na.mp4,nan,train\nb.wav,inf,valid\n", "regression", "must be a finite number"),
        ("file,label,split\na.mp4,1,train\nb.wav,1,valid\n", "classification", "Unknown task 'classification'."),
    ],
)
def test_an_error_in_the_table_is_reported_before_a_clip_is_decoded(
    load_example: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    task: str,
    message: str,
) -> None:
    for name in ("a.mp4", *(["b.wav"] if "b.wav" in text else [])):
        (tmp_path / name).touch()
    example = load_example("video_folder.py")
    monkeypatch.setattr(example, "extract", lambda path: pytest.fail(f"{path} was decoded"))
    with pytest.raises((example.ClipError, em.EdgeMsaError), match=re.escape(message)):
        example.main(tmp_path, write_table(tmp_path, text), output=tmp_path / "clips.npz", task=task)


def test_the_command_turns_an_error_into_one_line(
    load_example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = load_example("video_folder.py")
    monkeypatch.setattr("sys.argv", ["video_folder.py", str(tmp_path), str(tmp_path / "none.csv")])
    monkeypatch.setattr(example, "check_program", lambda _: None)
    with pytest.raises(SystemExit, match=r"^error: The table of labels must be a CSV file, got .*none\.csv\.$"):
        example.command()


def test_without_ffmpeg_the_error_says_how_to_install_it(
    load_example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    example = load_example("video_folder.py")
    with pytest.raises(example.ClipError, match=r"^ffprobe must be on the PATH\. Install ffmpeg, for example: sudo"):
        example.extract("clip.mp4")


def test_silence_and_a_still_picture(load_example: Callable[[str], ModuleType]) -> None:
    example = load_example("video_folder.py")
    audio = example.audio_frames(np.zeros(16_000 + 100))
    assert audio.shape == (25, 40)
    assert np.ptp(audio) == 0
    pictures = np.zeros((3, 32, 32))
    pictures[2, :8, 8:16] = 1
    vision = example.vision_frames(pictures)
    assert vision.shape == (3, 32)
    assert np.flatnonzero(vision[2]).tolist() == [1, 17]  # brightness and motion of the second cell
    assert not vision[:2].any()
