"""Write small sound and video files for tests. Needs PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> Array:
    """Return a sine tone (n,) with an amplitude of .5."""
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) / 2


def gray_pictures(count: int, width: int = 64, height: int = 48) -> list[Array]:
    """Return pictures (height, width, 3) that become brighter."""
    return [np.full((height, width, 3), round(255 * k / max(count - 1, 1)), np.uint8) for k in range(count)]


def write_media(
    path: Path,
    *,
    sound: Array | None = None,
    rate: int = 16_000,
    layout: str | None = None,
    codec: str = "aac",
    sound_times: Sequence[float] | None = None,
    pictures: Iterable[Array] | None = None,
    picture_times: Sequence[float] | None = None,
    picture_rate: float = 25.0,
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a file whose format is that of its suffix.

    Args:
        path: the file.
        sound: (n,) for one channel, or (channels, n).
        rate: samples per second.
        layout: FFmpeg's name of the channels; by default `mono` or `stereo`.
        codec: of the sound.
        sound_times: start in seconds of each of several equal parts of the sound; by default it has no gap.
        pictures: (height, width, 3) each, encoded with MPEG-4.
        picture_times: in seconds; by default `picture_rate` per second.
        picture_rate: pictures per second.
        rotation: degrees that players must rotate the pictures by, counterclockwise.
        options: of FFmpeg's writer.
    """
    import av

    with av.open(str(path), "w", options=options) as container:
        packets: list[Any] = []
        if pictures is not None:
            packets += _encode_pictures(container, list(pictures), picture_times, picture_rate, rotation)
        if sound is not None:
            packets += _encode_sound(container, np.atleast_2d(sound), rate, layout, codec, sound_times)
        for packet in sorted(packets, key=lambda item: float(item.dts * item.time_base)):
            container.mux(packet)
    return path


def _encode_pictures(
    container: Any, pictures: list[Array], times: Sequence[float] | None, rate: float, rotation: int
) -> list[Any]:
    import av

    stream = container.add_stream("mpeg4", rate=Fraction(rate).limit_denominator(1000))
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = 4_000_000
    stream.codec_context.time_base = Fraction(1, 1000)
    if rotation:
        stream.set_display_rotation(rotation)
    packets: list[Any] = []
    for k, pixels in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = round(1000 * (k / rate if times is None else times[k])), Fraction(1, 1000)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


def _encode_sound(
    container: Any, samples: Array, rate: int, layout: str | None, codec: str, times: Sequence[float] | None
) -> list[Any]:
    import av

    layout = layout or {1: "mono", 2: "stereo"}[len(samples)]
    stream = container.add_stream(codec, rate=rate, layout=layout)
    starts = [0.0] if times is None else list(times)
    packets: list[Any] = []
    for start, part in zip(starts, np.array_split(samples, len(starts), axis=1)):  # noqa: B905 - Python 3.8
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout=layout,
            rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(part, np.float32), format="fltp", layout=layout)
        block.sample_rate, block.pts, block.time_base = rate, round(start * rate), Fraction(1, rate)
        for piece in (*resampler.resample(block), *resampler.resample(None)):
            packets += stream.encode(piece)
    return [*packets, *stream.encode(None)]
