"""Headless Chromium, driven through the DevTools protocol. Its camera and microphone play files."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    from typing_extensions import Self

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_SECONDS = 60.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--remote-debugging-port=0",
    "--mute-audio",
)


class Browser:
    """A browser with one page. Use it as a context manager.

    Args:
        folder: an empty folder for the profile and the log of the network.
        microphone: a WAV file that is the microphone; None for a browser without fake devices.
        camera: a Y4M or MJPEG file that is the camera.
        flags: further flags.

    Attributes:
        events: what the page reported, with the time at which it arrived (`time.monotonic`).
    """

    def __init__(
        self, folder: Path, *, microphone: Path | None = None, camera: Path | None = None, flags: Sequence[str] = ()
    ) -> None:
        assert PROGRAM is not None
        self.net_log = folder / "net.json"
        devices = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"] if microphone else []
        if microphone:
            devices.append(f"--use-file-for-fake-audio-capture={microphone}")
        if camera:
            devices.append(f"--use-file-for-fake-video-capture={camera}")
        profile = folder / "profile"
        profile.mkdir()
        own = [f"--user-data-dir={profile}", f"--log-net-log={self.net_log}", f"--crash-dumps-dir={folder}"]
        self._errors = (folder / "chromium.log").open("w+")
        environment = {
            **os.environ,
            "HOME": str(profile),
            "XDG_CONFIG_HOME": str(profile),
            "XDG_CACHE_HOME": str(profile),
        }
        self._process = subprocess.Popen(
            [PROGRAM, *_FLAGS, *own, *devices, *flags, "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=environment,
            start_new_session=True,
        )
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._count = 0

    def __enter__(self) -> Self:
        from websockets.sync.client import connect

        try:
            port = self._find_port()
            with urlopen(f"http://127.0.0.1:{port}/json/list") as response:
                pages = [target for target in json.load(response) if target["type"] == "page"]
            self._socket = connect(pages[0]["webSocketDebuggerUrl"], max_size=None, compression=None)
        except BaseException:
            self._end()
            raise
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser, which completes its log of the network."""
        if self._process.poll() is None:
            self.send("Browser.close", wait=False)
        self._thread.join(10)
        self._socket.close()
        self._end()

    def _end(self) -> None:
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _find_port(self) -> str:
        end = time.monotonic() + _SECONDS
        path = Path(self._errors.name)
        while time.monotonic() < end and self._process.poll() is None:
            found = re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", path.read_text())
            if found:
                return found[1]
            time.sleep(0.05)
        raise RuntimeError(f"Chromium does not start: {path.read_text()[-2000:]}")

    def _receive(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            for text in self._socket:
                message = json.loads(text)
                with self._changed:
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self.events.append((time.monotonic(), message["method"], message["params"]))
                    self._changed.notify_all()
        except ConnectionClosed:
            pass

    def send(self, method: str, *, wait: bool = True, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        with self._changed:
            self._count += 1
            number = self._count
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        if not wait:
            return {}
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._answers, _SECONDS):
                raise TimeoutError(method)
            answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression in the page; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def open(self, address: str) -> None:
        """Open an address and wait until it is loaded."""
        before = len(self.events)
        self.send("Page.navigate", url=address)
        self.wait(lambda: any(name == "Page.loadEventFired" for _, name, _ in self.events[before:]))

    def wait(self, condition: Callable[[], object], seconds: float = _SECONDS) -> None:
        """Wait until a condition is true.

        Raises:
            TimeoutError: it is not true in time.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click on an element as a person does."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def screenshot(self, path: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Write a picture of the whole page."""
        size: dict[str, Any] = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = "dark" if dark else "light"
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        time.sleep(0.3)
        data = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def received(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        """Return the messages of a type that the page received over its WebSocket, with their times."""
        frames = [(when, item) for when, name, item in self.events if name == "Network.webSocketFrameReceived"]
        messages = [(when, json.loads(item["response"]["payloadData"])) for when, item in frames]
        return [(when, message) for when, message in messages if message.get("type") == kind]

    def sent_media(self) -> list[tuple[float, bytes]]:
        """Return the binary messages that the page sent, with their times."""
        frames = [(when, item["response"]) for when, name, item in self.events if name == "Network.webSocketFrameSent"]
        return [(when, base64.b64decode(frame["payloadData"])) for when, frame in frames if frame["opcode"] == 2]

    def sound_rate(self) -> int:
        """Return the sampling rate that the page stated."""
        frames = [item["response"]["payloadData"] for _, name, item in self.events if name.endswith("FrameSent")]
        return int(next(json.loads(text)["sound_rate"] for text in frames if '"start"' in text))

    def problems(self) -> list[str]:
        """Return errors that the page logged, violations of its policy included."""
        found = []
        for _, name, item in self.events:
            if name == "Runtime.exceptionThrown":
                found.append(str(item["exceptionDetails"]))
            elif name == "Log.entryAdded" and item["entry"]["level"] == "error":
                found.append(item["entry"]["text"])
            elif name == "Runtime.consoleAPICalled" and item["type"] == "error":
                found.append(str(item["args"]))
        return found

    def requested(self) -> list[str]:
        """Return all addresses that the page requested."""
        names = {"Network.requestWillBeSent", "Network.webSocketCreated"}
        return [item.get("url") or item["request"]["url"] for _, name, item in self.events if name in names]
