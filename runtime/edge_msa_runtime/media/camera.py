"""Pictures from a camera."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from edge_msa_runtime.errors import CaptureError, MediaError, UsageError
from edge_msa_runtime.media.capture import PATIENCE, BoundedQueue, CaptureDevice, Pacer, one_line, stand_in_file
from edge_msa_runtime.media.files import MediaFile, open_media
from edge_msa_runtime.media.pictures import PictureClock, upright_pixels
from edge_msa_runtime.media.signals import Picture
from edge_msa_runtime.vendor_packages import import_package

_SIZE = "640x480"
_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
# FFmpeg's pictures without a camera: `lavfi:testsrc2=size=640x480:rate=30`.
_GENERATED = "lavfi:"
_VIDEO_DEVICES = Path("/dev")
_VIDEO_NAMES = Path("/sys/class/video4linux")


class Camera(CaptureDevice[Picture]):
    """Takes pictures with a camera. Iterate, or call `read`, to get the newest `Picture`.

    A thread receives pictures from the moment that the object is created. It keeps only the newest one: a program that
    is slower than the camera gets fewer pictures, never old ones. `dropped` counts the others.

    Args:
        device: `0` for the first camera, another number, or a path such as `/dev/video2`; on Windows and macOS a name
            also. `file:PATH` plays a video at its own speed, to try a program without a camera.
        rate: pictures per second, at most.
        origin: the time that is 0, on the clock `time.monotonic()`. Pass the same one to a microphone. By default it
            is now.

    Attributes:
        name: name of the device.

    Raises:
        CaptureError: there is no such device, another program uses it, or its use is not allowed.
        PackageImportError: PyAV is not installed.
    """

    def __init__(self, device: str = "0", rate: float = 15.0, *, origin: float | None = None) -> None:
        if not 0 < rate < float("inf"):
            raise UsageError(f"rate must be a number above 0, got {rate:g}.")
        self._origin = time.monotonic() if origin is None else origin
        self._clock = PictureClock(rate)
        self._newest: BoundedQueue[tuple[float, Any]] = BoundedQueue(1)
        self._pacer = Pacer()
        self._stopping = threading.Event()
        self._file: MediaFile | None = None
        path = stand_in_file(device)
        if path is not None:
            self.name = device
            file = open_media(path, sound=False, picture_rate=None)
            if not file.has_pictures:
                raise MediaError(f"{path} has no pictures. Choose another file.")
            self._file = file
            source: Any = self._play(file)
        else:
            self.name, container = _open(device, rate)
            source = self._receive(container, paced=device.startswith(_GENERATED))
        self._thread = threading.Thread(target=self._run, args=(source,), name="edge-msa camera", daemon=True)
        self._thread.start()

    @staticmethod
    def list_devices() -> list[str]:
        """Return the cameras that can be found: `/dev/video0: Integrated Camera`."""
        return [f"{path}: {name}" if name else path for path, name in _cameras()]

    @property
    def dropped(self) -> int:
        """Pictures that a newer one replaced before the program read them."""
        return self._newest.lost

    @property
    def ended(self) -> bool:
        """Whether no more pictures come."""
        return self._newest.ended

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with the pictures so far, one line each."""
        dropped = (f"{self.dropped} pictures of {self.name} dropped to keep up",) if self.dropped else ()
        return dropped + tuple(f"{self.name}: {note}" for note in (self._file.notes if self._file else ()))

    def read(self, timeout: float | None = PATIENCE) -> Picture | None:
        """Return the newest picture that was not read yet.

        Args:
            timeout: seconds to wait for it. None waits for up to 5 s, and then reports that the device stopped.

        Returns:
            The picture; None after the timeout, or if the camera has ended.

        Raises:
            CaptureError: the camera stopped.
        """
        newest = self._newest.get(PATIENCE if timeout is None else timeout)
        if newest is None:
            if timeout is None and not self.ended:
                raise CaptureError(
                    f"{self.name} has delivered no picture for {PATIENCE:g} s. Check that it is connected."
                )
            return None
        taken, frame = newest
        return Picture(taken, frame if isinstance(frame, np.ndarray) else upright_pixels(frame))

    def close(self) -> None:
        """Release the camera. `read` then returns the last picture, if it was not read."""
        self._stopping.set()
        self._pacer.stop()
        # A camera that was unplugged may block its thread for ever; the thread ends with the program.
        self._thread.join(PATIENCE)
        self._newest.end()

    def _run(self, source: Iterator[tuple[float, Any]]) -> None:
        try:
            for taken, frame in source:
                if self._stopping.is_set():
                    return
                if taken >= 0 and self._clock.choose(taken):
                    self._newest.replace((taken, frame))
        except Exception as error:  # noqa: BLE001, whatever it is, the program must learn of it
            self._newest.end(error)
        else:
            self._newest.end()

    def _play(self, file: Any) -> Iterator[tuple[float, Any]]:
        for picture in file:
            if not self._pacer.wait(picture.time):
                return
            yield time.monotonic() - self._origin, picture.pixels

    def _receive(self, container: Any, *, paced: bool) -> Iterator[tuple[float, Any]]:
        av = import_package("av")
        try:
            for frame in container.decode(video=0):
                if paced and not self._pacer.wait(float(frame.time or 0.0)):
                    return
                yield time.monotonic() - self._origin, frame
        except av.FFmpegError as error:
            raise CaptureError(
                f"{self.name} stopped ({one_line(error.strerror)}). Check that it is connected."
            ) from error
        finally:
            container.close()
        if not paced:
            raise CaptureError(f"{self.name} stopped. Check that it is connected.")


