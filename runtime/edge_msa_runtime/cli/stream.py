"""`edge-msa-run stream`: play JSON lines or a feature file as live streams, with faults if wanted."""

from __future__ import annotations

import argparse
import math
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Iterator, Mapping

from edge_msa_runtime.cli.common import (
    add_bundle_argument,
    add_command,
    add_interval_options,
    add_session_options,
    open_session,
    print_note,
    print_notes,
    print_result,
    print_warnings,
)
from edge_msa_runtime.cli.parser import ARGUMENTS, OPTIONS, STREAM
from edge_msa_runtime.errors import EdgeMsaError, UsageError
from edge_msa_runtime.inputs.split_names import SPLITS
from edge_msa_runtime.output_paths import FILE, check_output
from edge_msa_runtime.text.tokenizer import TRUNCATIONS

if TYPE_CHECKING:
    from edge_msa_runtime.replay.items import Item
    from edge_msa_runtime.replay.player import Player, PlayOptions
    from edge_msa_runtime.replay.scenarios import Scenario
    from edge_msa_runtime.replay.status import Observer, Status
    from edge_msa_runtime.session import Session

_STDIN = "-"
_MODES = ("drop", "mask")
_SHORTEST_EVERY = 0.001
"""Seconds that are added to any time of a stream without loss."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "stream",
        "Play recorded input as live streams, with faults if wanted, and predict at regular moments.",
        "stream bundle-laptop --data samples --scenario lossy",
    )
    add_bundle_argument(parser)
    parser.add(
        ARGUMENTS,
        "input",
        metavar="INPUT.jsonl",
        nargs="?",
        help="JSON lines with frames, words and messages, or - for stdin. Default: the utterances of --data.",
    )
    parser.add(
        OPTIONS,
        "--data",
        metavar="FILE",
        help="Play the utterances of a file or folder that `edge-msa-run predict --data` reads, one after the other. "
        "Default: none.",
    )
    parser.add(
        OPTIONS,
        "--split",
        choices=SPLITS,
        metavar="NAME",
        help="Split of --data: train, valid or test. Default: all splits.",
    )
    parser.add(OPTIONS, "--chunk", type=float, metavar="SECONDS", help="Length of the chunks of --data. Default: 0.4.")
    parser.add(
        OPTIONS, "--gap", type=float, metavar="SECONDS", help="Silence after each utterance of --data. Default: 0.6."
    )
    parser.add(
        OPTIONS,
        "--rate",
        metavar="NAME=HZ",
        help="Frames per second of modalities of --data, separated by commas. Default: those of the file, or of the "
        "training data of the bundle.",
    )
    parser.add(
        OPTIONS,
        "--duration",
        type=float,
        metavar="SECONDS",
        help="Repeat the utterances of --data until so much stream time has passed. Default: play each once.",
    )
    parser.add(
        OPTIONS,
        "--scenario",
        metavar="NAME",
        help="Faults of the sensors and the network: clean, late-start, lossy, bursty, returning, lagging, faulty, "
        "or a JSON file. Default: clean.",
    )
    parser.add(OPTIONS, "--seed", type=int, metavar="N", help="Seed of the faults. Default: that of the scenario.")
    parser.add(
        OPTIONS,
        "--speed",
        type=float,
        default=0.0,
        metavar="FACTOR",
        help="Factor of real time, for example 1. Default: 0, as fast as possible.",
    )
    parser.add(
        OPTIONS,
        "--every",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="Stream time between predictions; 0 to predict only when the input asks for it. Default: 0.5.",
    )
    parser.add(
        OPTIONS,
        "--log",
        metavar="FILE.jsonl",
        help="File to write: predictions, events and counters, for `edge-msa report --stream`. Default: not written.",
    )
    parser.add(
        OPTIONS,
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="Serve metrics for Prometheus on this port of 127.0.0.1; 0 for any free port. Default: none.",
    )
    add_interval_options(parser)
    _add_stream_options(parser)
    add_session_options(parser)
    parser.set_defaults(run=run)


def _add_stream_options(parser: Any) -> None:
    parser.add(
        STREAM,
        "--lateness",
        default="0",
        metavar="SECONDS",
        help="How late frames may come after newer ones of their modality: one number, or language=1,audio=0.1. "
        "The end of an utterance waits for the longest one. Default: 0.",
    )
    parser.add(
        STREAM,
        "--max-gap",
        metavar="SECONDS",
        help="Time without data after which a modality is absent: one number, or numbers by modality. Default: never.",
    )
    parser.add(
        STREAM,
        "--max-age",
        type=float,
        metavar="SECONDS",
        help="Time without data after which a modality is forgotten. Default: never.",
    )
    parser.add(
        STREAM,
        "--window",
        type=float,
        metavar="SECONDS",
        help="Predict only from frames of this last time, for input without utterances. Default: the utterance.",
    )
    parser.add(
        STREAM,
        "--bad-frames",
        choices=_MODES,
        default="drop",
        metavar="NAME",
        help="What to do with chunks that have bad values: drop them, or mask only their bad frames. "
        "One of: drop, mask. Default: drop.",
    )
    parser.add(
        STREAM,
        "--truncate",
        choices=TRUNCATIONS,
        default="end",
        metavar="NAME",
        help="What to do with an utterance of too many words: drop its end or its start. One of: end, start, window. "
        "Default: end.",
    )
    parser.add(
        STREAM,
        "--no-context",
        action="store_true",
        help="Do not use the memory of earlier utterances of the conversation.",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.benchmark.conditions import measure_conditions
    from edge_msa_runtime.replay.log import LogWriter
    from edge_msa_runtime.replay.player import Player
    from edge_msa_runtime.replay.scenarios import open_scenario
    from edge_msa_runtime.replay.status import Status

    _check_options(options)
    scenario = open_scenario(options.scenario or "clean")
    if options.seed is not None and options.seed < 0:
        raise UsageError(f"--seed must be 0 or more, got {options.seed}.")
    with ExitStack() as stack:
        session = stack.enter_context(open_session(options, options.bundle))
        play_options = _play_options(options)
        source = _Source(options, session, stack)
        status = Status()
        observers: list[Observer] = []
        header = _describe(options, session, play_options, scenario)
        log = None
        if options.log is not None:
            log = LogWriter(
                _open_log(Path(options.log), stack), header, flush=bool(options.speed) or options.input == _STDIN
            )
            observers.append(log)
        session.prepare()
        if options.metrics_port is not None:
            _serve(options, header, status, stack)
        if not options.json:
            observers.append(_open_view(session, header, status, stack))
        player = Player(session, play_options, status, observers)
        counts: dict[str, Any] = {}
        interrupted = False
        failure: EdgeMsaError | None = None
        try:
            player.play(_arrivals(source, player, scenario, options.seed, counts))
        except KeyboardInterrupt:
            interrupted = True
        except EdgeMsaError as error:  # raised again after the summary
            failure = error
        summary = {
            **header,
            **status.to_json(),
            "faults": {name: dict(item) for name, item in counts.items()},
            "interrupted": interrupted,
            "failure": None if failure is None else str(failure),
            "conditions_after": measure_conditions(),
            "log": options.log,
        }
        if log is not None:
            log.finish(summary)
    _print_summary(summary, status, options)
    if interrupted:
        raise KeyboardInterrupt  # `main` prints and exits with the code of the signal
    if failure is not None:
        raise failure
    _check_predictions(status)


def _open_log(path: Path, stack: ExitStack) -> IO[str]:
    """Open the log for writing, in a new folder if it is missing.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return stack.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace"))
    except OSError as error:
        raise UsageError(f"Cannot write the log {path} ({error.strerror}). Choose another path.") from error


