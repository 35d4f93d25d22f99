"""The microphone with a stand-in for sounddevice: no test here ran on a real device."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime.errors import BackendUnavailableError, CaptureError, EdgeMsaError, MediaError, UsageError
from edge_msa_runtime.media import microphone
from edge_msa_runtime.media.microphone import Microphone
from tests.media_files import gray_pictures, tone, write_media

pytest.importorskip("av")


class PortAudioError(Exception):
    """Stand-in for sounddevice.PortAudioError."""


class FakeSoundDevice(types.ModuleType):
    """A stand-in for sounddevice with three devices; `problem(rate, channels)` returns why a stream cannot open.

    `now` is the time of the computer. It passes while the stand-in delivers sound, by `drift` more than the sound has.
    """

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        super().__init__("sounddevice")
        self.devices = [
            {"index": 0, "name": "Speaker", "max_input_channels": 0, "default_samplerate": 48_000.0},
            {"index": 1, "name": "Built-in Microphone", "max_input_channels": 2, "default_samplerate": 48_000.0},
            {"index": 2, "name": "USB Microphone", "max_input_channels": 1, "default_samplerate": 44_100.0},
        ]
        self.opened: list[dict[str, Any]] = []
        self.now, self.drift = 100.0, 0.0
        self.problem: Callable[[int, int], str] = lambda _rate, _channels: ""

    def query_devices(self, device: int | None = None, kind: str | None = None) -> Any:
        if kind is not None:
            return self.devices[1]
        return self.devices if device is None else self.devices[device]

    def InputStream(self, **options: Any) -> Any:  # noqa: N802 - the name in sounddevice
        problem = self.problem(options["samplerate"], options["channels"])
        if problem:
            raise PortAudioError(problem)
        self.opened.append(options)
        return types.SimpleNamespace(start=lambda: None, abort=options["finished_callback"], close=lambda: None)

    def deliver(self, samples: Any, *, overflow: bool = False) -> None:
        """Call the callback as PortAudio does."""
        data = np.asarray(samples, np.float32).reshape(len(samples), -1)
        self.now += (1 + self.drift) * len(data) / self.opened[-1]["samplerate"]
        times = types.SimpleNamespace(inputBufferAdcTime=0.0, currentTime=0.0)
        self.opened[-1]["callback"](data, len(data), times, types.SimpleNamespace(input_overflow=overflow))


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> FakeSoundDevice:
    module = FakeSoundDevice()
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(microphone, "time", types.SimpleNamespace(monotonic=lambda: module.now))
    return module


def test_sound_of_a_microphone_has_consecutive_times(devices: FakeSoundDevice) -> None:
    with Microphone() as recording:
        for part in np.split(tone(0.5), 5):
            devices.deliver(part)
        recorded = [recording.read(0) for _ in range(6)]
    assert recording.name == "microphone 1 (Built-in Microphone)"
    assert recorded[5] is None
    found = [sound for sound in recorded if sound is not None]
    assert np.concatenate([sound.samples for sound in found]) == pytest.approx(tone(0.5), abs=1e-6)
    assert [sound.time - found[0].time for sound in found] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert (recording.lost_blocks, recording.notes, recording.ended) == (0, (), True)


def test_a_device_without_16_khz_or_one_channel_is_resampled(devices: FakeSoundDevice) -> None:
    devices.problem = lambda rate, channels: "" if (rate, channels) == (48_000, 2) else "Invalid sample rate"
    with Microphone("1") as recording:
        assert devices.opened[0]["blocksize"] == 4800
        for part in np.split(tone(1, 48_000), 10):
            devices.deliver(np.stack([part, part], axis=1))
        recorded = np.concatenate([sound.samples for sound in iter(lambda: recording.read(0), None)])
    assert len(recorded) > 15_900
    assert recorded[200:15_000] == pytest.approx(tone(1)[200:15_000], abs=2e-3)


def test_lost_blocks_are_counted_and_later_sound_has_its_time(devices: FakeSoundDevice) -> None:
    with Microphone() as recording:
        for _ in range(105):
            devices.deliver(np.full(1600, 0.1))
        assert recording.lost_blocks == 5
        recorded = [recording.read(0) for _ in range(100)]
        devices.deliver(np.full(1600, 0.1))
        last = recording.read(0)
    assert recorded[0] is not None
    assert last is not None
    assert last.time - recorded[0].time == pytest.approx(10.5)
    assert recording.notes == ("0.5 s of sound from microphone 1 (Built-in Microphone) lost: the program was too slow",)


def test_a_microphone_whose_clock_drifts_stays_in_time(devices: FakeSoundDevice) -> None:
    devices.drift = 2e-3
    with Microphone(origin=devices.now) as recording:
        for _ in range(600):
            devices.deliver(np.full(1600, 0.1))
            sound = recording.read(0)
            assert sound is not None
            assert sound.end == pytest.approx(devices.now - 100.0, abs=0.02)
    assert devices.now - 100.0 == pytest.approx(60.12)


def test_sound_that_the_device_lost_is_counted(devices: FakeSoundDevice) -> None:
    with Microphone() as recording:
        devices.deliver(np.full(1600, 0.1), overflow=True)
    assert recording.lost_blocks == 1
    assert recording.notes == ("microphone 1 (Built-in Microphone) lost sound 1 times: the computer was too busy",)


def test_a_muted_microphone_is_noted(devices: FakeSoundDevice) -> None:
    with Microphone() as recording:
        for _ in range(30):
            devices.deliver(np.zeros(1600))
        assert recording.notes == (
            "microphone 1 (Built-in Microphone) delivers only zeros: it is muted, or this program may not use it",
        )


def test_devices_are_found_by_number_and_by_part_of_their_name(devices: FakeSoundDevice) -> None:
    assert Microphone.list_devices() == ["1: Built-in Microphone", "2: USB Microphone"]
    assert Microphone("usb").name == "microphone 2 (USB Microphone)"
    assert Microphone("2").name == "microphone 2 (USB Microphone)"
    assert len(devices.opened) == 2


@pytest.mark.parametrize("device", ["0", "7", "Webcam", ""])
def test_a_wrong_name_lists_the_microphones(devices: FakeSoundDevice, device: str) -> None:
    with pytest.raises(UsageError) as error:
        Microphone(device)
    assert str(error.value) == (
        f"No microphone is called {device!r}. Microphones: 1: Built-in Microphone, 2: USB Microphone."
    )
    assert not devices.opened


def test_a_name_of_several_microphones_is_refused(devices: FakeSoundDevice) -> None:
    with pytest.raises(UsageError, match=r"Several microphones are called 'microphone'\. Pass a number\."):
        Microphone("microphone")
    assert not devices.opened


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("Error opening InputStream: Device unavailable [PaErrorCode -9985]", "is in use by another program. Close"),
        ("Error opening InputStream: Permission denied", "may not be used: permission denied. Allow it: on Linux"),
        ("Error opening InputStream:\nInternal error", "cannot be opened (Error opening InputStream: Internal error)."),
    ],
)
def test_a_device_that_cannot_be_used_gets_one_line(devices: FakeSoundDevice, problem: str, message: str) -> None:
    devices.problem = lambda _rate, _channels: problem
    with pytest.raises(CaptureError) as error:
        Microphone()
    assert f"microphone 1 (Built-in Microphone) {message}" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_microphone_and_a_forbidden_one_get_one_line(
    devices: FakeSoundDevice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    devices.devices = devices.devices[:1]
    monkeypatch.setattr(microphone, "_SOUND_DEVICES", tmp_path)
    with pytest.raises(CaptureError, match=r"^No microphone was found\. Connect one, or pass file:PATH"):
        Microphone()
    (tmp_path / "pcmC0D0c").touch()
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    with pytest.raises(CaptureError, match=r"You may not use .*pcmC0D0c\. Run: sudo usermod -aG audio"):
        Microphone()


def test_a_device_that_is_unplugged_ends_the_recording(devices: FakeSoundDevice) -> None:
    recording = Microphone()
    devices.deliver(np.full(1600, 0.1))
    devices.opened[0]["finished_callback"]()
    assert recording.read(0) is not None
    with pytest.raises(CaptureError, match=r"^microphone 1 .* stopped\. Check that it is connected\."):
        recording.read(0)


def test_a_device_that_goes_silent_is_reported(devices: FakeSoundDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microphone, "PATIENCE", 0.05)
    with Microphone() as recording, pytest.raises(CaptureError, match=r"has delivered no sound for 0\.05 s"):
        next(iter(recording))
    assert len(devices.opened) == 1


def test_without_portaudio_the_message_names_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(name: str) -> Any:
        from edge_msa_runtime.errors import PackageImportError

        raise PackageImportError(
            f"{name} 0.5 is installed, but its import fails (PortAudio library not found)", "x", name
        )

    monkeypatch.setattr(microphone, "import_package", find_nothing)
    with pytest.raises(BackendUnavailableError, match="sudo apt-get install libportaudio2"):
        Microphone()


def test_a_file_is_played_in_place_of_a_microphone(tmp_path: Path) -> None:
    import time

    path = write_media(tmp_path / "x.wav", sound=tone(0.3), codec="pcm_s16le")
    started = time.monotonic()
    with Microphone(f"file:{path}") as recording:
        recorded = list(recording)
    assert time.monotonic() - started >= 0.2
    assert np.concatenate([sound.samples for sound in recorded]) == pytest.approx(tone(0.3), abs=1e-3)
    with pytest.raises(MediaError, match="has no sound"):
        Microphone(f"file:{write_media(tmp_path / 'x.mp4', pictures=gray_pictures(3))}")
    with pytest.raises(EdgeMsaError, match="does not exist"):
        Microphone(f"file:{tmp_path / 'y.wav'}")
