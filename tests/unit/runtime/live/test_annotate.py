from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import PackageImportError, UsageError
from edge_msa_runtime.live.annotate import Painter, check_annotated, write_annotated
from edge_msa_runtime.live.history import History
from edge_msa_runtime.text.words import Word
from tests.media_files import tone, write_media
from tests.unit.runtime.live.histories import HEADER, make_history

av: Any = pytest.importorskip("av")
pytest.importorskip("PIL")


def write_video(path: Path, *, codec: str = "aac", size: tuple[int, int] = (96, 64)) -> None:
    """Write a second of gray video at 10 Hz, with a tone if there is a codec for it."""
    pictures = [np.full((size[1], size[0], 3), 128, "u1")] * 10
    write_media(path, sound=tone(1.0) if codec else None, codec=codec or "aac", pictures=pictures, picture_rate=10)


def read_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def read_pictures(path: Path) -> list[tuple[float, Any]]:
    with av.open(str(path)) as container:
        return [(float(frame.time), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_the_picture_is_drawn_into_and_the_sound_is_copied(tmp_path: Path) -> None:
    write_video(tmp_path / "talk.mp4")
    write_annotated(tmp_path / "talk.mp4", tmp_path / "new" / "out.mp4", make_history(2), HEADER)
    assert read_packets(tmp_path / "new" / "out.mp4") == read_packets(tmp_path / "talk.mp4")
    before, after = read_pictures(tmp_path / "talk.mp4"), read_pictures(tmp_path / "new" / "out.mp4")
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=1e-3)
    difference = np.abs(after[8][1].astype(int) - before[8][1]).mean(axis=(1, 2))
    assert difference[:20].max() < 10
    assert difference[-10:].max() > 50
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.mp4"]


def test_sound_that_the_container_cannot_hold_is_encoded(tmp_path: Path) -> None:
    write_video(tmp_path / "talk.avi", codec="adpcm_ms")
    write_annotated(tmp_path / "talk.avi", tmp_path / "out.mp4", make_history(2), HEADER)
    with av.open(str(tmp_path / "out.mp4")) as container:
        (stream,) = container.streams.audio
        assert stream.codec_context.name == "aac"
        assert sum(frame.samples for frame in container.decode(stream)) / stream.rate == pytest.approx(1.0, abs=0.1)


def test_a_video_without_sound_stays_without(tmp_path: Path) -> None:
    write_video(tmp_path / "talk.mp4", codec="", size=(34, 62))
    write_annotated(tmp_path / "talk.mp4", tmp_path / "out.mp4", History(), HEADER)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "talk.mp4", codec="")
    (tmp_path / "out.mp4").write_bytes(b"old")
    monkeypatch.setattr(Painter, "paint", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_annotated(tmp_path / "talk.mp4", tmp_path / "out.mp4", History(), HEADER)
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_drawn_belongs_to_the_time() -> None:
    painter = Painter(make_history(), HEADER)
    assert painter.moment(0.2) is None
    assert (painter.moment(3.2) or make_history().moments[0]).time == 3.0
    assert painter.words(2.0) == "i love this film and the"
    assert painter.words(6.1) == "a"
    pixels = np.zeros((40, 61, 3), "u1")
    assert painter.paint(pixels, 3.0).shape == (40, 60, 3)


def test_other_containers_are_refused() -> None:
    with pytest.raises(UsageError, match="--annotate must be a file that ends in"):
        check_annotated(Path("out.avi"))


def test_a_missing_pillow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.ImageDraw", None)
    with pytest.raises(PackageImportError, match=r"pip install 'pillow>=10\.1'"):
        check_annotated(Path("out.mp4"))


def test_the_module_imports_no_package() -> None:
    code = "import sys, edge_msa_runtime.live.annotate; sys.exit('av' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_words_of_a_long_talk_are_found_quickly() -> None:
    history = History()
    history.words = [Word(str(index), index * 0.4, index * 0.4 + 0.3) for index in range(30_000)]
    painter = Painter(history, HEADER)
    assert painter.words(8000.0).split() == [str(index) for index in range(19_985, 20_001)]
    started = time.perf_counter()
    for _ in range(1000):
        painter.words(8000.0)
    assert time.perf_counter() - started < 1
