"""Sound from a microphone."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa_runtime.errors import BackendUnavailableError, CaptureError, MediaError, PackageImportError, UsageError
from edge_msa_runtime.media.capture import PATIENCE, BoundedQueue, CaptureDevice, Pacer, one_line, stand_in_file
from edge_msa_runtime.media.device_clock import DeviceClock
from edge_msa_runtime.media.files import BLOCK, open_media
from edge_msa_runtime.media.resampling import mean_of_channels
from edge_msa_runtime.media.signals import GAP_SECONDS, SAMPLE_RATE, Sound
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The program may be busy for so long, in blocks of 0.1 s, before sound is lost.
_QUEUE_BLOCKS = 100
_BLOCK_SECONDS = BLOCK / SAMPLE_RATE
# So many seconds of exact zeros come from no microphone that is on.
_SILENCE = 3.0
_SOUND_DEVICES = Path("/dev/snd")


class Microphone(CaptureDevice[Sound]):
    """Records from a microphone. Iterate, or call `read`, to get `Sound` of 0.1 s at 16 kHz.

    Recording starts when the object is created. The device fills a queue of 10 s. If the program takes longer, new
    blocks are lost; `lost_blocks` counts them, and the `Sound` after them has a later time.

    Args:
        device: `default`, a number, or a part of a name, as `Microphone.list_devices()` shows them. `file:PATH` plays
            the sound of a file at its own speed, to try a program without a microphone.
        origin: the time that is 0, on the clock `time.monotonic()`. Pass the same one to a camera. By default it is
            now.

    Attributes:
        name: name of the device.

    Raises:
        CaptureError: there is no such device, another program uses it, or its use is not allowed.
        PackageImportError: sounddevice or PyAV is not installed.
    """

    def __init__(self, device: str = "default", *, origin: float | None = None) -> None:
        self._origin = time.monotonic() if origin is None else origin
        self._queue: BoundedQueue[Sound] = BoundedQueue(_QUEUE_BLOCKS)
        self._overflows = 0
        self._zeros = 0.0
        self._audible = False
        self._stream: Any = None
        self._pacer = Pacer()
        self._thread: threading.Thread | None = None
        path = stand_in_file(device)
        if path is None:
            self.name = self._open(device)
        else:
            self.name = device
            self._play(path)

    @staticmethod
    def list_devices() -> list[str]:
        """Return the number and the name of each microphone: `2: USB Audio`.

        Raises:
            PackageImportError: sounddevice or the library PortAudio is not installed.
        """
        return [f"{index}: {name}" for index, name in _inputs(_import_sounddevice())]

    @property
    def lost_blocks(self) -> int:
        """Blocks of 0.1 s that the program was too slow for, and times when the device itself lost sound."""
        return self._queue.lost + self._overflows

    @property
    def ended(self) -> bool:
        """Whether no more sound comes."""
        return self._queue.ended

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with the sound so far, one line each."""
        notes = []
        if self._queue.lost:
            seconds = self._queue.lost * _BLOCK_SECONDS
            notes.append(f"{seconds:.1f} s of sound from {self.name} lost: the program was too slow")
        if self._overflows:
            notes.append(f"{self.name} lost sound {self._overflows} times: the computer was too busy")
        if not self._audible and self._zeros >= _SILENCE:
            notes.append(f"{self.name} delivers only zeros: it is muted, or this program may not use it")
        return tuple(notes)

    def read(self, timeout: float | None = PATIENCE) -> Sound | None:
        """Return the next block of sound.

        Args:
            timeout: seconds to wait for it. None waits for up to 5 s, and then reports that the device stopped.

        Returns:
            The sound; None after the timeout, or if the recording has ended.

        Raises:
            CaptureError: the device stopped.
        """
        sound = self._queue.get(PATIENCE if timeout is None else timeout)
        if sound is None and timeout is None and not self.ended:
            raise CaptureError(f"{self.name} has delivered no sound for {PATIENCE:g} s. Check that it is connected.")
        return sound

    def close(self) -> None:
        """Stop recording. `read` then returns what is in the queue."""
        self._pacer.stop()
        if self._thread is not None:
            self._thread.join()
        self._queue.end()
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(Exception):  # a device that was unplugged cannot be stopped
                stream.abort()
            with contextlib.suppress(Exception):
                stream.close()

    def _open(self, device: str) -> str:
        sounddevice = _import_sounddevice()
        index, information = _find(sounddevice, device)
        name = f"microphone {index} ({information['name']})"
        channels = max(1, int(information["max_input_channels"]))
        device_rate = int(information["default_samplerate"])
        # Most devices take 16 kHz and one channel. Some take only what they have.
        settings = [(SAMPLE_RATE, 1), (device_rate, 1), (device_rate, channels)]
        error: Exception | None = None
        for rate, count in dict.fromkeys(settings):
            recorder = _Recorder(rate, self._origin, self._receive, self._note_overflow)
            try:
                stream = sounddevice.InputStream(
                    samplerate=rate,
                    channels=count,
                    device=index,
                    dtype="float32",
                    blocksize=round(rate * _BLOCK_SECONDS),
                    callback=recorder,
                    finished_callback=self._stopped,
                )
                stream.start()
            except (sounddevice.PortAudioError, OSError, ValueError) as problem:
                error = error or problem
                if _is_busy(problem):
                    break
                continue
            self._stream = stream
            return name
        raise CaptureError(_explain(name, error, _inputs(sounddevice))) from error

    def _play(self, path: Path) -> None:
        file = open_media(path, pictures=False)
        if not file.has_sound:
            raise MediaError(f"{path} has no sound. Choose another file.")
        started = time.monotonic() - self._origin

        def play() -> None:
            try:
                for sound in file:
                    if not self._pacer.wait(sound.end):  # type: ignore[union-attr]
                        return
                    self._receive(Sound(started + sound.time, sound.samples))  # type: ignore[union-attr]
            except Exception as error:  # noqa: BLE001, whatever it is, the program must learn of it
                self._queue.end(error)
            else:
                self._queue.end()

        self._thread = threading.Thread(target=play, name="edge-msa microphone", daemon=True)
        self._thread.start()

    def _note_overflow(self) -> None:
        self._overflows += 1

    def _receive(self, sound: Sound) -> None:
        if not self._audible:
            self._audible = bool(sound.samples.any())
            self._zeros += len(sound.samples) / SAMPLE_RATE
        self._queue.put(sound)

    def _stopped(self) -> None:
        self._queue.end(
            None if self._stream is None else CaptureError(f"{self.name} stopped. Check that it is connected.")
        )