def _check_options(options: argparse.Namespace) -> None:
    """Check the options before the bundle is opened.

    Raises:
        UsageError: an option is invalid.
    """
    if (options.input is None) == (options.data is None):
        raise UsageError("Pass one input: INPUT.jsonl, - for stdin, or --data FILE.")
    if options.data is None:
        for name in ("split", "chunk", "gap", "rate", "duration"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name} is for the utterances of --data. Remove it.")
    for name in ("chunk", "duration", "max_age", "window"):
        _check_seconds(options, name, "a positive number", lambda value: 0 < value < math.inf)
    for name in ("gap", "speed", "every"):
        _check_seconds(options, name, "0 or more", lambda value: 0 <= value < math.inf)
    if 0 < options.every < _SHORTEST_EVERY:
        raise UsageError(f"--every must be 0 or at least {_SHORTEST_EVERY:g}, got {options.every:g}.")
    if options.metrics_port is not None and not 0 <= options.metrics_port < 65536:
        raise UsageError(f"--metrics-port must be from 0 to 65535, got {options.metrics_port}.")
    if options.log is not None:
        inputs = [item for item in (options.bundle, options.input, options.data, options.scenario) if item]
        check_output(options.log, FILE, [item for item in inputs if item != _STDIN and Path(item).exists()])


