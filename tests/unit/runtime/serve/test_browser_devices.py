from __future__ import annotations

import struct
from typing import Callable

import numpy as np
import pytest

from edge_msa_runtime.errors import CaptureError
from edge_msa_runtime.serve.browser_devices import BrowserCamera, BrowserMicrophone, decode_jpeg, jpeg_size
from edge_msa_runtime.serve.wire import RawPicture, RawSound

pytest.importorskip("av", reason="the extra audio is not installed")

RATE = 48_000
SOUND = np.sin(np.arange(RATE) / 20).astype(np.float32)


def test_no_sound_is_lost() -> None:
    microphone = BrowserMicrophone(RATE)
    for first in range(0, RATE, 480):
        microphone.push(RawSound(1.0 + first / RATE, SOUND[first : first + 480]))
    assert microphone.seconds == pytest.approx(1.0)
    assert microphone.waiting_seconds == pytest.approx(1.0)
    sounds = [microphone.read(0.0) for _ in range(100)]
    assert sum(len(sound.samples) for sound in sounds if sound is not None) == pytest.approx(16_000, abs=50)
    assert microphone.waiting_seconds == 0.0
    assert microphone.dropped == 0
    assert microphone.read(0.0) is None


def test_sound_after_a_gap_has_a_later_time() -> None:
    microphone = BrowserMicrophone(RATE)
    for time in (0.0, 1.0, 2.2, 3.2):
        microphone.push(RawSound(time, SOUND))
    sounds = [sound for sound in (microphone.read(0.0) for _ in range(9)) if sound is not None]
    starts = [sounds[0].time, *(b.time for a, b in zip(sounds, sounds[1:]) if b.time - a.end > 0.1)]
    assert starts == [0.0, 2.2]


def test_old_pictures_are_dropped(encode_jpeg: Callable[..., bytes]) -> None:
    camera = BrowserCamera(2, 1_000_000, print)
    for number in range(5):
        camera.push(RawPicture(float(number), encode_jpeg()))
    pictures = [camera.read(0.0), camera.read(0.0)]
    assert [picture.time for picture in pictures if picture is not None] == [3.0, 4.0]
    assert camera.read(0.0) is None
    assert (camera.received, camera.dropped) == (5, 3)


def test_a_picture_is_decoded(encode_jpeg: Callable[..., bytes]) -> None:
    pixels = decode_jpeg(encode_jpeg((200, 100, 50), 64, 48), 10_000)
    assert pixels.shape == (48, 64, 3)
    np.testing.assert_allclose(pixels.mean(axis=(0, 1)), [200, 100, 50], atol=4)


def test_bad_pictures_are_left_out_with_a_line(encode_jpeg: Callable[..., bytes]) -> None:
    lines: list[str] = []
    camera = BrowserCamera(10, 64 * 48, lines.append)
    whole = encode_jpeg()
    cut = whole[: whole.index(b"\xff\xc0") + 19]
    for number, jpeg in enumerate((b"GIF89a" * 10, encode_jpeg((0, 0, 0), 640, 480), cut, whole)):
        camera.push(RawPicture(float(number), jpeg))
    pictures = [camera.read(0.0) for _ in range(4)]
    assert [None if picture is None else picture.time for picture in pictures] == [None, None, None, 3.0]
    assert lines == [
        "A picture was left out: it is not a JPEG picture.",
        "A picture was left out: it must have at most 3072 pixels, got 640 x 480.",
        "A picture was left out: it cannot be decoded.",
    ]


def test_a_picture_that_claims_to_be_huge_is_not_decoded(encode_jpeg: Callable[..., bytes]) -> None:
    jpeg = bytearray(encode_jpeg())
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", 65_500, 65_500)
    assert jpeg_size(bytes(jpeg)) == (65_500, 65_500)
    with pytest.raises(ValueError, match="at most 1000000 pixels, got 65500 x 65500"):
        decode_jpeg(bytes(jpeg), 1_000_000)


def test_a_second_header_cannot_make_a_picture_huge(encode_jpeg: Callable[..., bytes]) -> None:
    jpeg = encode_jpeg()
    start = jpeg.index(b"\xff\xc0")
    header = jpeg[start : start + 19]
    huge = header[:5] + struct.pack(">HH", 4_000, 4_000) + header[9:]
    with pytest.raises(ValueError, match="it cannot be decoded"):
        decode_jpeg(jpeg[:start] + header + huge + jpeg[start + 19 :], 1_000_000)


@pytest.mark.parametrize(
    "jpeg", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x00" * 3, b"\xff\xd8\xff\xff\xff\xff", b"x" * 99]
)
def test_what_is_no_jpeg_has_no_size(jpeg: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a JPEG picture"):
        jpeg_size(jpeg)


def test_a_picture_that_comes_again_is_used_once(encode_jpeg: Callable[..., bytes]) -> None:
    camera = BrowserCamera(5, 1_000_000, print)
    camera.push(RawPicture(1.0, encode_jpeg()))
    camera.push(RawPicture(1.0, encode_jpeg()))
    assert camera.read(0.0) is not None
    assert camera.read(0.0) is None


def test_a_device_that_stopped_opens_again_when_it_goes_on() -> None:
    microphone = BrowserMicrophone(RATE)
    assert microphone.open(0.0) is microphone
    with microphone:
        assert microphone.read(0.0) is None
    with pytest.raises(CaptureError, match="The microphone of the browser delivers nothing"):
        microphone.open(0.0)
    microphone.push(RawSound(0.0, SOUND))
    assert microphone.open(0.0) is microphone
