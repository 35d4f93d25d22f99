"""`edge-msa-run stream`: play JSON lines or a feature file as live streams, with faults if wanted."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Iterator, Mapping

from edge_msa_runtime.cli.common import (
    add_bundle_argument,
    add_command,
    add_interval_options,
    add_overwrite_option,
    add_session_options,
    open_session,
    print_note,
    print_notes,
    print_warnings,
)
from edge_msa_runtime.cli.parser import ARGUMENTS, OPTIONS, STREAM
from edge_msa_runtime.cli.playing import (
    add_absence_options,
    add_every_option,
    add_window_options,
    check_every,
    check_number,
    check_predictions,
    describe_session,
    finish_log,
    open_log,
    open_view,
    parse_seconds,
    play,
    print_summary,
)
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.split_names import SPLITS

if TYPE_CHECKING:
    from edge_msa_runtime.replay.items import Item
    from edge_msa_runtime.replay.player import Player, PlayOptions
    from edge_msa_runtime.replay.scenarios import Scenario
    from edge_msa_runtime.replay.status import Observer, Status
    from edge_msa_runtime.session import Session

_STDIN = "-"
_MODES = ("drop", "mask")


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
        help="Playback speed: 1 is real time. Default: 0, as fast as possible.",
    )
    add_every_option(parser, "Stream time between predictions; 0 to predict only when the input asks for it")
    parser.add(
        OPTIONS,
        "--log",
        metavar="FILE.jsonl",
        help="File to write: predictions, events and counters, for `edge-msa report --stream`. Default: not written.",
    )
    add_overwrite_option(parser, ("log",), ("bundle", "input", "data", "scenario"))
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
    add_absence_options(parser)
    add_window_options(parser)
    parser.add(
        STREAM,
        "--bad-frames",
        choices=_MODES,
        default="drop",
        metavar="NAME",
        help="What to do with chunks that have bad values: drop them, or mask only their bad frames. "
        "One of: drop, mask. Default: drop.",
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
            is_live = bool(options.speed) or options.input == _STDIN
            log = LogWriter(open_log(Path(options.log), stack), header, flush=is_live)
            observers.append(log)
        session.prepare()
        if options.metrics_port is not None:
            _serve(options, header, status, stack)
        if not options.json:
            title = f"{header['bundle']}: {session.backend} {session.precision}, scenario {scenario.name}"
            observers.append(open_view(session, title, status, stack))
        player = Player(session, play_options, status, observers)
        counts: dict[str, Any] = {}
        outcome = play(player, _arrivals(source, player, scenario, options.seed, counts))
        summary = {
            **header,
            **status.to_json(),
            "faults": {name: dict(item) for name, item in counts.items()},
            **outcome.to_json(),
            "conditions_after": measure_conditions(),
            "log": options.log,
        }
        outcome = finish_log(log, summary, outcome)
    print_summary(summary, status, options, options.log)
    outcome.raise_error()
    check_predictions(status, "Check the input and the scenario.")


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
        check_number(options, name)
    for name in ("gap", "speed"):
        check_number(options, name, zero=True)
    check_every(options)
    if options.metrics_port is not None and not 0 <= options.metrics_port < 65536:
        raise UsageError(f"--metrics-port must be from 0 to 65535, got {options.metrics_port}.")


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
    return {
        **describe_session(options, session, play_options),
        "source": options.input or options.data,
        "scenario": {**scenario.to_json(), "seed": scenario.seed if options.seed is None else options.seed},
    }


def _serve(options: argparse.Namespace, header: Mapping[str, Any], status: Status, stack: ExitStack) -> None:
    from edge_msa_runtime.replay.metrics import LOOPBACK, serve_metrics

    info = {name: str(header[name]) for name in ("bundle", "backend", "precision")}
    port = stack.enter_context(serve_metrics(status, info, options.metrics_port))
    print_note(f"metrics at http://{LOOPBACK}:{port}/metrics")
