"""`edge-msa-run serve` in headless Chromium, whose microphone and camera play files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from edge_msa_runtime import load
from edge_msa_runtime.live.opening import FrontEnds
from edge_msa_runtime.replay.player import PlayOptions
from edge_msa_runtime.serve.server import Server, address_of, open_socket
from edge_msa_runtime.serve.service import Service
from tests.integration.browser import PROGRAM, Browser
from tests.unit.runtime import fake_bundles, toy_text
from tests.unit.runtime.serve.stand_ins import LOCAL_NAMES, Color, Level, Loudness

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

ESPEAK = shutil.which("espeak-ng")
RATE = 48_000
SILENCE = 2.0
"""Seconds of the fake microphone before the first word."""
LIMIT = 2.0
"""Seconds from the first word to a prediction."""
UTTERANCES = 3
GUARD = Path(__file__).with_name("guard")


def write_bundle(folder: Path, monkeypatch: pytest.MonkeyPatch, audio: int, vision: int) -> None:
    """Write a fake bundle that takes words, and frames of the sizes of the front ends."""
    rng = np.random.default_rng(0)
    for name, size in (("audio", audio), ("vision", vision)):
        monkeypatch.setitem(fake_bundles.DIMS, name, size)
        for table, values in (
            (fake_bundles.PROJECTIONS, rng.normal(size=(size, fake_bundles.WIDTH)).astype("f4")),
            (fake_bundles.MEAN, np.zeros(size, "f4")),
            (fake_bundles.STD, np.ones(size, "f4")),
            (fake_bundles.LOW, np.full(size, -100, "f4")),
            (fake_bundles.HIGH, np.full(size, 100, "f4")),
        ):
            monkeypatch.setitem(table, name, values)
        monkeypatch.setitem(fake_bundles.MAX_NORMS, name, 1e6)
    fake_bundles.write_bundle(folder)
    toy_text.add_text_encoder(folder, "table")


def speak(path: Path, text: str, silence: float, after: float = 4.0) -> float:
    """Write a WAV file with silence, a text in a synthetic voice, and silence. Return the seconds of speech."""
    assert ESPEAK is not None
    speech = path.with_suffix(".speech.wav")
    subprocess.run([ESPEAK, "-v", "en-us", "-s", "150", "-w", str(speech), text], check=True)
    with wave.open(str(speech)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    resampled = np.interp(np.arange(0, len(samples), rate / RATE), np.arange(len(samples)), samples)
    loud = np.nonzero(np.abs(resampled) > 300)[0]
    resampled = resampled[loud[0] : loud[-1] + 1]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for part in (np.zeros(int(silence * RATE)), resampled, np.zeros(int(after * RATE))):
            file.writeframes(part.astype("<i2").tobytes())
    return len(resampled) / RATE


def draw_video(path: Path, picture: NDArray[np.uint8], seconds: float = 2.0) -> None:
    """Write a Y4M file that shows a picture."""
    import av

    with av.open(str(path), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("rawvideo", rate=30)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(int(30 * seconds)):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode(None))


class Served:
    """`edge-msa-run serve` in a process of its own, under the guard that refuses connections to other machines."""

    def __init__(self, folder: Path, bundle: Path, *options: str) -> None:
        self.log = folder / "guard.log"
        self.log.touch()
        commands = folder / "commands.json"
        commands.write_text(json.dumps([["edge-msa-run", "serve", str(bundle), "--port", "0", *options]]))
        environment = {
            **os.environ,
            "GUARD_LOG": str(self.log),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONUNBUFFERED": "1",
        }
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is not None:
            library = folder / "guard.so"
            subprocess.run([compiler, "-shared", "-fPIC", "-o", library, GUARD / "preload.c", "-ldl"], check=True)
            environment["LD_PRELOAD"] = str(library)
        self.output = folder / "serve.log"
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(GUARD / "drive.py"), str(commands), str(folder / "codes.json")],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
            )
        self.codes = folder / "codes.json"

    def address(self) -> str:
        """Wait until the server listens, and return its address."""
        end = time.monotonic() + 120
        while time.monotonic() < end and self._process.poll() is None:
            found = re.search(r"is at (http://\S+)", self.output.read_text())
            if found:
                return found[1]
            time.sleep(0.1)
        raise AssertionError(self.output.read_text())

    def end(self) -> list[int]:
        """Send Ctrl-C, and return the exit code of the command."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        codes: list[int] = json.loads(self.codes.read_text())
        return codes

    def left_the_machine(self) -> list[str]:
        """Return requests that would have left the machine."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not line.startswith(("create ", "command "))]


def find_onsets(browser: Browser) -> list[float]:
    """Return when the browser sent the first word of each utterance, on our clock."""
    onsets, quiet = [], 0.0
    rate = browser.sound_rate()
    for when, message in browser.sent_media():
        if message[0] == 1:
            samples = np.frombuffer(message, "<f4", offset=16)
            if np.abs(samples).max() <= 0.01:
                quiet += len(samples) / rate
                continue
            if quiet > 1.0:
                onsets.append(when)
            quiet = 0.0
    return onsets


def foreign_requests(log: Path, address: str) -> list[str]:
    """Return what the page requested from elsewhere, according to the browser's log of the network.

    The browser itself also looks for updates. These requests do not have the page as their initiator.
    """
    text = log.read_text()
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # the browser was killed
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    requested = []
    for event in events:
        parameters = event.get("params")
        if isinstance(parameters, dict) and str(parameters.get("initiator", "")).startswith("http"):
            requested.append(str(parameters.get("url")))
    own = urlsplit(address).netloc
    assert any(urlsplit(url).netloc == own for url in requested)
    return [url for url in requested if urlsplit(url).netloc != own]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for what a test writes, with one for the browser in it."""
    (tmp_path / "browser").mkdir()
    return tmp_path


