"""The predictions of one browser, with threads of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping

from edge_msa_runtime.live.device_input import DeviceInput
from edge_msa_runtime.replay.items import END_UTTERANCE, PREDICT, RESET, Control, WordChunk
from edge_msa_runtime.replay.log import PREDICTION_FIELDS
from edge_msa_runtime.replay.player import Player
from edge_msa_runtime.replay.status import MadePrediction, Observer, Status
from edge_msa_runtime.serve.browser_devices import BrowserCamera, BrowserMicrophone
from edge_msa_runtime.serve.wire import RECOGNIZED, Command, RawPicture, RawSound, Start, TypedWords

if TYPE_CHECKING:
    from edge_msa_runtime.replay.items import Item
    from edge_msa_runtime.replay.scenarios import Arrival
    from edge_msa_runtime.serve.service import Service
    from edge_msa_runtime.serve.wire import ClientMessage, Media
    from edge_msa_runtime.streams.events import StreamEvent

    Send = Callable[[Mapping[str, Any]], object]

_STATUS_SECONDS = 1.0
_AHEAD_SECONDS = 10.0
"""Sound and pictures may come so many seconds before their times: what a slow network has delayed comes at once."""
_SHOWN_EVENTS = ("absent", "returned", "expired", "refused")
"""Events that the page shows. Others are in the counters."""


class TooLateError(Exception):
    """The server is too slow for a live stream. The text is one line."""


class LiveStream:
    """Turns what a browser sends into predictions.

    Args:
        service: what is served.
        start: what the browser sends.
        send: sends a message to the browser, from any thread.
    """

    def __init__(self, service: Service, start: Start, send: Send) -> None:
        self._limits = limits = service.limits
        self._work = service.work

        def tell(message: str) -> None:  # no method: its object would refer to itself, and stay in memory
            send({"type": "note", "message": message})

        self._messages = (0, 0)  # in this second
        self._send = send
        self._start = start
        self._microphone = None if start.sound_rate is None else BrowserMicrophone(start.sound_rate)
        self._camera = BrowserCamera(limits.pictures, limits.picture_pixels, tell) if start.pictures else None
        self._status = Status()
        is_recognized = start.words == RECOGNIZED
        options = service.choose_play_options(recognized=is_recognized)
        self._player = Player(service.session, options, self._status, [_Sender(send)])
        words = service.listen() if is_recognized else None
        converter = service.create_converter(sound=start.sound_rate is not None, pictures=start.pictures)
        self._input = DeviceInput(converter, words, notice=tell, until_closed=True)
        if self._microphone is not None:
            self._input.add_microphone(self._microphone.open)
        if self._camera is not None:
            self._input.add_camera(self._camera.open)

    @property
    def waiting_seconds(self) -> float:
        """Sound that waits to be processed, in seconds."""
        return 0.0 if self._microphone is None else self._microphone.waiting_seconds

    def push(self, received: Media | ClientMessage) -> None:
        """Take a message of the browser.

        Raises:
            ValueError: it was not announced at the start.
            TooLateError: too much sound waits for the recognizer.
        """
        if isinstance(received, Start):
            raise ValueError("the stream has started already")  # noqa: TRY004
        if isinstance(received, RawSound):
            if self._microphone is None:
                raise ValueError("sound was not announced at the start")
            self._microphone.push(received)
            if self._microphone.seconds > self._input.now + _AHEAD_SECONDS:
                raise ValueError("sound must not come faster than it is recorded")
            if self._input.waiting_seconds > self._limits.unrecognized_seconds:
                raise TooLateError(
                    f"The recognizer is {self._limits.unrecognized_seconds:g} s late. Close other live streams, or "
                    "start the server with a smaller model."
                )
        elif isinstance(received, RawPicture):
            if self._camera is None:
                raise ValueError("pictures were not announced at the start")
            if received.time > self._input.now + _AHEAD_SECONDS:  # later ones would count as old
                raise ValueError("pictures must not come before they are taken")
            self._camera.push(received)
        else:
            self._count_message()
            self._input.put(_items(received))

    def _count_message(self) -> None:
        second = int(self._input.now)
        self._messages = (second, self._messages[1] + 1 if second == self._messages[0] else 1)
        if self._messages[1] > self._limits.messages:
            raise ValueError(f"there must be at most {self._limits.messages} words and commands per second")

    def open(self) -> None:
        """Let the time start now."""
        self._input.open()

    def close(self) -> None:
        """End `play` soon, and wait for the threads, which complete what they are computing."""
        self._input.close()
        self._input.wait()

    def play(self) -> None:
        """Predict until `close` is called, or the server ends.

        Raises:
            EdgeMsaError: the backend, a front end or the recognizer failed.
        """
        self._player.play(self._report(self._input.arrivals()))

    def _report(self, arrivals: Iterator[Arrival]) -> Iterator[Arrival]:
        """Yield the arrivals, and send the counts every second."""
        due = 0.0
        for arrival in arrivals:
            yield arrival
            if self._work.is_ending:
                return
            now = time.monotonic()
            if now >= due:
                due = now + _STATUS_SECONDS
                self._send(self._describe())

    def _describe(self) -> Mapping[str, Any]:
        camera, microphone = self._camera, self._microphone
        return {
            "type": "status",
            "pictures": {"received": camera.received if camera else 0, "dropped": camera.dropped if camera else 0},
            "sound_seconds": round(microphone.seconds, 3) if microphone else 0.0,
            "waiting_seconds": round(self.waiting_seconds, 3),
            "unrecognized_seconds": round(self._input.waiting_seconds, 3),
            "overdue": self._status.overdue,
            "counters": {name: item.to_json() for name, item in self._status.counters.items()},
        }


def _items(received: TypedWords | Command) -> list[Item]:
    """Return what typed words and buttons are in a stream."""
    if isinstance(received, Command):
        return [Control(RESET if received.kind == "reset" else END_UTTERANCE, received.time)]
    words = tuple(received.text.split())
    return [WordChunk(words, timestamp=received.time), Control(PREDICT, received.time)] if words else []


class _Sender(Observer):
    """Sends what happens to the browser."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def on_prediction(self, made: MadePrediction) -> None:
        """Send a prediction."""
        prediction = made.prediction
        fields = {name: getattr(prediction, name) for name in PREDICTION_FIELDS}
        warnings = list(prediction.warnings)
        self._send({"type": "prediction", "at": made.at, "final": made.is_final, **fields, "warnings": warnings})

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Send words that the stream has accepted."""
        del elapsed
        self._send({"type": "words", "words": list(words.words), "times": words.times})

    def on_event(self, elapsed: float, event: StreamEvent) -> None:
        """Send an event."""
        del elapsed
        if event.kind in _SHOWN_EVENTS:
            self._send({"type": "note", "message": event.message})

    def on_error(self, elapsed: float, origin: str, message: str) -> None:
        """Send an error of the input."""
        del elapsed
        self._send({"type": "note", "message": f"{origin}: {message}" if origin else message})
