from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from edge_msa_runtime.errors import DataError, MediaError, PackageImportError, UsageError
from edge_msa_runtime.live import annotate
from edge_msa_runtime.live.annotate import Painter, check_annotated, fit_picture, write_annotated
from edge_msa_runtime.live.colors import label_rgb
from edge_msa_runtime.live.history import History
from edge_msa_runtime.media.files import open_media
from edge_msa_runtime.media.signals import Picture
from edge_msa_runtime.text.words import Word
from tests.media_files import tone, write_media
from tests.unit.runtime.live.histories import HEADER, make_history
from tests.unit.runtime.replay.made_predictions import make

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


def test_classes_are_bars_in_their_colors() -> None:
    history = History()
    history.on_prediction(make(1.0, None, label="joy", probabilities={"joy": 0.75, "calm": 0.25}))
    task = {"kind": "classes", "labels": ["joy", "calm"], "low": None, "high": None}
    picture = Painter(history, {**HEADER, "task": task}).paint(np.zeros((240, 640, 3), "u1"), 1.0)
    joy, calm = ((picture == label_rgb(number)).all(axis=2).sum() for number in (0, 1))
    assert joy == pytest.approx(3 * calm, rel=0.1)


def test_other_containers_are_refused() -> None:
    with pytest.raises(UsageError, match="--annotate must be a file that ends in"):
        check_annotated(Path("out.avi"))


def test_a_missing_pillow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.ImageDraw", None)
    with pytest.raises(PackageImportError, match=r"pip install 'edge-msa-runtime\[annotate\]'"):
        check_annotated(Path("out.mp4"))


def test_a_pillow_without_fonts_of_any_size_is_refused_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFont

    def load_default() -> None:
        return

    monkeypatch.setattr(ImageFont, "load_default", load_default)  # as before version 10.1
    with pytest.raises(PackageImportError, match=r"^The installed Pillow .* pip install --upgrade 'edge-msa-runtime\["):
        check_annotated(Path("out.mp4"))


def test_the_track_that_is_used_is_copied(tmp_path: Path) -> None:
    write_video(tmp_path / "first.mkv", codec="aac")
    second = write_media(tmp_path / "second.mkv", sound=tone(1.0, hertz=880))
    path = tmp_path / "talk.mkv"
    with av.open(str(tmp_path / "first.mkv")) as one, av.open(str(second)) as other, av.open(str(path), "w") as writer:
        copies = {stream: writer.add_stream_from_template(stream) for stream in (*one.streams, *other.streams)}
        copies[one.streams.audio[0]].disposition = av.stream.Disposition(0)
        copies[other.streams.audio[0]].disposition = av.stream.Disposition.default
        for file in (one, other):
            for packet in file.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    writer.mux(packet)
    with open_media(path, pictures=False) as media:
        assert media.sound_index == 2
    write_annotated(path, tmp_path / "out.mp4", History(), HEADER)
    assert read_packets(tmp_path / "out.mp4") == read_packets(second)


def test_pictures_of_another_size_are_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "talk.mp4")
    sizes = iter([(64, 96), (64, 96), (96, 64), (128, 192), (11, 400)])

    def open_changing(*arguments: Any, **options: Any) -> Any:
        media = open_media(*arguments, **options)
        if options.get("pictures") is False:
            return media
        items = [Picture(index / 10, np.full((*size, 3), 128, "u1")) for index, size in enumerate(sizes)]
        return contextlib.nullcontext(items)

    monkeypatch.setattr("edge_msa_runtime.live.annotate.open_media", open_changing)
    write_annotated(tmp_path / "talk.mp4", tmp_path / "out.mp4", History(), HEADER)
    shapes = [pixels.shape for _, pixels in read_pictures(tmp_path / "out.mp4")]
    assert shapes == [(64, 96, 3)] * 5
    fitted = fit_picture(np.full((96, 64, 3), 128, "u1"), 96, 64)
    assert fitted.shape == (64, 96, 3)
    assert np.flatnonzero(fitted[32, :, 0]).tolist() == list(range(26, 69))


def test_a_source_that_refers_to_other_files_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "talk.mp4")
    playlist = tmp_path / "list.mp4"
    playlist.write_text("ffconcat version 1.0\nfile talk.mp4\n")
    with pytest.raises(MediaError, match="is not a sound or video file"), contextlib.ExitStack() as stack:
        annotate._open_sound(playlist, stack)


@pytest.mark.parametrize(
    ("number", "fix"), [(errno.ENOSPC, "Free disk space."), (errno.EINVAL, "Pass --annotate out.mkv, or convert")]
)
def test_what_cannot_be_written_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, "no")

    write_video(tmp_path / "talk.mp4")
    monkeypatch.setattr(annotate._Writer, "add", fail)
    with pytest.raises(DataError, match=rf"Cannot write .*out\.mp4 \(no\)\. {fix}"):
        write_annotated(tmp_path / "talk.mp4", tmp_path / "out.mp4", History(), HEADER)


def test_the_module_imports_no_package() -> None:
    code = "import sys, edge_msa_runtime.live.annotate; sys.exit('av' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class CountedList(List[Any]):
    """Counts the items that are read."""

    reads = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        self.reads += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Any:
        self.reads += len(self)
        return super().__iter__()


def test_the_words_of_a_long_talk_are_found_without_a_scan_of_all_of_them() -> None:
    history = History()
    history.words = [Word(str(index), index * 0.4, index * 0.4 + 0.3) for index in range(30_000)]
    painter = Painter(history, HEADER)
    painter._words, painter._starts = CountedList(painter._words), CountedList(painter._starts)
    assert painter.words(8000.0).split() == [str(index) for index in range(19_985, 20_001)]
    assert painter._words.reads + painter._starts.reads < 100
