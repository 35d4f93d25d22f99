"""Read the sound and the pictures of a file, in the order of their times and with little memory."""

from __future__ import annotations

import heapq
import math
import stat
from pathlib import Path
from time import thread_time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from edge_msa_runtime.errors import MediaError, UsageError, first_line
from edge_msa_runtime.media.pictures import MAX_PIXELS, PictureClock, upright_pixels
from edge_msa_runtime.media.resampling import Resampler, average_channels
from edge_msa_runtime.media.signals import GAP_SECONDS, SAMPLE_RATE, Picture, Sound
from edge_msa_runtime.vendor_packages import import_package
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = SAMPLE_RATE // 10
"""Samples of a `Sound`: 0.1 s. The last one of a run is shorter."""

# Formats of recordings. Others are refused: playlists and session descriptions open other files or connections, FFmpeg
# would draw a text as a video, and a picture is not a video.
_FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf"),
    *("ogg", "mxf", "nut", "ivf", "dv", "rm", "gxf", "wtv", "h264", "hevc", "m4v"),
    *("wav", "mp3", "flac", "aac", "aiff", "au", "caf", "w64", "amr", "amrnb", "amrwb", "ac3", "eac3", "dts", "wv"),
    *("tta", "ape", "voc", "loas", "sox", "qcp", "gsm", "dsf"),
)
# `file` is the only protocol, so that nothing in a file can open a connection.
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS)}
# Formats with an index of exact times: one can start in the middle of them.
_SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "wav"}
# Decoding starts so many seconds before `start`, because decoders of sound need some packets until they are exact.
_PREROLL = 1.0
# A lower rate than this holds no speech, and would need thousands of times its memory at 16 kHz.
_LOWEST_RATE = 1_000
# A jump of the times of a file that is no gap: a clock that was set, or a damaged time.
_CLOCK_JUMP = 3600.0
# A sound that starts so much earlier than the end of the sound before it is a restart of the clock.
_RESTART = 1.0
_FOUND, _MISSING, _TOO_MANY = "found", "missing", "too many"
_NO_RECORDING = "is not a sound or video file, or it is damaged. Check what it contains, or copy it again."
# Why pictures are left out.
_NO_TIME, _AFTER_JUMP = "without an increasing time", "after a jump of more than 1 hour in their times"
# A file that ends so much before its stated duration, in seconds and as a share, was probably cut off.
_CUT_OFF = (1.0, 0.02)
_MICROSECONDS = 1_000_000
# Boxes of an MP4 file before its index. Recordings have fewer than 10, and FFmpeg needs seconds for millions of them.
_MOST_BOXES = 1_000
# Time in which a file must be open, if there is a limit of processor time: FFmpeg reads the whole index then.
_OPEN_SECONDS = 20.0


