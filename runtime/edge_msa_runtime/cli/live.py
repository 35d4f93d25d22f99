"""`edge-msa-run live`: predict in real time from a microphone and a camera."""

from __future__ import annotations

import argparse
import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    add_command,
    add_interval_options,
    add_overwrite_option,
    add_session_options,
    open_session,
    print_note,
    print_notes,
)
from edge_msa_runtime.cli.media_options import (
    PICTURE_DELAY,
    WORD_DELAY,
    add_media_options,
    add_output_options,
    check_media_options,
    list_media_inputs,
    media_play_options,
    require_words,
    write_media_page,
)
from edge_msa_runtime.cli.parser import OPTIONS
from edge_msa_runtime.cli.playing import (
    check_number,
    check_predictions,
    describe_overdue,
    describe_session,
    finish_log,
    open_log,
    open_view,
    play,
    print_summary,
)
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.interrupts import call_on_interrupt

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import Manifest
    from edge_msa_runtime.live.device_input import DeviceInput
    from edge_msa_runtime.live.thumbnails import Thumbnails
    from edge_msa_runtime.live.word_sources import WordSource
    from edge_msa_runtime.replay.status import Observer
    from edge_msa_runtime.session import Session

_ADVICE = "Pass --asr."


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "live",
        "Predict in real time from a microphone and a camera. Nothing is recorded unless you ask for it.",
        "live --bundle bundle-talk --camera 0 --microphone default",
    )
    parser.add(OPTIONS, "--bundle", required=True, metavar="BUNDLE", help="Folder of the bundle. Required.")
    parser.add(
        OPTIONS,
        "--camera",
        default="0",
        metavar="NAME",
        help="Camera: a number, or a path such as /dev/video2; file:PATH plays a video instead. Default: 0.",
    )
    parser.add(
        OPTIONS,
        "--microphone",
        default="default",
        metavar="NAME",
        help="Microphone: default, a number, or part of a name; file:PATH plays a file instead. Default: default.",
    )
    parser.add(OPTIONS, "--no-camera", action="store_true", help="Do not use a camera.")
    parser.add(OPTIONS, "--no-microphone", action="store_true", help="Do not use a microphone.")
    parser.add(OPTIONS, "--seconds", type=float, metavar="SECONDS", help="Time to run. Default: until Ctrl-C.")
    add_output_options(parser)
    add_overwrite_option(parser, ("output", "page"), ("bundle", "face_model"))
    add_media_options(parser)
    add_interval_options(parser)
    add_session_options(parser)
    parser.set_defaults(run=run, more_inputs=list_media_inputs)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.benchmark.conditions import measure_conditions
    from edge_msa_runtime.live.history import History
    from edge_msa_runtime.live.opening import check_media_bundle
    from edge_msa_runtime.replay.log import LogWriter
    from edge_msa_runtime.replay.player import Player
    from edge_msa_runtime.replay.status import Status

    _check_options(options)
    with ExitStack() as stack:
        session = stack.enter_context(open_session(options, options.bundle))
        check_media_bundle(session.manifest)
        session.prepare()
        source, thumbnails = _open_input(options, session, stack)
        has_words = source.has_words
        hold = WORD_DELAY if has_words else PICTURE_DELAY
        play_options = media_play_options(options, session, speed=0.0, hold=hold, words=has_words, real_time=True)
        header = {
            **describe_session(options, session, play_options),
            "source": " and ".join(source.device_names),
            "speed": 1.0,
        }
        status, history = Status(), History()
        observers: list[Observer] = []
        log = None
        if options.output is not None:
            log = LogWriter(open_log(Path(options.output), stack), header, flush=True, words=True)
            observers.append(log)
        if options.page is not None:
            observers.append(history)
        if not options.json:
            title = f"{header['bundle']}: {session.backend} {session.precision}, {header['source']}"
            observers.append(open_view(session, title, status, stack, words=True))
        with call_on_interrupt(source.stop):  # the words that are known by then are not lost
            outcome = play(Player(session, play_options, status, observers), source.arrivals())
        outcome = dataclasses.replace(outcome, interrupted=outcome.interrupted or source.is_stopped)
        source.close()
        summary = {
            **header,
            **status.to_json(),
            "devices": {name: report.to_json() for name, report in source.reports.items()},
            "word_delay_ms": source.word_delay.to_json(),
            **outcome.to_json(),
            "conditions_after": measure_conditions(),
            "log": options.output,
        }
        outcome = finish_log(log, summary, outcome)
    print_notes(source.notes)
    lines = list(source.describe())
    if options.page is not None and status.predictions:
        write_media_page(
            Path(options.page),
            history,
            header,
            title=header["source"],
            seconds=status.seconds,
            notes=(*source.notes, *describe_overdue(status)),
            thumbnails=thumbnails,
        )
        lines.append(f"page: {options.page}")
    print_summary(summary, status, options, options.output, lambda shown: shown.extend(lines))
    outcome.raise_error()
    check_predictions(status, "Check the devices.")


