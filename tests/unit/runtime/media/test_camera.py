"""The camera with files and generated pictures through the same code: no test here ran on a real camera."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from edge_msa_runtime.errors import CaptureError, MediaError, UsageError
from edge_msa_runtime.media import camera
from edge_msa_runtime.media.camera import Camera
from edge_msa_runtime.media.capture import Pacer
from tests.media_files import gray_pictures, tone, write_media
from tests.unit.runtime.fake_clock import FakeClock

av = pytest.importorskip("av")

GENERATED = "lavfi:testsrc2=size=64x48:rate=30:duration=0.6"


@pytest.fixture
def paced_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each picture exactly its time, without waiting for it."""
    clock = FakeClock()
    start = clock.now

    def wait(_: Pacer, item_time: float) -> bool:
        clock.now = start + item_time
        return True

    monkeypatch.setattr(camera, "time", clock)
    monkeypatch.setattr(Pacer, "wait", wait)


@pytest.mark.usefixtures("paced_clock")
def test_pictures_come_at_the_rate_that_was_asked_for() -> None:
    with Camera(GENERATED, rate=10) as device:
        taken = list(device)
    assert len(taken) + device.dropped == 6
    assert taken[0].pixels.shape == (48, 64, 3)
    times = [picture.time for picture in taken]
    assert times == sorted(times)
    assert device.ended


@pytest.mark.usefixtures("paced_clock")
def test_a_slow_program_gets_the_newest_picture_and_a_count() -> None:
    with Camera(GENERATED, rate=30) as device:
        device._thread.join()
        picture = device.read()
    assert picture is not None
    assert picture.time == pytest.approx(17 / 30)
    assert device.dropped == 17
    assert "dropped to keep up" in device.notes[0]


@pytest.mark.usefixtures("paced_clock")
def test_a_video_is_played_in_place_of_a_camera(tmp_path: Path) -> None:
    path = write_media(tmp_path / "x.mp4", pictures=gray_pictures(10))
    with Camera(f"file:{path}", rate=100) as device:
        taken = list(device)
    assert taken[-1].pixels.mean() == pytest.approx(255, abs=3)
    assert taken[-1].time == pytest.approx(0.36)
    sound = write_media(tmp_path / "x.wav", sound=tone(0.1), codec="pcm_s16le")
    with pytest.raises(MediaError, match="has no pictures"):
        Camera(f"file:{sound}")


def test_a_video_that_was_cut_off_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_msa_runtime.media.files._CUT_OFF", (0.1, 0.02))
    path = write_media(tmp_path / "x.mkv", pictures=gray_pictures(15))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Camera(f"file:{path}", rate=100) as device:
        list(device)
    assert any(note.startswith(f"file:{path}: ends after ") for note in device.notes), device.notes


def test_a_missing_camera_lists_those_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "_VIDEO_DEVICES", tmp_path)
    monkeypatch.setattr(camera, "_VIDEO_NAMES", tmp_path / "names")
    with pytest.raises(CaptureError, match=r"^camera /dev/video97 does not exist\. No camera was found: connect one"):
        Camera("97")
    (tmp_path / "video0").touch()
    (tmp_path / "names/video0").mkdir(parents=True)
    (tmp_path / "names/video0/name").write_text("Integrated Camera\n", encoding="utf-8")
    with pytest.raises(CaptureError, match=r"Cameras: .*/video0: Integrated Camera\.$"):
        Camera("97")


def test_a_file_that_is_no_camera_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(CaptureError, match=r"^camera .*/x is not a camera\."):
        Camera(str(tmp_path / "x"))


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EBUSY, "is in use by another program. Close that program, or choose another camera."),
        (errno.EACCES, "may not be used: permission denied. Run: sudo usermod -aG video $USER"),
        (errno.EINVAL, "cannot be opened ("),
    ],
)
def test_a_camera_that_cannot_be_used_gets_one_line(number: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_options: Any) -> Any:
        av.error.err_check(-number)

    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(CaptureError) as error:
        Camera("0")
    assert f"camera /dev/video0 {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_driver_that_refuses_the_rate_or_the_size_is_opened_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    real = av.open

    def fail(_address: str, **options: Any) -> Any:
        tried.append(options["options"])
        if options["options"]:
            av.error.err_check(-errno.EINVAL)
        return real(GENERATED[6:], format="lavfi")

    monkeypatch.setattr(av, "open", fail)
    with Camera("0", rate=10) as device:
        assert device.read() is not None
    assert tried == [{"framerate": "30", "video_size": "640x480"}, {"video_size": "640x480"}, {}]


def test_a_camera_that_stops_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = av.open
    monkeypatch.setattr(av, "open", lambda *_arguments, **_options: real(GENERATED[6:], format="lavfi"))
    with Camera("0") as device, pytest.raises(CaptureError, match=r"^camera /dev/video0 stopped\. Check that"):
        list(iter(device.read, None))


def test_a_camera_that_delivers_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "PATIENCE", 0.2)
    with Camera("lavfi:testsrc2=rate=1", rate=1) as device, pytest.raises(
        CaptureError, match="has delivered no picture"
    ):
        list(device)


def test_a_rate_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="rate must be a number above 0, got 0"):
        Camera("0", rate=0)


def test_a_wrong_generated_source_is_refused_in_one_line() -> None:
    with pytest.raises(CaptureError, match="lavfi:nonsense is no source of pictures of FFmpeg"):
        Camera("lavfi:nonsense")
