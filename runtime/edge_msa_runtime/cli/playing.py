"""What the commands that play streams share: options of the stream, log, view, and summary."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Callable, Iterable, Mapping

from edge_msa_runtime.cli.common import print_note, print_result
from edge_msa_runtime.cli.parser import OPTIONS, STREAM, Parser
from edge_msa_runtime.errors import DataError, EdgeMsaError, UsageError
from edge_msa_runtime.text.tokenizer import TRUNCATIONS
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from edge_msa_runtime.replay.log import LogWriter
    from edge_msa_runtime.replay.player import Player, PlayOptions
    from edge_msa_runtime.replay.scenarios import Arrival
    from edge_msa_runtime.replay.status import Observer, Status
    from edge_msa_runtime.session import Session

SHORTEST_EVERY = 0.001
"""Seconds that are added to any time of a stream without loss."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a stream ended.

    Attributes:
        interrupted: whether a signal ended it.
        failure: the error that ended it.
    """

    interrupted: bool = False
    failure: EdgeMsaError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of the summary."""
        failure = None if self.failure is None else str(self.failure)
        return {"interrupted": self.interrupted, "failure": failure}

    def raise_error(self) -> None:
        """Raise what ended the stream, after its summary was printed.

        Raises:
            KeyboardInterrupt: a signal ended it. `main` prints this and exits with the code of the signal.
            EdgeMsaError: an error ended it.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        if self.failure is not None:
            raise self.failure


def add_every_option(parser: Parser, text: str = "Stream time between predictions") -> None:
    """Add `--every`."""
    parser.add(OPTIONS, "--every", type=float, default=0.5, metavar="SECONDS", help=f"{text}. Default: 0.5.")


def add_absence_options(parser: Parser, gap: str = "never") -> None:
    """Add `--max-gap` and `--max-age`. `gap` describes the default of the first one."""
    parser.add(
        STREAM,
        "--max-gap",
        metavar="SECONDS",
        help="Time without data after which a modality is absent: one number, or numbers by modality such as vision=2. "
        f"Default: {gap}.",
    )
    parser.add(
        STREAM,
        "--max-age",
        type=float,
        metavar="SECONDS",
        help="Time without data after which a modality is forgotten. Default: never.",
    )


def add_window_options(parser: Parser) -> None:
    """Add the options that decide which input a prediction covers."""
    parser.add(
        STREAM,
        "--window",
        type=float,
        metavar="SECONDS",
        help="Predict only from the last SECONDS, for input without utterances. Default: the utterance.",
    )
    parser.add(
        STREAM,
        "--truncate",
        choices=TRUNCATIONS,
        default="end",
        metavar="NAME",
        help="Part to drop if an utterance has too many words: end, or start (window does the same). Default: end.",
    )
    parser.add(
        STREAM,
        "--no-context",
        action="store_true",
        help="Predict each utterance without the earlier ones.",
    )


def check_number(options: argparse.Namespace, name: str, *, zero: bool = False) -> None:
    """Check a number of an option, unless it was not passed.

    Raises:
        UsageError: it is negative, not finite, or 0 where that is not allowed.
    """
    value = getattr(options, name)
    if value is not None and not ((value > 0 or zero) and 0 <= value < math.inf):
        wanted = "0 or more" if zero else "a positive number"
        raise UsageError(f"--{name.replace('_', '-')} must be {wanted}, got {value:g}.")


def check_every(options: argparse.Namespace) -> None:
    """Check `--every`.

    Raises:
        UsageError: it is between 0 and `SHORTEST_EVERY`.
    """
    check_number(options, "every", zero=True)
    if 0 < options.every < SHORTEST_EVERY:
        raise UsageError(f"--every must be 0 or at least {SHORTEST_EVERY:g}, got {options.every:g}.")


def parse_seconds(option: str, text: str) -> float | dict[str, float]:
    """Return the seconds of an option: one number, or a number by modality.

    Raises:
        UsageError: the text is neither.
    """
    try:
        if "=" not in text:
            return _number(text)
        pairs = [part.partition("=") for part in text.split(",")]
        names = [name.strip() for name, _, _ in pairs]
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"{option} must have one number for {repeated}, got {text!r:.60}.")
        return {name.strip(): _number(value) for name, _, value in pairs}
    except ValueError:
        raise UsageError(f"{option} must be a number, or NAME=NUMBER separated by commas, got {text!r:.60}.") from None


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


def open_log(path: Path, stack: ExitStack) -> IO[str]:
    """Open the log for writing, in a new folder if it is missing.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return stack.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace"))
    except OSError as error:
        raise UsageError(f"Cannot write the log {path} ({error.strerror}). Choose another path.") from error


