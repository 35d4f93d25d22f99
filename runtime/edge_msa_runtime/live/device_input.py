"""A microphone and a camera as the arrivals of a stream, in real time.

A thread per device computes frames, and another one recognizes words, so that a slow recognizer delays no frame. Sound
is never dropped between these threads: it waits in memory for a slow recognizer, 4 MB per minute. Pictures are dropped:
a camera delivers the newest one.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, Sequence

from edge_msa_runtime.errors import CaptureError, EdgeMsaError
from edge_msa_runtime.live.converter import Converter, word_items
from edge_msa_runtime.live.utterances import shorten_word
from edge_msa_runtime.live.word_sources import join_all
from edge_msa_runtime.media.capture import PATIENCE
from edge_msa_runtime.media.signals import SAMPLE_RATE
from edge_msa_runtime.replay.items import BOUND, TIME, Control, Item
from edge_msa_runtime.replay.percentiles import Percentiles
from edge_msa_runtime.replay.scenarios import Arrival

if TYPE_CHECKING:
    from edge_msa_runtime.live.word_sources import WordSource
    from edge_msa_runtime.media.signals import Picture, Sound
    from edge_msa_runtime.text.words import Word

MICROPHONE, CAMERA = "microphone", "camera"
RETRY_SECONDS = 2.0
"""Time between two attempts to open a device that has disappeared."""
_HEARTBEAT = 0.1
"""Longest time between two arrivals in seconds."""
_SILENT_SECONDS = 1.0
"""Sound that is so late does not hold back the end of an utterance."""
_LAST_SECONDS = 1.2
"""Time after `stop` in which words of sound that was recorded before may still come."""
_CLOSE_SECONDS = 1.6
"""Time after `stop` or `close` in which all threads together must end. One that does not ends with the program."""
_PIECE = 15.0
"""Sound that is recognized at once, in seconds. With the sound before it, it fits into one window of Whisper, so that
the memory of a recognizer does not depend on how late it is."""
_LATEST_ENDS = 16
"""Ends of utterances that are kept. Words come at most some seconds after them."""
_LATE_SECONDS = 30.0
"""A recognizer that is so late is reported."""


@dataclasses.dataclass
class DeviceReport:
    """What became of a device's signals.

    Attributes:
        name: `microphone` or `camera`.
        received: blocks of sound or pictures that were used.
        dropped: blocks or pictures that were not.
        losses: how often the device disappeared.
        notes: what was wrong with the signals, one line each.
        busy_seconds: time spent on computing frames.
    """

    name: str
    received: int = 0
    dropped: int = 0
    losses: int = 0
    notes: tuple[str, ...] = ()
    busy_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {name: getattr(self, name) for name in ("received", "dropped", "losses")}


@dataclasses.dataclass
class _Device:
    """A device and what is done with its signals.

    Attributes:
        report: what became of them.
        open: opens the device for times since an origin.
        finish: computes the remaining items.
        handle: the open device.
    """

    report: DeviceReport
    open: Callable[[float], Any]
    finish: Callable[[], Sequence[Item]]
    handle: Any = None

    @property
    def lost(self) -> int:
        """Signals that the device itself has dropped since it was opened."""
        return int(self.handle.dropped if self.report.name == CAMERA else self.handle.lost_blocks)


class DeviceInput:
    """Plays devices until they end, `seconds` have passed, or `close` is called. Use it as a context manager.

    Args:
        converter: computes the frames.
        words: delivers words; None without a recognizer.
        seconds: when to stop; None for never.
        notice: called with one line when a device disappears or is back, in the thread of the device.
        on_picture: receives every picture after its frame was computed.
        retry: seconds between attempts to open a device that has disappeared.
        until_closed: whether to go on when no device is left, for items that `put` adds.

    Attributes:
        word_delay: from the end of a word to its arrival.
    """

    def __init__(
        self,
        converter: Converter,
        words: WordSource | None = None,
        *,
        seconds: float | None = None,
        notice: Callable[[str], object] = print,
        on_picture: Callable[[Picture], object] | None = None,
        retry: float = RETRY_SECONDS,
        until_closed: bool = False,
    ) -> None:
        self._converter = converter
        self._words = words
        self._seconds = seconds
        self._notice = notice
        self._on_picture = on_picture
        self._retry = retry
        self._until_closed = until_closed
        self._origin = time.monotonic()
        self._devices: dict[str, _Device] = {}
        self._arrived: queue.Queue[Item | BaseException] = queue.Queue()
        self._sounds: queue.Queue[Sound | None] = queue.Queue()
        self._stopping = threading.Event()
        self._stopped_at: float | None = None
        self._is_aborted = False
        self._threads: list[threading.Thread] = []
        self._active: set[str] = set()  # devices
        self._sound_until = 0.0
        self._sent = self._recognized = 0  # samples
        self._is_late = False
        self._ends: collections.deque[float] = collections.deque(maxlen=_LATEST_ENDS)
        self._bound = 0.0  # of the words
        self.word_delay = Percentiles()

    def __enter__(self) -> DeviceInput:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add_microphone(self, open_device: Callable[[float], Any]) -> None:
        """Use a microphone. The function gets the origin of the times, also to open it again."""
        report = DeviceReport(MICROPHONE)
        self._devices[MICROPHONE] = _Device(report, open_device, self._converter.finish_sound)

    def add_camera(self, open_device: Callable[[float], Any]) -> None:
        """Use a camera."""
        report = DeviceReport(CAMERA)
        self._devices[CAMERA] = _Device(report, open_device, self._converter.finish_pictures)

    def open(self) -> None:
        """Open the devices, and start to read them.

        Raises:
            CaptureError: a device cannot be used.
        """
        self._origin = time.monotonic()
        opened: list[Any] = []
        try:
            for device in self._devices.values():
                device.handle = device.open(self._origin)
                opened.append(device.handle)
        except BaseException:
            for handle in opened:
                handle.close()
            raise
        self._active = set(self._devices)
        for device in self._devices.values():
            self._start(self._read, device)
        if self.has_words:
            self._start(self._recognize)

    def stop(self) -> None:
        """End the input soon. The devices stop, and words of what they recorded may still come for 1.2 s.

        A handler of signals may call this, also more than once.
        """
        if self._stopped_at is None:
            self._stopped_at = time.monotonic()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped_at is not None

    def close(self) -> None:
        """End the input now, and wait for its threads, at most until 1.6 s after this or the call of `stop`."""
        self._is_aborted = True
        self._stopping.set()
        end = (time.monotonic() if self._stopped_at is None else self._stopped_at) + _CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def wait(self) -> None:
        """Wait for all threads after `close`, however long a recognizer needs for the sound that it has begun."""
        for thread in self._threads:
            thread.join()

    def put(self, items: Iterable[Item]) -> None:
        """Add items that come from elsewhere, such as typed words. Any thread may call this."""
        for item in items:
            self._arrived.put(item)

    @property
    def waiting_seconds(self) -> float:
        """Seconds of sound that the recognizer has not processed; 0 without one."""
        return (self._sent - self._recognized) / SAMPLE_RATE

    @property
    def reports(self) -> dict[str, DeviceReport]:
        """What became of the signals, by device."""
        return {name: device.report for name, device in self._devices.items()}

    @property
    def has_words(self) -> bool:
        """Whether a recognizer listens."""
        return self._words is not None and MICROPHONE in self._devices

    @property
    def device_names(self) -> list[str]:
        """Names of the open devices."""
        return [str(device.handle.name) for device in self._devices.values()]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was wrong with the signals, one line each."""
        return tuple(note for report in self.reports.values() for note in report.notes)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._origin

    def describe(self) -> list[str]:
        """Return a line about each device, and about the words."""
        lines = []
        for name, report in self.reports.items():
            unit = "pictures" if name == CAMERA else "blocks of sound"
            lost = "" if not report.losses else f", disappeared {report.losses} times"
            lines.append(f"  {name}: {report.received} {unit} used, {report.dropped} dropped{lost}")
        if self.word_delay.count:
            delays = ", ".join(f"{key} {value / 1e3:.2f} s" for key, value in self.word_delay.to_json().items())
            lines.append(f"  words after their ends: {delays}")
        return lines

    def arrivals(self) -> Iterator[Arrival]:
        """Yield what arrives, as it arrives. The last utterance ends with the input.

        Raises:
            EdgeMsaError: a front end or the recognizer failed.
        """
        yield Arrival(0.0, Control(TIME))
        while self._is_open() or not self._arrived.empty():
            if self.is_stopped or (self._seconds is not None and self.now >= self._seconds):
                self._stopping.set()
            # All that waits arrives now: predictions that are slower than it comes must not let it pile up.
            waiting = self._wait_for_items()
            now = self.now
            for arrived in waiting:
                if isinstance(arrived, BaseException):
                    raise arrived
                yield Arrival(now, arrived)
            if now - self._sound_until > _SILENT_SECONDS:
                for end in self._converter.pass_time(now - _SILENT_SECONDS):
                    yield Arrival(now, end)
        now = self.now
        for item in self._converter.end(now):
            yield Arrival(now, item)

    def _wait_for_items(self) -> list[Item | BaseException]:
        """Return all items that wait, or a heartbeat if none comes."""
        try:
            waiting = [self._arrived.get(timeout=_HEARTBEAT)]
        except queue.Empty:
            return [Control(TIME)]
        waiting += [self._arrived.get_nowait() for _ in range(self._arrived.qsize())]
        return waiting

    def _is_open(self) -> bool:
        if self._until_closed:
            return not self._stopping.is_set()
        return not self._is_over() and any(thread.is_alive() for thread in self._threads)

    def _is_over(self) -> bool:
        """Return whether nothing may come any more."""
        stopped = self._stopped_at
        return self._is_aborted or (stopped is not None and time.monotonic() >= stopped + _LAST_SECONDS)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        def guarded() -> None:
            try:
                run(*arguments)
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                self._arrived.put(error)
                self._stopping.set()

        thread = threading.Thread(target=guarded, name=f"edge-msa {run.__name__.strip('_')}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _read(self, device: _Device) -> None:
        """Read a device, and open it again when it disappears. A recording in its place just ends."""
        try:
            while True:
                problem = self._read_until_lost(device)
                for item in device.finish():
                    self._arrived.put(item)
                if problem is None or not self._open_again(device, problem):
                    return
        finally:
            self._active.discard(device.report.name)
            if device.report.name == MICROPHONE:
                self._sounds.put(None)
            if device.handle.ended:
                self._report_end(device)

    def _report_end(self, device: _Device) -> None:
        """Say that a recording in the place of a device has ended, unless all of them end at about the same time."""
        end = time.monotonic() + _SILENT_SECONDS
        while self._active and not self._stopping.wait(_HEARTBEAT):
            if time.monotonic() >= end:
                self._notice(f"{device.handle.name} has ended. Predictions go on without it.")
                return

    def _read_until_lost(self, device: _Device) -> EdgeMsaError | None:
        """Return why the device has disappeared; None if it has ended."""
        report, dropped, notes = device.report, device.report.dropped, device.report.notes
        take: Callable[[Any], Sequence[Item]] = self._take_sound if report.name == MICROPHONE else self._take_picture
        delivered = time.monotonic()
        try:
            with device.handle as handle:
                while not self._stopping.is_set():
                    signal = handle.read(timeout=_HEARTBEAT)
                    report.dropped = dropped + device.lost
                    if signal is None:
                        if handle.ended:
                            return None
                        if time.monotonic() - delivered > PATIENCE:
                            return CaptureError(f"{handle.name} has delivered nothing for {PATIENCE:g} s.")
                        continue
                    started = time.perf_counter()
                    items = take(signal)
                    report.busy_seconds += time.perf_counter() - started
                    report.received += 1
                    for item in items:
                        self._arrived.put(item)
                    delivered = time.monotonic()
        except CaptureError as error:
            return error
        finally:
            report.notes = (*notes, *device.handle.notes)
        return None

    def _open_again(self, device: _Device, problem: EdgeMsaError) -> bool:
        device.report.losses += 1
        self._notice(f"{problem} Predictions go on without it. It is tried again every {self._retry:g} s.")
        while not self._stopping.wait(self._retry):
            try:
                device.handle = device.open(self._origin)
            except EdgeMsaError:
                continue
            self._notice(f"{device.handle.name} is back")
            return True
        return False

    def _take_sound(self, sound: Sound) -> Sequence[Item]:
        self._sound_until = sound.end
        if self.has_words:
            self._sent += len(sound.samples)
            self._sounds.put(sound)
            self._report_lateness()
        items = self._converter.convert_sound(sound)
        self._ends.extend(item.timestamp or 0.0 for item in items if isinstance(item, Control))
        return items

    def _report_lateness(self) -> None:
        """Say once that the recognizer is late, and again if it has caught up in between."""
        late = self.waiting_seconds
        if late >= _LATE_SECONDS and not self._is_late:
            self._notice(
                f"The recognizer is {late:.0f} s late, too late for predictions. The sound is not dropped: it waits "
                "in memory, 4 MB per minute. Choose a smaller model."
            )
        self._is_late = late >= (_LATE_SECONDS / 2 if self._is_late else _LATE_SECONDS)

    def _take_picture(self, picture: Picture) -> Sequence[Item]:
        items = self._converter.convert_picture(picture)
        if self._on_picture is not None:
            self._on_picture(picture)
        return items

    def _recognize(self) -> None:
        words = self._words
        assert words is not None  # noqa: S101 - the thread runs only with words
        has_ended = False
        while not has_ended:
            newest, waiting, count = self._sounds.get(), [], 0
            with contextlib.suppress(queue.Empty):  # a recognizer that is late catches up with long sounds
                while newest is not None:
                    waiting.append(newest)
                    count += len(newest.samples)
                    if count >= _PIECE * SAMPLE_RATE:
                        break
                    newest = self._sounds.get_nowait()
            has_ended = newest is None
            for sound in join_all(waiting):
                if self._is_over():
                    return
                self._send(words.push(sound))
                self._recognized += len(sound.samples)
                self._bound = words.known_until(sound.end)
                self._arrived.put(Control(BOUND, self._bound, "language"))
        self._send(words.finish())

    def _send(self, words: Sequence[Word]) -> None:
        # An utterance ends only when the bound has passed its end.
        ends = [end for end in tuple(self._ends) if end > self._bound]
        for word, item in zip(words, word_items(shorten_word(word, ends) for word in words)):
            if word.end is not None:
                self.word_delay.add(max(0.0, self.now - word.end) * 1e3)
            self._arrived.put(item)