def _open(device: str, rate: float) -> tuple[str, Any]:
    av = import_package("av")
    if device.startswith(_GENERATED):
        try:
            return device, av.open(device[len(_GENERATED) :], format="lavfi")
        except av.FFmpegError as wrong:
            raise CaptureError(f"{device} is no source of pictures of FFmpeg ({one_line(wrong.strerror)}).") from wrong
    form = _FORMATS.get(sys.platform, "v4l2")
    address = _address(device, form)
    name = f"camera {address}"
    # Cameras have few rates, often 30 and 15: the driver chooses the nearest one, and the clock the pictures.
    choices = [{"framerate": f"{max(rate, 30.0):g}", "video_size": _SIZE}, {"video_size": _SIZE}, {}]
    error: OSError | None = None
    for options in choices:
        try:
            return name, av.open(address, format=form, options=options)
        except (av.FFmpegError, OSError) as problem:
            error = problem
            if problem.errno not in {errno.EINVAL, errno.EIO}:
                break
    raise CaptureError(_explain(name, address, error)) from error


def _address(device: str, form: str) -> str:
    if form == "v4l2":
        return f"/dev/video{device}" if device.isdecimal() else device
    if form == "dshow" and not device.isdecimal():
        return f"video={device}"
    return device


def _cameras() -> list[tuple[str, str]]:
    cameras = []
    for path in sorted(_VIDEO_DEVICES.glob("video*")):
        if path.name[5:].isdecimal():
            name = _VIDEO_NAMES / path.name / "name"
            cameras.append((str(path), name.read_text(encoding="utf-8").strip() if name.is_file() else ""))
    return cameras


def _list() -> str:
    cameras = Camera.list_devices()
    return f"Cameras: {', '.join(cameras)}." if cameras else "No camera was found: connect one, or pass file:PATH."


def _explain(name: str, address: str, error: OSError | None) -> str:
    number = error.errno if error is not None else None
    if number in {errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTTY}:
        return f"{name} {'is not a camera' if number == errno.ENOTTY else 'does not exist'}. {_list()}"
    if number in {errno.EACCES, errno.EPERM} or (Path(address).exists() and not os.access(address, os.R_OK)):
        return f"{name} may not be used: permission denied. Run: sudo usermod -aG video $USER, and log in again."
    if number in {errno.EBUSY, errno.EAGAIN}:
        return f"{name} is in use by another program. Close that program, or choose another camera. {_list()}"
    return f"{name} cannot be opened ({one_line(error)}). Choose another camera. {_list()}"