def describe_session(options: argparse.Namespace, session: Session, play_options: PlayOptions) -> dict[str, Any]:
    """Return what runs and how, as plain JSON values: the header of the log, without what is played."""
    from edge_msa_runtime.benchmark.conditions import describe_machine, measure_conditions

    manifest = session.manifest
    task = manifest.task
    return {
        "bundle": manifest.name,
        "target": manifest.target,
        "backend": session.backend,
        "precision": session.precision,
        "threads": options.threads,
        "coverage": options.coverage,
        "task": {"kind": task.kind, "labels": list(task.labels), "low": task.low, "high": task.high},
        "modalities": list(manifest.modalities),
        "speed": play_options.speed,
        "every": play_options.every,
        "stream": dict(play_options.stream),
        "machine": describe_machine(),
        "conditions": measure_conditions(),
    }


def open_view(session: Session, title: str, status: Status, stack: ExitStack, *, words: bool = False) -> Observer:
    """Return the view of the terminal: a table that changes in place, or a line per prediction."""
    from edge_msa_runtime.replay.views import LineView, LiveView, has_rich

    if not (sys.stdout.isatty() and has_rich()):
        return LineView(status, print, words=words)
    task = session.manifest.task
    scale = None if task.low is None or task.high is None else (task.low, task.high)
    return stack.enter_context(LiveView(status, title, scale))


def play(player: Player, arrivals: Iterable[Arrival]) -> Outcome:
    """Play until the end, a signal or an error."""
    try:
        player.play(arrivals)
    except KeyboardInterrupt:
        return Outcome(interrupted=True)
    except EdgeMsaError as error:  # raised again after the summary
        return Outcome(failure=error)
    except OSError as error:
        if error.filename is not None or isinstance(error, BrokenPipeError):
            raise
        return Outcome(failure=DataError(f"Cannot write to stdout ({error.strerror}). Free disk space."))
    return Outcome()


def finish_log(log: LogWriter | None, summary: dict[str, Any], outcome: Outcome) -> Outcome:
    """Write the summary to the log, if there is one. Return the outcome, also in the summary: this may have failed."""
    if log is not None:
        try:
            log.finish(summary)
        except EdgeMsaError as error:  # raised again after the summary was printed
            outcome = outcome if outcome != Outcome() else Outcome(failure=error)
            summary.update(outcome.to_json())
    return outcome


def print_summary(
    summary: Mapping[str, Any],
    status: Status,
    options: argparse.Namespace,
    log: str | None,
    finish: Callable[[list[str]], None] | None = None,
) -> None:
    """Print the errors of the input and the summary.

    Args:
        summary: all fields, for `--json`.
        status: of the stream.
        options: of the command.
        log: path of the log; None if there is none.
        finish: adds lines to the summary.
    """
    from edge_msa_runtime.replay.status import SHOWN_ERRORS
    from edge_msa_runtime.replay.views import format_summary

    for origin, message in status.first_errors:
        print_note(f"{origin}: {message}")
    if status.errors > SHOWN_ERRORS:
        print_note(f"{status.errors - SHOWN_ERRORS} more errors of the input are not shown. The log has all of them.")
    has_input = any(item.sent for item in status.counters.values())
    lines = format_summary(summary) if has_input and not options.json else []
    if lines and finish is not None:
        finish(lines)
    if lines and log is not None:
        lines.append(f"log: {log}. Draw it on a workstation with the toolkit: edge-msa report --stream {log}")
    print_result(lines, summary, options)


def describe_overdue(status: Status) -> list[str]:
    """Return a note if predictions were left out."""
    if not status.overdue:
        return []
    return [f"{format_count(status.overdue, 'prediction')} left out to keep real time"]


def check_predictions(status: Status, advice: str) -> None:
    """Raise an error if nothing was predicted, with the first reason, or else the advice.

    Raises:
        UsageError: there was no prediction.
    """
    if status.predictions:
        return
    if status.first_errors:
        origin, message = status.first_errors[0]
        reason = f"{origin}: {message}"
    elif status.recent:
        reason = status.recent[0][1].message
    else:
        reason = f"No frame or word arrived. {advice}"
    raise UsageError(f"There was nothing to predict from. {reason}")
