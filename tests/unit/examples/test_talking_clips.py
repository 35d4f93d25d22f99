from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edge_msa_runtime.live.transcript_files import read_transcript
from edge_msa_runtime.media.files import open_media

pytestmark = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")


@pytest.mark.slow
def test_clips_and_a_talk_have_sound_pictures_and_labels(
    load_example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clips"
    monkeypatch.setattr(sys, "argv", ["talking_clips.py", str(folder), "--clips", "2"])
    load_example("talking_clips.py").main()
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["clip000.mp4", "clip001.mp4"]
    assert all(-3 <= float(row["label"]) <= 3 and row["text"] for row in rows)
    for path in [*(folder / "videos").iterdir(), folder / "talk.mp4"]:
        with open_media(path) as media:
            assert media.has_sound
            assert media.has_pictures
    with (folder / "talk.csv").open(newline="") as file:
        parts = list(csv.DictReader(file))
    words = read_transcript(folder / "talk.srt")
    assert [word.text for word in words] == " ".join(part["text"] for part in parts).split()


def test_the_label_is_in_words_voice_and_face(load_example: Callable[[str], ModuleType]) -> None:
    example, rng = load_example("talking_clips.py"), np.random.default_rng(0)
    parts = {label: [example.draw_part(label, rng) for _ in range(200)] for label in (-2.0, 2.0)}
    good, pitch, smile = (
        {label: np.mean([value(part) for part in drawn]) for label, drawn in parts.items()}
        for value in (
            lambda part: any(thing in part.text for thing in example.GOOD_THINGS),
            lambda part: part.pitch,
            lambda part: part.smile,
        )
    )
    assert good[2.0] > good[-2.0] + 0.3
    assert pitch[2.0] > pitch[-2.0] + 30
    assert smile[2.0] > smile[-2.0] + 0.4


def test_another_folder_is_not_replaced(
    load_example: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.txt").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["talking_clips.py", str(tmp_path)])
    with pytest.raises(SystemExit, match="was not made by this program"):
        load_example("talking_clips.py").main()
    assert (tmp_path / "own.txt").read_text() == "mine"
