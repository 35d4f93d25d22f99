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


def write_clip(path: Path, *, frequency: int = 440, picture: bool = True) -> None:
    sound = ["-f", "lavfi", "-i", f"sine=frequency={frequency}:duration=1"]
    source = ["-f", "lavfi", "-i", "testsrc=duration=1:size=64x48:rate=10"] if picture else []
    subprocess.run([PROGRAM, "-v", "error", *sound, *source, str(path)], check=True, stdin=subprocess.DEVNULL)


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


@pytest.mark.slow
@FFMPEG
def test_a_file_that_is_no_video_is_named(load_example: Callable[[str], ModuleType], tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    table = write_table(tmp_path, "file,label\na.mp4,1\n")
    with pytest.raises(SystemExit, match=r"cannot decode the clip: .*a\.mp4"):
        load_example("video_folder.py").main(tmp_path, table, output=tmp_path / "clips.npz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.mp4,1\n", "must have the columns file and label, found ['name', 'label']: no file."),
        ("file,label\na.mp4,good\n", "line 2: label must be a number, got 'good'."),
        ("file,label\nb.mp4,1\n", "b.mp4 does not exist."),
        ("file,label,split\na.mp4,1,dev\n", "split must be train, valid or test in every line, got {'dev'}."),
    ],
)
def test_an_error_in_the_table_is_one_line(
    load_example: Callable[[str], ModuleType], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(SystemExit, match=re.escape(message)):
        load_example("video_folder.py").main(tmp_path, write_table(tmp_path, text), output=tmp_path / "clips.npz")


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