def _check_seconds(options: argparse.Namespace, name: str, wanted: str, accepts: Any) -> None:
    value = getattr(options, name)
    if value is not None and not accepts(value):
        raise UsageError(f"--{name.replace('_', '-')} must be {wanted}, got {value:g}.")


def _play_options(options: argparse.Namespace) -> PlayOptions:
    from edge_msa_runtime.replay.player import PlayOptions
    from edge_msa_runtime.replay.timeline import MAX_JUMP

    lateness = parse_seconds("--lateness", options.lateness)
    hold = max(lateness.values(), default=0.0) if isinstance(lateness, dict) else lateness
    stream = {
        "lateness": lateness,
        "max_gap": None if options.max_gap is None else parse_seconds("--max-gap", options.max_gap),
        "max_age": options.max_age,
        "window": options.window,
        "bad_frames": options.bad_frames,
        "max_jump": MAX_JUMP,
        "truncate": options.truncate,
        "context": not options.no_context,
    }
    return PlayOptions(options.every, options.speed, hold, stream)


def parse_seconds(option: str, text: str) -> float | dict[str, float]:
    """Return the seconds of an option: one number, or a number by modality.

    Raises:
        UsageError: the text is neither.
    """
    try:
        if "=" not in text:
            return _number(text)
        pairs = [part.partition("=") for part in text.split(",")]
        return {name.strip(): _number(value) for name, _, value in pairs}
    except ValueError:
        raise UsageError(f"{option} must be a number, or NAME=NUMBER separated by commas, got {text!r:.60}.") from None


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


class _Source:
    """The input of the command."""

    def __init__(self, options: argparse.Namespace, session: Session, stack: ExitStack) -> None:
        self._session = session
        if options.data is not None:
            self._open_samples(options)
        elif options.input == _STDIN:
            self._file: BinaryIO | None = sys.stdin.buffer
        else:
            path = Path(options.input)
            if not path.is_file():
                raise UsageError(f"{path} is not a file. Pass JSON lines, or - for stdin.")
            self._file = stack.enter_context(path.open("rb"))

    def _open_samples(self, options: argparse.Namespace) -> None:
        from edge_msa_runtime.inputs.samples import open_samples
        from edge_msa_runtime.prediction_files import check_features, usable_modalities
        from edge_msa_runtime.replay.sample_source import ASSUMED_RATE_HZ, Pace

        self._file = None
        path = Path(options.data)
        self._samples = open_samples(path, split=options.split)
        print_notes(self._samples.notes)
        session = self._session
        self._modalities, ignored = usable_modalities(
            session, self._samples.modalities, has_text=self._samples.has_text
        )
        print_notes(ignored)
        warning = check_features(session, self._samples.features, self._modalities, path.name)
        print_warnings([warning] if warning else [])
        rates = _rates(options.rate, session, self._samples.features)
        names = [name for name in self._modalities if name != "text"]
        unknown = [name for name in names if name not in rates]
        if unknown and len(unknown) == len(names) and "text" not in self._modalities:
            print_note(
                f"the frame rates of {', '.join(unknown)} are unknown: the longest modality of each utterance is "
                f"played at {ASSUMED_RATE_HZ:g} Hz. --rate NAME=HZ sets a rate."
            )
        elif unknown:
            print_note(
                f"the frame rates of {', '.join(unknown)} are unknown: the frames are spread over each utterance. "
                "--rate NAME=HZ sets a rate."
            )
        defaults = Pace({})
        self._pace = Pace(
            rates,
            defaults.chunk if options.chunk is None else options.chunk,
            defaults.pause if options.gap is None else options.gap,
            options.duration,
        )

    def read(self, player: Player) -> Iterator[Item]:
        """Yield the items, and report errors to the player."""
        from edge_msa_runtime.replay.json_lines import read_items
        from edge_msa_runtime.replay.player import stamp_arrivals
        from edge_msa_runtime.replay.sample_source import play_samples

        if self._file is None:
            return play_samples(self._samples.read, self._modalities, self._pace, player.report_error)
        specs = self._session.manifest.modalities
        rates = {name: spec.features.rate_hz for name, spec in specs.items()}
        periods = {name: 1 / rate if rate else None for name, rate in rates.items()}
        return stamp_arrivals(read_items(self._file, periods, player.report_error))


