"""What a replay shows in the terminal: a live table with rich, else one line per prediction."""

from __future__ import annotations

import collections
import importlib.util
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping

from edge_msa_runtime.classes import describe_classes
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.replay.status import MadePrediction, Observer, Status
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from edge_msa_runtime.replay.items import WordChunk
    from edge_msa_runtime.streams.events import StreamCounters, StreamEvent

_REFRESH_SECONDS = 0.125
_BAR_WIDTH = 31
_SHOWN_WORDS = 12
_SHOWN_SECONDS = 0.005
"""Shorter times are 0.00 s in a line."""


def has_rich() -> bool:
    """Return whether rich is installed."""
    return importlib.util.find_spec("rich") is not None


class LineView(Observer):
    """Prints one line per prediction.

    Args:
        status: of the replay.
        show: prints a line.
        words: whether to print words too.
    """

    def __init__(self, status: Status, show: Callable[[str], object], *, words: bool = False) -> None:
        self._status = status
        self._show = show
        self._shows_words = words

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Print words, if they are wanted."""
        del elapsed
        if self._shows_words:
            self._show(f"{words.end or 0.0:10.2f} s  {' '.join(words.words)}")

    def on_prediction(self, made: MadePrediction) -> None:
        """Print a prediction."""
        prediction = made.prediction
        ages = " ".join(f"{name[0]} {age:.1f}" for name, age in prediction.ages.items())
        final = "  end of utterance" if made.is_final else ""
        if made.made_at - made.at >= _SHOWN_SECONDS:
            final += f"  made at {made.made_at:.2f} s"
        self._show(
            f"{made.at:10.2f} s  {prediction.subset:3}  {format_result(made):32}  ages {ages} s  "
            f"{prediction.latency_ms:.2f} ms{final}"
        )


class LiveView(Observer):
    """Shows a table that changes in place. Use it as a context manager. It needs rich.

    Args:
        status: of the replay.
        title: what is played.
        scale: lowest and highest score; None without bounds, and for classes and emotions.
        console: console of rich to print to; None for stdout.
    """

    def __init__(
        self, status: Status, title: str, scale: tuple[float, float] | None, console: Any | None = None
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._status = status
        self._title = title
        self._scale = scale
        self._shown = 0.0
        self._words: collections.deque[str] = collections.deque(maxlen=_SHOWN_WORDS)
        self._live: Any = Live(
            get_renderable=self.render, console=console or Console(), auto_refresh=False, transient=True
        )

    def __enter__(self) -> LiveView:  # noqa: PYI034 - typing.Self needs Python 3.11
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(*error)

    def on_words(self, elapsed: float, words: WordChunk) -> None:
        """Show the newest words."""
        del elapsed
        self._words += words.words
        self._refresh()

    def on_prediction(self, made: MadePrediction) -> None:
        """Refresh the table."""
        del made
        self._refresh()

    def on_event(self, elapsed: float, event: StreamEvent) -> None:
        """Refresh the table."""
        del elapsed, event
        self._refresh()

    def on_counters(self, elapsed: float, counters: Mapping[str, StreamCounters]) -> None:
        """Refresh the table."""
        del elapsed, counters
        self._refresh()

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._shown >= _REFRESH_SECONDS:
            self._shown = now
            self._live.refresh()

    def render(self) -> Any:
        """Return what is shown now."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        status = self._status
        with status.lock:
            made, recent = status.latest, list(status.recent)
        events = [Text(f"{elapsed:10.1f} s  {event.message}", "dim") for elapsed, event in recent]
        overdue = f", {status.overdue} left out to keep real time" if status.overdue else ""
        errors = f", {status.errors} errors of the input" if status.errors else ""
        predictions, utterances = (
            format_count(status.predictions, "prediction"),
            format_count(status.finals, "utterance"),
        )
        foot = Text(f"{predictions}{overdue}, {utterances}{errors}")
        words = [Text(f"words  {' '.join(self._words)}")] if self._words else []
        shares = [] if made is None else [Text(line) for line in draw_probabilities(made.prediction.probabilities)]
        lines = [self._headline(made), *shares, *words, Text(self._latency()), Text(), self._table(made), Text()]
        lines += [*events, foot]
        return Panel(Group(*lines), title=Text(self._title), title_align="left", expand=False)

    def _table(self, made: MadePrediction | None) -> Any:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("modality", "age", "sent", "used", "late", "twice", "overflow", "masked", "refused", "missing"):
            table.add_column(heading, justify="left" if heading == "modality" else "right")
        present = set() if made is None else set(Subset(made.prediction.subset).modalities)
        for name, item in self._status.counters.items():
            age = None if made is None else made.prediction.ages.get(name)
            figures = (item.sent, item.used, item.late, item.duplicate, item.overflow, item.masked, item.refused)
            table.add_row(
                name,
                "-" if age is None else f"{age:.1f} s",
                *map(str, figures),
                str(item.missing),
                style="bold" if name in present else "dim",
            )
        return table

    def _headline(self, made: MadePrediction | None) -> Any:
        from rich.text import Text

        time = f"{self._status.seconds:.1f} s  "
        if made is None:
            return Text(f"{time}nothing to predict from yet")
        bar = "" if self._scale is None else f"  {draw_bar(made, self._scale)}"
        return Text.assemble(time, (format_result(made), "bold"), f"{bar}  from {made.prediction.subset}")

    def _latency(self) -> str:
        latency, delay = self._status.latency, self._status.delay
        if not latency.count:
            return "latency -"
        return (
            f"latency p50 {latency.percentile(0.5):.2f} ms, p99 {latency.percentile(0.99):.2f} ms  "
            f"delay p50 {delay.percentile(0.5):.2f} ms, p99 {delay.percentile(0.99):.2f} ms"
        )