def _check_options(options: argparse.Namespace) -> None:
    """Check the options before the bundle is opened.

    Raises:
        UsageError: an option is invalid.
    """
    check_media_options(options)
    check_number(options, "seconds")
    if options.no_camera and options.no_microphone:
        raise UsageError("There is nothing to predict from. Leave out --no-camera or --no-microphone.")
    if options.asr is not None and options.no_microphone:
        raise UsageError("--asr needs a microphone. Leave out --no-microphone.")
    if options.thumbnails and options.page is None:
        raise UsageError("--thumbnails are for the page. Pass --page FILE.html too.")


def _open_input(
    options: argparse.Namespace, session: Session, stack: ExitStack
) -> tuple[DeviceInput, Thumbnails | None]:
    """Open the devices that the bundle needs, and return them with the collector of thumbnails.

    Raises:
        UsageError: it needs none of those that may be used.
    """
    from edge_msa_runtime.live.converter import Converter
    from edge_msa_runtime.live.device_input import DeviceInput
    from edge_msa_runtime.live.opening import open_front_ends
    from edge_msa_runtime.live.thumbnails import Thumbnails
    from edge_msa_runtime.live.utterances import UtteranceEnds
    from edge_msa_runtime.live.voice import open_voice
    from edge_msa_runtime.media.camera import Camera
    from edge_msa_runtime.media.microphone import Microphone
    from edge_msa_runtime.vision.front_end import parse_face

    manifest = session.manifest
    front_ends = open_front_ends(
        manifest,
        sound=not options.no_microphone,
        pictures=not options.no_camera,
        face_model=None if options.face_model is None else Path(options.face_model),
        face=parse_face(options.face),
    )
    print_notes(front_ends.notes)
    words = _open_words(options, manifest)
    others = front_ends.audio is not None or front_ends.vision is not None
    require_words(session, words is not None, others, _ADVICE)
    needs_sound = front_ends.audio is not None or words is not None
    voice = open_voice() if needs_sound else None
    converter = Converter(front_ends.audio, front_ends.vision, voice, UtteranceEnds(options.pause, options.longest))
    thumbnails = Thumbnails(front_ends.vision) if options.thumbnails else None
    source = DeviceInput(
        converter,
        words,
        seconds=options.seconds,
        notice=print_note,
        on_picture=None if thumbnails is None else thumbnails.add,
    )
    if needs_sound:
        source.add_microphone(lambda origin: Microphone(options.microphone, origin=origin))
    if front_ends.vision is not None:
        rate = 1 / front_ends.vision.period
        source.add_camera(lambda origin: Camera(options.camera, rate, origin=origin))
    source.open()
    return stack.enter_context(source), thumbnails


def _open_words(options: argparse.Namespace, manifest: Manifest) -> WordSource | None:
    """Return the words of the recognizer; None without one."""
    from edge_msa_runtime.live.opening import takes_words
    from edge_msa_runtime.live.word_sources import RecognizedWords

    if options.asr is None:
        return None
    if not takes_words(manifest):
        print_note("the bundle takes no words: --asr is not used")
        return None
    from edge_msa_runtime.speech.recognizer import open_recognizer

    return RecognizedWords(open_recognizer(options.asr, language=options.language, threads=options.threads).listen())