def _rates(text: str | None, session: Session, features: Mapping[str, Any]) -> dict[str, float]:
    """Return the known frame rates: of the option, of the file, or of the training data of the bundle."""
    rates = {}
    for name, spec in session.manifest.modalities.items():
        stated = features[name].rate_hz if name in features else None
        rate = stated or spec.features.rate_hz
        if rate:
            rates[name] = rate
    if text is not None:
        given = parse_seconds("--rate", text)
        for name, rate in (given if isinstance(given, dict) else {"": given}).items():
            if name not in session.manifest.modalities or not rate:
                names = ", ".join(session.manifest.modalities)
                raise UsageError(f"--rate must be NAME=HZ for {names}, got {text!r:.60}. Example: --rate audio=100")
            rates[name] = rate
    return rates


def _arrivals(source: _Source, player: Player, scenario: Scenario, seed: int | None, counts: dict[str, Any]) -> Any:
    from edge_msa_runtime.replay.scenarios import arrive

    return arrive(source.read(player), scenario, seed, counts)


def _describe(
    options: argparse.Namespace, session: Session, play_options: PlayOptions, scenario: Scenario
) -> dict[str, Any]:
    """Return what is played, on what, and how, as plain JSON values."""
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
        "source": options.input or options.data,
        "scenario": {**scenario.to_json(), "seed": scenario.seed if options.seed is None else options.seed},
        "speed": play_options.speed,
        "every": play_options.every,
        "stream": dict(play_options.stream),
        "machine": describe_machine(),
        "conditions": measure_conditions(),
    }


def _serve(options: argparse.Namespace, header: Mapping[str, Any], status: Status, stack: ExitStack) -> None:
    from edge_msa_runtime.replay.metrics import LOOPBACK, serve_metrics

    info = {name: str(header[name]) for name in ("bundle", "backend", "precision")}
    port = stack.enter_context(serve_metrics(status, info, options.metrics_port))
    print_note(f"metrics at http://{LOOPBACK}:{port}/metrics")


def _open_view(session: Session, header: Mapping[str, Any], status: Status, stack: ExitStack) -> Observer:
    from edge_msa_runtime.replay.views import LineView, LiveView, has_rich

    if not (sys.stdout.isatty() and has_rich()):
        return LineView(status, print)
    task = session.manifest.task
    scale = None if task.low is None or task.high is None else (task.low, task.high)
    title = f"{header['bundle']}: {header['backend']} {header['precision']}, scenario {header['scenario']['name']}"
    return stack.enter_context(LiveView(status, title, scale))


def _print_summary(summary: Mapping[str, Any], status: Status, options: argparse.Namespace) -> None:
    from edge_msa_runtime.replay.status import SHOWN_ERRORS
    from edge_msa_runtime.replay.views import format_summary

    for origin, message in status.first_errors:
        print_note(f"{origin}: {message}")
    if status.errors > SHOWN_ERRORS:
        print_note(f"{status.errors - SHOWN_ERRORS} more errors of the input are not shown. --log writes all of them.")
    has_input = any(item.sent for item in status.counters.values())
    lines = format_summary(summary) if has_input and not options.json else []
    if lines and options.log is not None:
        lines.append(
            f"log: {options.log}. Draw it on a workstation with the toolkit: edge-msa report --stream {options.log}"
        )
    print_result(lines, summary, options)


def _check_predictions(status: Status) -> None:
    """Raise an error if nothing was predicted, with the first reason.

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
        reason = "No frame or word arrived. Check the input and the scenario."
    raise UsageError(f"There was nothing to predict from. {reason}")
