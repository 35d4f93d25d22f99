"""A copy of a video with the predictions, the modalities and the words in the picture. The sound is copied."""

from __future__ import annotations

import bisect
import contextlib
import errno
import itertools
import uuid
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping

import numpy as np

from edge_msa_runtime.errors import DataError, PackageImportError, UsageError, first_line
from edge_msa_runtime.live.colors import label_rgb
from edge_msa_runtime.live.page import describe_moment
from edge_msa_runtime.media.files import open_container, open_media
from edge_msa_runtime.media.signals import Picture
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.live.history import History, Moment

_TICKS = 90_000
"""Units of time of the pictures per second."""
_CODECS = ("libx264", "mpeg4")
_SMALLEST_TEXT = 6
_SHOWN_SECONDS = 6.0
"""Words are shown for so long, or until their utterance has ended."""
_SUFFIXES = (".mp4", ".mkv", ".mov")
_INK, _MUTED, _BACKGROUND = (255, 255, 255), (150, 158, 166), (0, 0, 0, 165)
_SCORE = (110, 168, 247)
_COLORS = {"language": (180, 148, 236), "audio": (92, 196, 141), "vision": (243, 154, 84)}


def check_annotated(path: Path) -> None:
    """Check the name of an annotated video, and that the packages of the extra `annotate` are installed.

    Raises:
        UsageError: the container is unknown.
        PackageImportError: Pillow or PyAV is not installed, or Pillow cannot write text.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--annotate must be a file that ends in {', '.join(_SUFFIXES)}, got {path.name!r:.60}.")
    import_package("PIL.ImageDraw")
    import_package("av")
    try:
        import_package("PIL.ImageFont").load_default(_SMALLEST_TEXT)
    except (TypeError, ImportError, OSError) as error:  # before version 10.1, or built without FreeType
        reason = f"The installed Pillow cannot write text in any size ({first_line(error)})"
        raise PackageImportError(reason, "--upgrade 'edge-msa-runtime[annotate]'", "pillow") from error


def write_annotated(source: Path, output: Path, history: History, header: Mapping[str, Any]) -> None:
    """Write the video.

    Args:
        source: a video.
        output: the file to write. It is replaced at the end, when the new one is complete.
        history: what was predicted.
        header: `task` (`low`, `high`), and `modalities`.

    Raises:
        DataError: the video cannot be written.
        MediaError: the source cannot be read.
        PackageImportError: PyAV or Pillow is not installed.
    """
    av: Any = import_package("av")
    partial = output.with_name(f".{output.stem}.{uuid.uuid4().hex[:8]}{output.suffix}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            with open_media(source, pictures=False) as probe:
                track = probe.sound_index
            media = stack.enter_context(open_media(source, sound=False, picture_rate=None))
            sound = _open_sound(source, stack)
            writer = _Writer(av, stack.enter_context(av.open(str(partial), "w")), sound, track)
            painter = Painter(history, header)
            size = None
            for picture in media:
                if isinstance(picture, Picture):
                    pixels = picture.pixels if size is None else fit_picture(picture.pixels, *size)
                    size = (pixels.shape[1], pixels.shape[0])
                    writer.add(painter.paint(pixels, picture.time), picture.time)
            writer.finish()
        partial.replace(output)
    except (av.FFmpegError, OSError) as error:
        has_space = error.errno not in {errno.ENOSPC, errno.EDQUOT}
        fix = f"Pass --annotate {output.stem}.mkv, or convert the video first." if has_space else "Free disk space."
        raise DataError(f"Cannot write {output} ({error.strerror or error}). {fix}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def fit_picture(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return a picture in a size, with black borders if it has another shape: a video may change its size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    rows, columns = max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    frame = import_package("av").VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    fitted = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    fitted[top : top + rows, left : left + columns] = frame.reformat(width=columns, height=rows).to_ndarray()
    return fitted


def _open_sound(source: Path, stack: contextlib.ExitStack) -> Any:
    container = open_container(source)
    stack.callback(container.close)
    return container


class Painter:
    """Draws what was predicted and said into pictures.

    Args:
        history: what was predicted.
        header: `task` (`low`, `high`), and `modalities`.
    """

    def __init__(self, history: History, header: Mapping[str, Any]) -> None:
        self._moments = sorted(history.moments, key=lambda moment: moment.time)
        self._times = [moment.time for moment in self._moments]
        self._words = sorted(history.words, key=lambda word: word.start or 0.0)
        self._starts = [word.start or 0.0 for word in self._words]
        self._ends = [moment.time for moment in self._moments if moment.is_final]
        self._names = [name for name in MODALITIES if name in header["modalities"]]
        task = header["task"]
        known = task.get("low") is not None and task.get("high") is not None
        self._scale = (float(task["low"]), float(task["high"])) if known else (-3.0, 3.0)
        self._fonts: dict[int, Any] = {}

    def paint(self, pixels: NDArray[np.uint8], time: float) -> NDArray[np.uint8]:
        """Return the picture of a time, in a size that can be encoded."""
        height, width = (max(2, size // 2 * 2) for size in pixels.shape[:2])
        image_module: Any = import_package("PIL.Image")
        draw_module: Any = import_package("PIL.ImageDraw")
        image = image_module.fromarray(np.ascontiguousarray(pixels[:height, :width]))
        draw = draw_module.Draw(image, "RGBA")
        unit = max(8, round(min(height, width) / 24))
        moment = self.moment(time)
        words = self.words(time)
        lines = 2 if words else 1
        top = height - round(unit * (1.4 + 1.5 * lines))
        draw.rectangle((0, top, width, height), fill=_BACKGROUND)
        row = top + round(0.5 * unit)
        if words:
            draw.text((width / 2, row), self._fit(draw, words, width - 2 * unit, unit), _INK, self._font(unit), "ma")
            row += round(1.6 * unit)
        self._draw_score(draw, moment, (unit, row, width - unit, row + unit), unit)
        return np.asarray(image)

    def moment(self, time: float) -> Moment | None:
        """Return the newest prediction of a time."""
        index = bisect.bisect_right(self._times, time + 1e-6)
        return self._moments[index - 1] if index else None

    def words(self, time: float) -> str:
        """Return the words of the utterance up to a time."""
        ended = bisect.bisect_right(self._ends, time)
        since = max(self._ends[ended - 1] if ended else 0.0, time - _SHOWN_SECONDS)
        shown = slice(bisect.bisect_left(self._starts, since), bisect.bisect_right(self._starts, time))
        return " ".join(word.text for word in self._words[shown])

    def _draw_score(self, draw: Any, moment: Moment | None, box: tuple[float, float, float, float], unit: int) -> None:
        left, top, right, bottom = box
        middle = (top + bottom) / 2
        for name in reversed(self._names):
            is_used = moment is not None and name[0] in moment.subset
            draw.rounded_rectangle(
                (right - unit, top, right, bottom), unit // 4, fill=_COLORS[name] if is_used else None, outline=_MUTED
            )
            color = (0, 0, 0) if is_used else _MUTED
            draw.text((right - unit / 2, middle), name[0], color, self._font(round(0.8 * unit)), "mm")
            right -= round(1.3 * unit)
        if moment is None:
            return
        text = f"{moment.label} {_top(moment):.2f}" if moment.probabilities else describe_moment(moment)
        font = self._font(unit)
        draw.text((left, middle), text, _INK, font, "lm")
        left += round(max(draw.textlength(text, font), 6 * unit)) + unit
        right -= unit // 2
        if right - left < 3 * unit:
            return
        if moment.score is None:
            self._draw_probabilities(draw, moment, (left, top, right, bottom))
            return
        low, high = self._scale

        def place(value: float) -> float:
            share = (min(max(value, low), high) - low) / (high - low)
            return float(left + share * (right - left))

        draw.line((left, middle, right, middle), _MUTED, max(1, unit // 10))
        if low < 0 < high:
            draw.line((place(0), top, place(0), bottom), _MUTED, max(1, unit // 10))
        if moment.interval is not None:
            spread = (place(moment.interval[0]), middle - unit // 5, place(moment.interval[1]), middle + unit // 5)
            draw.rectangle(spread, fill=(*_SCORE, 110))
        at, radius = place(moment.score), 0.32 * unit
        draw.ellipse((at - radius, middle - radius, at + radius, middle + radius), fill=_SCORE, outline=_INK)

    @staticmethod
    def _draw_probabilities(draw: Any, moment: Moment, box: tuple[float, float, float, float]) -> None:
        """Draw one bar for each probability, side by side. Those of classes fill the box."""
        left, top, right, bottom = box
        total = max(1.0, sum(moment.probabilities.values()))
        for number, value in enumerate(moment.probabilities.values()):
            end = left + value / total * (right - box[0])
            if end - left >= 1:
                draw.rectangle((left, top, end, bottom), fill=label_rgb(number))
            left = end

    def _font(self, size: int) -> Any:
        if size not in self._fonts:
            self._fonts[size] = import_package("PIL.ImageFont").load_default(size)
        return self._fonts[size]

    def _fit(self, draw: Any, text: str, width: int, size: int) -> str:
        """Return the end of a text that fits into a width."""
        font, words = self._font(size), text.split()
        while len(words) > 1 and draw.textlength(" ".join(words), font) > width:
            words.pop(0)
        return " ".join(words)


def _top(moment: Moment) -> float:
    """Return the largest probability."""
    return max(moment.probabilities.values())


class _Writer:
    """Writes pictures, and the sound of the source between them.

    Args:
        av: PyAV.
        container: what is written.
        source: the open source.
        track: number of the track with the sound; None without sound.
    """

    def __init__(self, av: Any, container: Any, source: Any, track: int | None) -> None:
        self._av = av
        self._container = container
        self._video: Any = None
        self._last = -1
        self._input = source
        self._origin = Fraction(self._input.start_time or 0, 1_000_000)
        self._source = None if track is None else self._input.streams[track]
        self._packets: Iterator[tuple[float, Any]] = iter(())
        if self._source is not None and self._source.codec_context.name in container.supported_codecs:
            self._packets = self._copied_packets(container.add_stream_from_template(self._source))
        elif self._source is not None:
            self._packets = self._encoded_packets(container.add_stream("aac", rate=self._source.rate))
        self._next = next(self._packets, None)

    def add(self, pixels: NDArray[np.uint8], time: float) -> None:
        """Write a picture, and the sound before it."""
        if self._video is None:
            self._open_video(pixels.shape[1], pixels.shape[0])
        self._write_sound(time)
        frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(self._last + 1, round(time * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self._container.mux(self._video.encode(frame))

    def finish(self) -> None:
        """Write the rest."""
        if self._video is not None:
            self._container.mux(self._video.encode(None))
        self._write_sound(float("inf"))

    def _open_video(self, width: int, height: int) -> None:
        codec = next(name for name in _CODECS if name in self._av.codecs_available)
        options = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {"q": "4"}
        self._video = self._container.add_stream(codec, rate=30, options=options)
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        self._video.codec_context.time_base = Fraction(1, _TICKS)

    def _read(self) -> Iterator[Any]:
        """Yield the packets of the sound up to the end of the file, or of what can be read of it."""
        with contextlib.suppress(self._av.FFmpegError):
            yield from self._input.demux(self._source)

    def _copied_packets(self, stream: Any) -> Iterator[tuple[float, Any]]:
        """Yield the sound as it is."""
        for packet in self._read():
            if packet.dts is None or packet.pts is None:
                continue
            shift = round(self._origin / packet.time_base)
            packet.pts -= shift
            packet.dts -= shift
            packet.stream = stream
            yield float(packet.pts * packet.time_base), packet

    def _encoded_packets(self, stream: Any) -> Iterator[tuple[float, Any]]:
        """Yield the sound as AAC, where the container cannot hold it as it is."""
        resampler = self._av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        for frame in itertools.chain(self._decoded_sound(), [None]):
            for part in resampler.resample(frame):
                for packet in stream.encode(part):
                    yield float(packet.pts * packet.time_base), packet
        for packet in stream.encode(None):
            yield float(packet.pts * packet.time_base), packet

    def _decoded_sound(self) -> Iterator[Any]:
        for packet in self._read():
            frames: list[Any] = []
            with contextlib.suppress(self._av.FFmpegError):  # a damaged packet
                frames = packet.decode()
            for frame in frames:
                if frame.pts is not None:
                    frame.pts -= round(self._origin / frame.time_base)
                    yield frame

    def _write_sound(self, until: float) -> None:
        while self._next is not None and self._next[0] <= until:
            self._container.mux(self._next[1])
            self._next = next(self._packets, None)
