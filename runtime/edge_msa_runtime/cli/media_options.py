"""What the commands that predict from sound and pictures share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.cli.common import print_note
from edge_msa_runtime.cli.parser import OPTIONS, STREAM, Parser
from edge_msa_runtime.cli.playing import (
    add_absence_options,
    add_every_option,
    add_window_options,
    check_every,
    check_number,
    parse_seconds,
)
from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.live.history import History
    from edge_msa_runtime.live.thumbnails import Thumbnails
    from edge_msa_runtime.replay.player import PlayOptions
    from edge_msa_runtime.session import Session

_MAX_GAP = 1.0
WORD_DELAY = 10.0
"""Seconds that the end of an utterance waits for words at most. A recognizer that knows them ends the wait."""
PICTURE_DELAY = 0.5
"""Seconds that the end of an utterance waits for pictures if there is no recognizer."""


def add_media_options(parser: Parser) -> None:
    """Add the options of sound, pictures, words and utterances."""
    parser.add(
        OPTIONS,
        "--asr",
        metavar="NAME",
        help="Speech recognizer for the words: whisper:FOLDER, or whisper:NAME of a model in the cache. "
        "Default: no words.",
    )
    parser.add(
        OPTIONS,
        "--language",
        default="en",
        metavar="CODE",
        help="Language of the speech, such as zh, for --asr. Default: en.",
    )
    parser.add(
        OPTIONS,
        "--face-model",
        metavar="FILE",
        help="Face Landmarker model, face_landmarker.task. Default: the one in the folder of EDGE_MSA_CACHE.",
    )
    parser.add(
        OPTIONS,
        "--face",
        default="largest",
        metavar="NAME",
        help="Face of a picture: largest, or X,Y for the one nearest to this point. X and Y are shares of the width "
        "and the height, from the upper left corner. Default: largest.",
    )
    add_every_option(parser)
    parser.add(
        STREAM,
        "--pause",
        type=float,
        default=0.6,
        metavar="SECONDS",
        help="Time without voice after which an utterance has ended. Default: 0.6.",
    )
    parser.add(
        STREAM,
        "--longest",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="Time after which an utterance ends even without a pause. Default: 30.",
    )
    add_absence_options(parser, f"{_MAX_GAP:g} for audio and vision")
    add_window_options(parser)


def add_output_options(parser: Parser) -> None:
    """Add the options of the log and the page."""
    parser.add(
        OPTIONS,
        "--output",
        metavar="FILE.jsonl",
        help="File to write: predictions, words and events, for `edge-msa report --stream`. Default: not written.",
    )
    parser.add(
        OPTIONS,
        "--page",
        metavar="FILE.html",
        help="Page to write at the end: the timeline, which works offline. Default: not written.",
    )
    parser.add(OPTIONS, "--thumbnails", action="store_true", help="Add small pictures to the page of --page.")


def check_media_options(options: argparse.Namespace) -> None:
    """Check the options of `add_media_options`.

    Raises:
        UsageError: one is invalid.
    """
    from edge_msa_runtime.vision.front_end import parse_face

    check_every(options)
    if not options.every:
        raise UsageError("--every must be a positive number, got 0.")
    for name in ("pause", "longest", "max_age", "window"):
        check_number(options, name)
    if options.longest <= options.pause:
        raise UsageError(f"--longest must be more than --pause, {options.pause:g} s, got {options.longest:g}.")
    parse_face(options.face)


def media_play_options(
    options: argparse.Namespace,
    session: Session,
    *,
    speed: float,
    hold: float,
    words: bool = False,
    real_time: bool = False,
) -> PlayOptions:
    """Return how the stream is played. With `words`, the end of an utterance waits for them, at most for `hold`."""
    from edge_msa_runtime.replay.player import PlayOptions
    from edge_msa_runtime.replay.timeline import MAX_JUMP

    gaps: float | dict[str, float]
    if options.max_gap is None:
        gaps = {name: _MAX_GAP for name in ("audio", "vision") if name in session.manifest.modalities}
    else:
        gaps = parse_seconds("--max-gap", options.max_gap)
    stream = {
        "lateness": 0.0,
        "max_gap": gaps or None,
        "max_age": options.max_age,
        "window": options.window,
        "bad_frames": "drop",
        "max_jump": MAX_JUMP,
        "pause": options.pause,
        "truncate": options.truncate,
        "context": not options.no_context,
    }
    return PlayOptions(options.every, speed, hold, stream, ("language",) if words else (), real_time)


def list_media_inputs(options: argparse.Namespace) -> list[Path]:
    """Return the files that are read without being the value of an option: files of devices, and the face model."""
    from edge_msa_runtime.media.capture import stand_in_file
    from edge_msa_runtime.vision.task_file import default_model_path

    devices = [getattr(options, name, None) for name in ("camera", "microphone")]
    files = [file for device in devices if device for file in [stand_in_file(device)] if file is not None]
    return files if options.face_model is not None else [*files, default_model_path()]


def write_media_page(
    path: Path,
    history: History,
    header: Mapping[str, Any],
    *,
    title: str,
    seconds: float,
    notes: tuple[str, ...] = (),
    thumbnails: Thumbnails | None = None,
) -> None:
    """Write the page of a recording."""
    from edge_msa_runtime.live.page import write_page

    named = "" if "bundle" in header["bundle"] else "bundle "
    subtitle = f"{named}{header['bundle']}, {header['backend']} {header['precision']}"
    fields = {**header, "title": title, "subtitle": subtitle, "seconds": seconds, "notes": notes}
    write_page(path, history, fields, () if thumbnails is None else thumbnails.items)


def require_words(session: Session, has_words: bool, others: bool, advice: str) -> None:
    """Say that words are missing, or refuse to go on if there is nothing else.

    Raises:
        UsageError: the bundle takes words only, and there are none.
    """
    from edge_msa_runtime.live.opening import takes_words

    if has_words or not takes_words(session.manifest):
        return
    if not others:
        raise UsageError(f"The bundle {session.manifest.name} needs words here, and there are none. {advice}")
    print_note(f"predictions use no words. {advice}")