def format_result(made: MadePrediction) -> str:
    """Return the score, its interval if it has one, and the label; or the class or emotion, and what is in its set."""
    prediction = made.prediction
    if prediction.score is None:
        return describe_classes(prediction.label, prediction.probabilities, prediction.prediction_set)
    interval = prediction.interval
    shown = "" if interval is None else f" ({interval[0]:+.2f} to {interval[1]:+.2f})"
    return f"{prediction.score:+.2f}{shown} {prediction.label}".strip()


def draw_bar(made: MadePrediction, scale: tuple[float, float]) -> str:
    """Return the score as a mark on the scale, with its interval as a line, such as `····━━━●━━━·····`."""
    low, high = scale

    def place(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (_BAR_WIDTH - 1))

    bar = ["·"] * _BAR_WIDTH
    interval = made.prediction.interval
    if interval is not None:
        for index in range(place(interval[0]), place(interval[1]) + 1):
            bar[index] = "━"
    bar[place(made.prediction.score or 0.0)] = "●"
    return "".join(bar)


def draw_probabilities(probabilities: Mapping[str, float]) -> list[str]:
    """Return each probability as a bar, such as `happy  ━━━━━━━━━━   0.33`; nothing for scores."""
    width = max(map(len, probabilities), default=0)
    bars = {name: "━" * round(_BAR_WIDTH * value) for name, value in probabilities.items()}
    return [f"{name:{width}}  {bar:{_BAR_WIDTH}} {probabilities[name]:.2f}" for name, bar in bars.items()]


def format_summary(summary: Mapping[str, Any]) -> list[str]:
    """Return the result of a replay for people: `Status.to_json`, with the `faults` of a scenario if there are any."""
    subsets = ", ".join(f"{name} {count}" for name, count in summary["subsets"].items())
    predictions = format_count(summary["predictions"], "prediction") + (f" ({subsets})" if subsets else "")
    times = f"{summary['seconds']:.1f} s of stream time in {summary['wall_seconds']:.1f} s"
    overdue = f", {summary['overdue']} left out to keep real time" if summary["overdue"] else ""
    lines = [f"{times}: {predictions}{overdue}, {format_count(summary['utterances'], 'utterance')}"]
    for name in ("latency", "delay"):
        values = summary[f"{name}_ms"]
        if values["p50"] is not None:
            lines.append(f"  {name:8} " + ", ".join(f"{key} {value:.2f} ms" for key, value in values.items()))
    for name, faults in summary.get("faults", {}).items():
        effects = ", ".join(f"{count} {effect}" for effect, count in faults.items() if effect != "sent")
        if effects:
            lines.append(f"  faults of {name}: {effects} of {faults['sent']} chunks")
    if summary["counters"]:
        heads = ("sent", "used", "late", "duplicate", "overflow", "masked", "forgotten", "refused", "missing")
        lines.append("  modality " + "".join(f"{head:>10}" for head in heads))
        for name, counters in summary["counters"].items():
            lines.append(f"  {name:9}" + "".join(f"{counters[head]:10}" for head in heads))
    return lines