class MediaFile:
    """A file with sound, pictures or both. Iterate to read it; every iteration reads it from the start.

    Iterating yields `Sound` of at most 0.1 s and `Picture`, in the order of their times (that of a sound is its end).
    Times are seconds since `start`. All sound is float32 at 16 kHz, the mean of the channels. A gap in the sound of
    more than 50 ms gives a `Sound` with a later time; samples are never made up. Sound and pictures are decoded
    independently, so memory stays small however a file stores them.

    Attributes:
        path: the file.
        duration: seconds that the file states from its beginning to its end; None if it does not.
        has_sound: whether the file has sound that can be decoded.
        has_pictures: whether the file has a video that can be decoded. The cover of a song is none.
        sound_index: number of the track whose sound is read; None if there is none, or if no sound was wanted.

    Raises:
        MediaError: while iterating, if nothing at all can be decoded, or if it takes more than `busy_seconds`.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: float,
        end: float | None,
        sound: bool,
        pictures: bool,
        picture_rate: float | None,
        busy_seconds: float | None,
    ) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._busy_until = math.inf
        self._start = start
        self._end = math.inf if end is None else end
        self._rate = picture_rate
        self._damaged = {"sound": 0, "pictures": 0}
        self._untimely = {_NO_TIME: 0, _AFTER_JUMP: 0}
        self._later_notes: dict[str, None] = {}
        self._reached = 0.0
        self._open: list[Any] = []
        container = self._open_container()
        try:
            self.duration = container.duration / _MICROSECONDS if container.duration else None
            self._first_notes: list[str] = []
            sound_index = self._choose_sound(container)
            picture_index = self._choose_pictures(container)
        finally:
            self._close_container(container)
        self.has_sound = sound_index is not None
        self.has_pictures = picture_index is not None
        if not (self.has_sound or self.has_pictures):
            raise MediaError(f"{path} has neither sound nor a video{self._reason_of_nothing()}. Choose another file.")
        if self.duration is not None and start >= self.duration:
            raise UsageError(f"start must be before the end of {path} ({self.duration:.1f} s), got {start:g}.")
        self.sound_index = sound_index if sound else None
        self._picture_index = picture_index if pictures else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or could not be decoded, one line each. Iterating adds notes."""
        damaged = [
            f"{format_count(count, 'damaged packet')} of {name} left out"
            for name, count in self._damaged.items()
            if count
        ]
        untimely = [
            f"{format_count(count, 'picture')} {reason} left out" for reason, count in self._untimely.items() if count
        ]
        return (*self._first_notes, *self._later_notes, *damaged, *untimely)

    def __iter__(self) -> Iterator[Sound | Picture]:
        self._damaged = {"sound": 0, "pictures": 0}
        self._untimely = {_NO_TIME: 0, _AFTER_JUMP: 0}
        self._later_notes = {}
        if self._busy_seconds is not None:
            self._busy_until = thread_time() + self._busy_seconds
        sources: list[Iterator[tuple[float, int, Sound | Picture]]] = []
        if self.sound_index is not None:
            sources.append(self._sounds(self.sound_index))
        if self._picture_index is not None:
            sources.append(self._pictures(self._picture_index))
        empty = True
        self._reached = 0.0
        for _, _, item in heapq.merge(*sources, key=lambda entry: entry[:2]):
            empty = False
            yield item
        if sources and empty:
            raise MediaError(
                f"Nothing of {self.path} can be decoded{self._reason_of_nothing()}. Copy or record it again."
            )
        if sources:
            self._note_early_end()

    def __enter__(self) -> MediaFile:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Iterators that are not finished must not be used afterwards."""
        for container in list(self._open):
            self._close_container(container)

    def _open_container(self) -> Any:
        container = open_container(self.path, None if self._busy_seconds is None else _OPEN_SECONDS)
        self._open.append(container)
        return container

    def _close_container(self, container: Any) -> None:
        if container in self._open:
            self._open.remove(container)
            container.close()

    def _choose_sound(self, container: Any) -> int | None:
        return self._choose("sound", [stream for stream in container.streams if stream.type == "audio"])

    def _choose_pictures(self, container: Any) -> int | None:
        av = import_package("av")
        still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        videos = [stream for stream in container.streams if stream.type == "video" and not stream.disposition & still]
        index = self._choose("pictures", videos)
        if index is not None:
            context = container.streams[index].codec_context
            if context.width * context.height > MAX_PIXELS:
                self._first_notes.append(
                    f"pictures left out: {context.width} x {context.height} are more than {MAX_PIXELS} pixels"
                )
                return None
        return index

    def _choose(self, name: str, streams: list[Any]) -> int | None:
        """Return the index of the stream that players would choose: the default one, or else the first."""
        av = import_package("av")
        usable = [stream for stream in streams if _has_decoder(stream)]
        if streams and not usable:
            codec = streams[0].codec_context.name if streams[0].codec_context is not None else "unknown"
            self._first_notes.append(f"{name} left out: no decoder for {codec}")
        if not usable:
            return None
        chosen = next((stream for stream in usable if stream.disposition & av.stream.Disposition.default), usable[0])
        if len(usable) > 1:
            self._first_notes.append(f"{name}: track {usable.index(chosen) + 1} of {len(usable)} is used")
        return int(chosen.index)

    def _reason_of_nothing(self) -> str:
        reasons = "; ".join(self.notes)
        return f" ({reasons})" if reasons else ""

    def _note(self, text: str) -> None:
        self._later_notes[text] = None

    def _note_early_end(self) -> None:
        if self.duration is None:
            return
        expected = min(self.duration, self._end) - self._start
        if self._reached < expected - max(_CUT_OFF[0], _CUT_OFF[1] * expected):
            self._note(
                f"ends after {self._reached + self._start:.1f} of {self.duration:.1f} s: "
                "cut off, as by an interrupted download, or damaged. The part before is used"
            )

    def _decoded(self, index: int, name: str) -> Iterator[tuple[float | None, Any, Any]]:
        """Yield the time since `start`, the frame and the stream of everything that can be decoded."""
        container = self._open_container()
        try:
            origin = (container.start_time or 0) / _MICROSECONDS + self._start
            if self._start > _PREROLL and container.format.name in _SEEKABLE:
                container = self._seek(container, origin)
            stream = container.streams[index]
            _discard_others(container, stream)
            if name == "pictures":  # a video may state another size later; the decoder then refuses it
                stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            if self._busy_seconds is not None:  # processor time of other threads would not count
                stream.codec_context.thread_count = 1
            for frame in self._frames(container, stream, name):
                time = None if frame.pts is None else float(frame.pts * frame.time_base) - origin
                if time is not None:
                    length = float((getattr(frame, "duration", 0) or 0) * frame.time_base)
                    self._reached = max(self._reached, time + length)
                yield time, frame, stream
        finally:
            self._close_container(container)

    def _frames(self, container: Any, stream: Any, name: str) -> Iterator[Any]:
        av = import_package("av")
        packets = iter(container.demux(stream))
        while True:
            self._check_busy()
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self._note(f"{name}: the file cannot be read to its end ({_reason(error)})")
                packet = None  # the decoder may still hold frames
            try:
                yield from stream.decode(packet)
            except av.FFmpegError:
                self._damaged[name] += packet is not None
            if packet is None:
                return

    def _check_busy(self) -> None:
        if self._busy_until < math.inf and thread_time() > self._busy_until:
            raise MediaError(
                f"{self.path} needs more than {self._busy_seconds:g} s of processor time. Cut it, or convert it to "
                "smaller or fewer pictures."
            )

    def _seek(self, container: Any, origin: float) -> Any:
        """Return the container shortly before `start`; at its beginning if its index does not work."""
        av = import_package("av")
        try:
            container.seek(int((origin - _PREROLL) * _MICROSECONDS))
        except av.FFmpegError:
            self._close_container(container)
            return self._open_container()
        return container

    def _pictures(self, index: int) -> Iterator[tuple[float, int, Picture]]:
        clock = PictureClock(self._rate)
        last = -math.inf
        end = self._end - self._start
        for time, frame, stream in self._decoded(index, "pictures"):
            if time is None or time <= last:
                self._untimely[_NO_TIME] += 1
                continue
            if last > -math.inf and time - last > _CLOCK_JUMP:
                self._untimely[_AFTER_JUMP] += 1
                continue
            last = time
            if time >= end:
                return
            if time < 0 or not clock.choose(time):
                continue
            shape = stream.sample_aspect_ratio
            yield time, 1, Picture(time, upright_pixels(frame, float(shape) if shape else 1.0))

    def _sounds(self, index: int) -> Iterator[tuple[float, int, Sound]]:
        end = self._end - self._start
        for start, samples in self._runs(index):
            limit = max(0, math.ceil((end - start) * SAMPLE_RATE - 1e-6)) if end < math.inf else None
            count = 0
            for block in _blocks(samples, limit):
                sound = Sound(start + count / SAMPLE_RATE, block)
                count += len(block)
                yield sound.end, 0, sound
            if limit is not None and count >= limit:
                return

    def _runs(self, index: int) -> Iterator[tuple[float, Iterator[NDArray[np.float32]]]]:
        """Yield the start and the pieces at 16 kHz of each run of sound without a gap.

        The pieces of a run must be used up before the next run.
        """
        aligned = _Aligned(self._decoded(index, "sound"), self._note)
        for time, rate, first in aligned:
            yield time, _resampled(rate, first, aligned)


class _Aligned:
    """Samples from 0 s on whose times are those of the file: runs without a gap, and no sample twice."""

    def __init__(self, decoded: Iterator[tuple[float | None, Any, Any]], note: Any) -> None:
        self._decoded = decoded
        self._note = note
        self._pending: tuple[float, int, NDArray[np.float32]] | None = None
        self._shift = 0.0
        self._expected: float | None = None
        self._rate = 0

    def __iter__(self) -> Iterator[tuple[float, int, NDArray[np.float32]]]:
        """Yield time, rate and samples of the piece that starts each run."""
        while True:
            piece = self._pending or self._next()
            self._pending = None
            if piece is None:
                return
            yield piece

    def rest(self) -> Iterator[NDArray[np.float32]]:
        """Yield the further pieces of the current run."""
        while True:
            rate, expected = self._rate, self._expected
            piece = self._next()
            if piece is None:
                return
            if piece[1] != rate or expected is None or piece[0] - expected > GAP_SECONDS:
                self._pending = piece
                return
            yield piece[2]

    def _next(self) -> tuple[float, int, NDArray[np.float32]] | None:
        for raw_time, frame, _ in self._decoded:
            rate = int(frame.sample_rate)
            samples = average_channels(frame)
            if not len(samples):
                continue
            if rate < _LOWEST_RATE:
                self._note(f"sound of {rate} samples per second left out: {_LOWEST_RATE} are needed")
                continue
            time = self._corrected(raw_time)
            expected = self._expected
            if expected is not None and time < expected - GAP_SECONDS:
                # The sound before was longer than its times say: what is too much is left out.
                skip = round((expected - time) * rate)
                self._note("sound that overlaps the sound before it left out")
                samples, time = samples[skip:], time + skip / rate
            if time < 0:
                skip = math.ceil(-time * rate - 1e-6)
                samples, time = samples[skip:], time + skip / rate
            if not len(samples):
                continue
            if expected is not None and abs(time - expected) <= GAP_SECONDS and rate == self._rate:
                self._expected = expected + len(samples) / rate
            else:
                self._expected = time + len(samples) / rate
            self._rate = rate
            return time, rate, samples
        return None

    def _corrected(self, time: float | None) -> float:
        """Return the time of a frame, on a clock that never restarts and never jumps by an hour."""
        expected = self._expected
        if time is None:
            return 0.0 if expected is None else expected
        corrected = time + self._shift
        if expected is not None and not -_RESTART < corrected - expected < _CLOCK_JUMP:
            self._note("sound whose times jump: it follows the sound before it")
            self._shift += expected - corrected
            return expected
        return corrected


def open_media(
    path: str | Path,
    *,
    start: float = 0.0,
    end: float | None = None,
    sound: bool = True,
    pictures: bool = True,
    picture_rate: float | None = 15.0,
    busy_seconds: float | None = None,
) -> MediaFile:
    """Open a sound or video file.

    The content decides what a file is; its name does not matter. Nothing but the file itself is read: a playlist or
    another file that refers to further files or addresses is refused.

    Args:
        path: the file.
        start: where to start, in seconds. The times of what is read count from there.
        end: where to end, in seconds; None for the end of the file.
        sound: whether to read the sound.
        pictures: whether to read the pictures.
        picture_rate: pictures per second, at most: for each tick k / picture_rate the first picture at or after it,
            each at most once and with its own time. None reads every picture.
        busy_seconds: processor time that an iteration may take, with what the caller does in the same thread between
            two items. It is checked after each packet. None sets no limit.

    Raises:
        UsageError: the file does not exist, or an argument is not a number in its range.
        MediaError: the file is empty, damaged, or not a recording.
        PackageImportError: PyAV is not installed.
    """
    path = Path(path)
    if not (math.isfinite(start) and start >= 0):
        raise UsageError(f"start must be 0 or more seconds, got {start:g}.")
    if end is not None and not start < end:
        raise UsageError(f"end must be after start ({start:g} s), got {end:g}.")
    if picture_rate is not None and not 0 < picture_rate < math.inf:
        raise UsageError(f"picture_rate must be a number above 0, got {picture_rate:g}.")
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{path} is a folder. Pass a sound or video file.")
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{path} is not a regular file. Pass a sound or video file.")
        if status.st_size == 0:
            raise MediaError(f"{path} is empty (0 bytes). Copy or record it again.")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist. Pass a sound or video file.") from error
    except OSError as error:
        raise MediaError(f"Cannot read {path}: {_reason(error)}.") from error
    return MediaFile(
        path,
        start=start,
        end=end,
        sound=sound,
        pictures=pictures,
        picture_rate=picture_rate,
        busy_seconds=busy_seconds,
    )


def open_container(path: Path, seconds: float | None = None) -> Any:
    """Open a file with PyAV, if it has one of the formats of recordings. Nothing but the file itself is opened.

    Args:
        path: the file.
        seconds: time in which it must be open; None for no limit.

    Raises:
        MediaError: it cannot be opened.
        PackageImportError: PyAV is not installed.
    """
    av = import_package("av")
    if _find_index(path) == _TOO_MANY:
        raise MediaError(f"{path} {_NO_RECORDING}")
    timeout = None if seconds is None else (seconds, None)
    try:
        # The prefix prevents that a name with a colon is taken for a protocol.
        return av.open(f"file:{path.absolute()}", options=_OPTIONS, metadata_errors="replace", timeout=timeout)
    except av.error.ExitError as error:
        raise MediaError(f"{path} was not open after {seconds:g} s: its index is too large. Convert it.") from error
    except av.FFmpegError as error:
        raise MediaError(f"{path} {explain_unreadable(path, error)}") from error


def explain_unreadable(path: Path, error: Exception) -> str:
    """Return why FFmpeg cannot open a file, and what to do."""
    if _find_index(path) == _MISSING:
        return (
            "has no index, as after an interrupted download or a recording that was not ended. "
            "Copy it again, or repair it."
        )
    if "not found" in str(error) or "Invalid" in str(error):
        return _NO_RECORDING
    return f"cannot be opened ({_reason(error)}). Copy it again, or convert it."


def _find_index(path: Path) -> str:
    """Return whether the index of an MP4 or QuickTime file, the box `moov`, is there.

    It is `_FOUND`, also for files of other formats, `_MISSING`, or `_TOO_MANY` if too many boxes are before it.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        position = 0
        for _ in range(_MOST_BOXES):
            file.seek(position)
            header = file.read(16)
            kind = header[4:8]
            if position == 0 and kind not in {b"ftyp", b"mdat", b"wide", b"free"}:
                return _FOUND
            if kind == b"moov":
                return _MISSING if position + int.from_bytes(header[:4], "big") > size else _FOUND
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8 or position + length >= size:
                return _MISSING
            position += length
    return _TOO_MANY