class _Recorder:
    """The callback of a device: turns its blocks into `Sound` with times."""

    def __init__(self, rate: int, origin: float, receive: Any, overflowed: Any) -> None:
        self._rate = rate
        self._origin = origin
        self._receive = receive
        self._overflowed = overflowed
        self._clock = DeviceClock(rate)

    def __call__(self, data: NDArray[np.float32], frames: int, times: Any, status: Any) -> None:
        """Receive samples (frames, channels). PortAudio calls this in a thread of its own."""
        overflow = bool(status and status.input_overflow)
        time_of_first = self._time_of_first(frames, times)
        is_gap = overflow and self._clock.lateness(time_of_first) > GAP_SECONDS
        for sound in self._clock.push(time_of_first, mean_of_channels(np.array(data, np.float32)), is_gap=is_gap):
            self._receive(sound)
        if overflow:
            self._overflowed()

    def _time_of_first(self, frames: int, times: Any) -> float:
        """Return when the first sample was recorded, by the device's clock if that is plausible."""
        age = frames / self._rate
        recorded, now = float(times.inputBufferAdcTime), float(times.currentTime)
        if recorded > 0 and 0 <= now - recorded < 1:
            age = max(age, now - recorded)
        return time.monotonic() - age - self._origin


def _import_sounddevice() -> Any:
    try:
        return import_package("sounddevice")
    except PackageImportError as error:
        if "PortAudio" in error.reason:
            raise BackendUnavailableError(
                "sounddevice needs the library PortAudio, which is not installed. "
                "Install it, on Debian and Ubuntu with: sudo apt-get install libportaudio2"
            ) from error
        raise


def _inputs(sounddevice: Any) -> list[tuple[int, str]]:
    try:
        devices = list(sounddevice.query_devices())
    except sounddevice.PortAudioError:
        return []
    return [(k, str(device["name"])) for k, device in enumerate(devices) if device["max_input_channels"] > 0]


def _find(sounddevice: Any, device: str) -> tuple[int, Any]:
    """Return the number of a microphone and what PortAudio knows about it."""
    inputs = _inputs(sounddevice)
    if not inputs:
        raise CaptureError(f"No microphone was found. {_advice()}")
    if device == "default":
        try:
            information = sounddevice.query_devices(kind="input")
        except (sounddevice.PortAudioError, ValueError):
            return inputs[0][0], sounddevice.query_devices(inputs[0][0])
        return int(information["index"]), information
    if device.isdecimal():
        found = [index for index, _ in inputs if index == int(device)]
    else:
        found = [index for index, name in inputs if name == device]
        found = found or [index for index, name in inputs if device and device.lower() in name.lower()]
    if not found:
        raise UsageError(f"No microphone is called {device!r}. {_list(inputs)}")
    if len(found) > 1:
        raise UsageError(f"Several microphones are called {device!r}. Pass a number. {_list(inputs)}")
    return found[0], sounddevice.query_devices(found[0])


def _list(inputs: list[tuple[int, str]]) -> str:
    return f"Microphones: {', '.join(f'{index}: {name}' for index, name in inputs)}."


def _advice() -> str:
    if _SOUND_DEVICES.is_dir():
        captures = sorted(_SOUND_DEVICES.glob("pcm*c"))
        if captures and not any(os.access(path, os.R_OK | os.W_OK) for path in captures):
            return f"You may not use {captures[0]}. Run: sudo usermod -aG audio $USER, and log in again."
    return "Connect one, or pass file:PATH to play a file."


def _is_busy(error: Exception) -> bool:
    text = str(error).lower()
    return "device unavailable" in text or "busy" in text or "-9985" in text


def _explain(name: str, error: Exception | None, inputs: list[tuple[int, str]]) -> str:
    text = str(error).lower()
    if _is_busy(error or Exception()):
        return f"{name} is in use by another program. Close that program, or choose another device. {_list(inputs)}"
    if "permission" in text or "not permitted" in text or "access" in text:
        return f"{name} may not be used: permission denied. {_permission()}"
    return f"{name} cannot be opened ({one_line(error)}). Choose another device. {_list(inputs)}"


def _permission() -> str:
    return "Allow it: on Linux, run sudo usermod -aG audio $USER and log in again; elsewhere, in the privacy settings."
