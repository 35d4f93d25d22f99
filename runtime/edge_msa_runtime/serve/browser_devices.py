"""The microphone, the camera and the keyboard of a browser, as devices of `live.device_input`."""

from __future__ import annotations

import collections
import struct
import sys
from typing import TYPE_CHECKING, Any, Callable

from edge_msa_runtime.errors import CaptureError
from edge_msa_runtime.media.capture import BoundedQueue
from edge_msa_runtime.media.device_clock import DeviceClock
from edge_msa_runtime.media.pictures import upright_pixels
from edge_msa_runtime.media.signals import GAP_SECONDS, Picture
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_msa_runtime.media.signals import Sound
    from edge_msa_runtime.serve.wire import RawPicture, RawSound

_UNLIMITED = sys.maxsize


class BrowserDevice:
    """A queue from the network to the thread that reads the device. It has what `live.device_input` needs.

    Args:
        size: items that may wait. If there are more, the oldest one is lost.

    Attributes:
        name: of the device.
        received: items that came.
        ended: whether no more items come: only the stream ends a browser's devices.
        notes: what was wrong with the items: they are sent at once instead.
    """

    name = "device"
    ended = False
    notes: tuple[str, ...] = ()

    def __init__(self, size: int = _UNLIMITED) -> None:
        self._queue: BoundedQueue[Any] = BoundedQueue(size)
        self._taken = 0
        self._was_closed = False
        self.received = 0

    def push(self, item: Any) -> None:
        """Add an item, in the thread of the network."""
        self.received += 1
        self._queue.replace(item)

    @property
    def dropped(self) -> int:
        """Items that newer ones replaced."""
        return self._queue.lost

    lost_blocks = dropped

    def open(self, origin: float) -> BrowserDevice:
        """Return the device. If it has stopped, as in a hidden tab, it cannot be opened until it goes on.

        Raises:
            CaptureError: it delivers nothing.
        """
        del origin  # the browser measures times from the start of the stream
        if self._was_closed and self.received == self.dropped + self._taken:
            raise CaptureError(f"The {self.name} of the browser delivers nothing.")
        return self

    def close(self) -> None:
        """Stop to read the device."""
        self._was_closed = True

    def read(self, timeout: float | None = None) -> Any:
        """Return the next item; None after `timeout` seconds without one."""
        item = self._queue.get(timeout)
        self._taken += item is not None
        return item

    def __enter__(self) -> BrowserDevice:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class BrowserMicrophone(BrowserDevice):
    """Sound of a browser. None of it is lost: the server reads no more from a browser whose sound has to wait.

    Args:
        rate: samples per second.
    """

    name = "microphone"

    def __init__(self, rate: int) -> None:
        super().__init__()
        self._rate = rate
        self._clock = DeviceClock(rate)
        self._ready: collections.deque[Sound] = collections.deque()
        self._samples = self._used = 0

    def push(self, item: RawSound) -> None:
        """Add a block."""
        self._samples += len(item.samples)
        super().push(item)

    @property
    def seconds(self) -> float:
        """Sound that came, in seconds."""
        return self._samples / self._rate

    @property
    def waiting_seconds(self) -> float:
        """Sound that waits, in seconds."""
        return (self._samples - self._used) / self._rate

    def read(self, timeout: float | None = None) -> Sound | None:
        """Return the next sound at 16 kHz."""
        if not self._ready:
            block: RawSound | None = super().read(timeout)
            if block is None:
                return None
            self._used += len(block.samples)
            is_gap = self._clock.lateness(block.time) > GAP_SECONDS
            self._ready.extend(self._clock.push(block.time, block.samples, is_gap=is_gap))
        return self._ready.popleft() if self._ready else None


class BrowserCamera(BrowserDevice):
    """Pictures of a browser. Only the newest ones wait.

    Args:
        waiting: pictures that may wait.
        max_pixels: largest width times height.
        notice: called with one line for a picture that cannot be used.
    """

    name = "camera"

    def __init__(self, waiting: int, max_pixels: int, notice: Callable[[str], object]) -> None:
        super().__init__(waiting)
        self._max_pixels = max_pixels
        self._notice = notice
        self._newest = -1.0
        import_package("av")

    def read(self, timeout: float | None = None) -> Picture | None:
        """Return the next picture, decoded."""
        raw: RawPicture | None = super().read(timeout)
        if raw is None or raw.time <= self._newest:
            return None
        self._newest = raw.time
        try:
            return Picture(raw.time, decode_jpeg(raw.jpeg, self._max_pixels))
        except ValueError as error:
            self._notice(f"A picture was left out: {error}.")
            return None


def decode_jpeg(jpeg: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Return the pixels (height, width, 3) of a picture.

    Raises:
        ValueError: it is not a JPEG picture, or has more than `max_pixels` pixels.
    """
    av = import_package("av")
    width, height = jpeg_size(jpeg)
    if width * height > max_pixels:
        raise ValueError(f"it must have at most {max_pixels} pixels, got {width} x {height}")
    context = av.CodecContext.create("mjpeg", "r")  # a new one, so that a damaged picture cannot change the next
    context.thread_count = 1
    context.options = {"max_pixels": str(max_pixels)}  # a second header may state another size
    try:
        frames = context.decode(av.Packet(jpeg))
    except av.FFmpegError:
        frames = []
    if not frames:
        raise ValueError("it cannot be decoded")
    return upright_pixels(frames[0])


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """Return width and height of a JPEG picture, from its header.

    Raises:
        ValueError: it is not a JPEG picture.
    """
    position = 2
    while jpeg[:2] == b"\xff\xd8" and position + 9 <= len(jpeg) and jpeg[position] == 0xFF:
        marker, length = jpeg[position + 1], struct.unpack_from(">H", jpeg, position + 2)[0]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", jpeg, position + 5)
            if width and height:
                return width, height
            break
        if marker == 0xFF:  # fill bytes
            position += 1
        else:
            position += 2 + length
    raise ValueError("it is not a JPEG picture")