def _has_decoder(stream: Any) -> bool:
    av = import_package("av")
    if stream.codec_context is None:
        return False
    try:
        av.Codec(stream.codec_context.name, "r")
    except av.FFmpegError:
        return False
    return True


def _discard_others(container: Any, chosen: Any) -> None:
    """Let the demuxer skip the packets of other streams, which are often most of a file."""
    av = import_package("av")
    for stream in container.streams:
        if stream.index != chosen.index and hasattr(stream, "discard"):
            stream.discard = av.stream.Discard.all


def _resampled(rate: int, first: NDArray[np.float32], aligned: _Aligned) -> Iterator[NDArray[np.float32]]:
    resampler = Resampler(rate)
    yield resampler.push(first)
    for samples in aligned.rest():
        yield resampler.push(samples)
    yield resampler.finish()


def _blocks(pieces: Iterator[NDArray[np.float32]], limit: int | None) -> Iterator[NDArray[np.float32]]:
    """Yield blocks of `BLOCK` samples and a shorter one at the end; nothing after `limit` samples."""
    rest = np.zeros(0, np.float32)
    left = math.inf if limit is None else limit
    for piece in pieces:
        rest = np.concatenate([rest, piece])
        while len(rest) >= BLOCK and left >= BLOCK:
            yield rest[:BLOCK]
            rest = rest[BLOCK:]
            left -= BLOCK
        if left < BLOCK and len(rest) >= left:
            break
    tail = rest[: int(min(left, len(rest)))]
    if len(tail):
        yield tail


def _reason(error: Any) -> str:
    """Return what FFmpeg or the system says, without its number."""
    return str(getattr(error, "strerror", None) or first_line(error))