def test_the_page_sends_what_the_microphone_and_the_camera_deliver(folder: Path) -> None:
    """A tone after two seconds, and an orange picture, arrive as such; predictions follow in real time."""
    seen: list[NDArray[np.uint8]] = []

    class Recorded(Color):
        def push(self, picture: Any) -> Any:
            seen.append(picture.pixels)
            return super().push(picture)

    tone = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    with wave.open(str(folder / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for part in (np.zeros(2 * RATE), 16_000 * tone, np.zeros(6 * RATE)):
            file.writeframes(part.astype("<i2").tobytes())
    draw_video(folder / "camera.y4m", np.full((480, 640, 3), (230, 120, 40), np.uint8))
    fake_bundles.write_bundle(folder / "bundle")
    with load(folder / "bundle") as session, open_socket("127.0.0.1", 0) as listener:
        service = Service(
            session,
            lambda sound, pictures: FrontEnds(Loudness() if sound else None, Recorded() if pictures else None, ()),
            Level,
            play_options=PlayOptions(0.5, stream={"max_gap": 1.0, "bad_frames": "drop"}),
        )
        address = address_of(listener)
        with (
            Server(service, listener, LOCAL_NAMES),
            Browser(folder / "browser", microphone=folder / "microphone.wav", camera=folder / "camera.y4m") as browser,
        ):
            browser.open(address)
            browser.wait(lambda: not browser.evaluate("document.querySelector('#start').disabled"))
            browser.click("#start")
            browser.wait(lambda: any(item["final"] for _, item in browser.received("prediction")))
            time.sleep(1)
            status = browser.received("status")[-1][1]
            media = [message for _, message in browser.sent_media()]
            predictions = [item for _, item in browser.received("prediction")]
            width = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            browser.click("#start")
            assert browser.text("#message") == "Stopped."
            assert browser.problems() == []
            assert {urlsplit(url).netloc for url in browser.requested()} == {urlsplit(address).netloc}
    assert width <= 0
    sound = np.concatenate([np.frombuffer(item, "<f4", offset=16) for item in media if item[0] == 1])
    rate = browser.sound_rate()
    start = int(np.nonzero(np.abs(sound) > 0.01)[0][0]) + rate // 10
    spectrum = np.abs(np.fft.rfft(sound[start : start + rate]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)
    assert {item["subset"] for item in predictions} == {"av"}
    assert status["pictures"]["dropped"] == 0
    assert status["waiting_seconds"] < 0.5
    counters = status["counters"]
    assert counters["audio"]["used"] == pytest.approx(100 * status["sound_seconds"], rel=0.1)
    assert counters["audio"]["missing"] == 0
    color = np.mean([pixels.mean(axis=(0, 1)) for pixels in seen], axis=0)
    np.testing.assert_allclose(color, [230, 120, 40], atol=6)
    assert {pixels.shape for pixels in seen} == {(480, 640, 3)}
    assert foreign_requests(browser.net_log, address) == []


def test_devices_that_are_unplugged_are_absent(folder: Path) -> None:
    """A browser would go on with silence and the last picture."""
    with wave.open(str(folder / "microphone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((16_000 * np.sin(np.arange(4 * RATE) / 10)).astype("<i2").tobytes())
    draw_video(folder / "camera.y4m", np.full((480, 640, 3), 100, np.uint8))
    fake_bundles.write_bundle(folder / "bundle")
    with load(folder / "bundle") as session, open_socket("127.0.0.1", 0) as listener:
        service = Service(
            session,
            lambda sound, pictures: FrontEnds(Loudness() if sound else None, Color() if pictures else None, ()),
            play_options=PlayOptions(0.2, stream={"max_gap": 0.5, "bad_frames": "drop"}),
        )
        with (
            Server(service, listener, LOCAL_NAMES) as server,
            Browser(folder / "browser", microphone=folder / "microphone.wav", camera=folder / "camera.y4m") as browser,
        ):
            browser.open(address_of(listener))
            browser.wait(lambda: not browser.evaluate("document.querySelector('#start').disabled"))
            browser.evaluate("document.querySelector('#start').focus()")
            browser.click("#start")
            browser.wait(lambda: any(item["subset"] == "av" for _, item in browser.received("prediction")))
            assert browser.evaluate("document.activeElement.id") == "start"
            browser.evaluate("live.tracks.find((track) => track.kind === 'audio').stop()")  # no event, only silence
            browser.wait(lambda: "The microphone stopped." in browser.text("#lost"))
            kinds = len(browser.sent_media())
            browser.wait(lambda: browser.received("prediction")[-1][1]["subset"] == "v")
            assert {message[0] for _, message in browser.sent_media()[kinds:]} == {2}
            assert "audio\nabsent" in browser.text("#modalities")
            browser.evaluate("live.tracks.find((track) => track.kind === 'video').dispatchEvent(new Event('ended'))")
            browser.wait(lambda: browser.text("#start") == "Start")
            stopped = "The microphone and the camera stopped. Connect them, and start again."
            assert browser.text("#message") == stopped
            assert browser.text("#modalities").split("\n")[1::2] == ["stopped"] * 3
            assert browser.problems() == []
            server.end()
            browser.click("#start")
            browser.wait(lambda: "The server does not answer. Start it again." in browser.text("#message"))


@pytest.mark.skipif(ESPEAK is None, reason="espeak-ng is not installed")
def test_a_prediction_arrives_within_two_seconds_of_the_first_word(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    face_model: Path,
    whisper_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from edge_msa.data.synthetic.faces import render_face
    from edge_msa_runtime.audio.front_end import AudioFrontEnd
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

    sizes = [len(front_end.source.names) for front_end in (AudioFrontEnd(), FaceFrontEnd(face_model))]
    write_bundle(folder / "bundle", monkeypatch, *sizes)
    speak(folder / "microphone.wav", "I love it. I love the film.", SILENCE)
    draw_video(folder / "camera.y4m", render_face())
    served = Served(folder, folder / "bundle", "--face-model", str(face_model), "--asr", f"whisper:{whisper_model}")
    try:
        address = served.address()
        with Browser(folder / "browser", microphone=folder / "microphone.wav", camera=folder / "camera.y4m") as browser:
            browser.open(address)
            browser.wait(lambda: not browser.evaluate("document.querySelector('#start').disabled"))
            browser.click("#start")
            # The fake microphone repeats its file.
            browser.wait(lambda: sum(item["final"] for _, item in browser.received("prediction")) >= UTTERANCES)
            words = browser.received("words")
            predictions = browser.received("prediction")
            status = browser.received("status")[-1][1]
            onsets = find_onsets(browser)
            assert browser.problems() == []
            assert {urlsplit(url).netloc for url in browser.requested()} == {urlsplit(address).netloc}
    finally:
        codes = served.end()
    assert codes == [130], served.output.read_text()
    assert "Traceback" not in served.output.read_text()
    onsets = onsets[:UTTERANCES]
    delays = {
        name: [
            min(when - onset for when, item in predictions if when > onset and name in item["subset"])
            for onset in onsets
        ]
        for name in ("a", "l")
    }
    text = " ".join(text for _, item in words for text in item["words"])
    with capsys.disabled():
        shown = {name: ", ".join(f"{delay:.2f}" for delay in values) for name, values in delays.items()}
        print(
            f"\nseconds from the first word of an utterance to a prediction: {shown['a']}; to one with the word: "
            f"{shown['l']}; recognized: {text!r}; pictures: {status['pictures']}"
        )
    assert "love" in text.lower()
    assert max(delays["a"]) < LIMIT
    assert min(delays["l"]) < LIMIT  # the others depend on what else this machine does
    assert {item["subset"] for _, item in predictions} >= {"av", "lav"}
    assert status["counters"]["vision"]["masked"] == 0  # there is a face in every picture
    assert foreign_requests(browser.net_log, address) == []
    assert served.left_the_machine() == []
