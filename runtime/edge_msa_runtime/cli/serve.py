"""`edge-msa-run serve`: an HTTP interface, and a web page that predicts live from camera, microphone and words."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    add_bundle_or_pretrained,
    add_command,
    add_interval_options,
    add_session_options,
    open_session,
    print_note,
    print_notes,
    print_result,
    print_warnings,
)
from edge_msa_runtime.cli.media_options import (
    PICTURE_DELAY,
    WORD_DELAY,
    add_media_options,
    check_media_options,
    media_play_options,
)
from edge_msa_runtime.cli.parser import OPTIONS
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.interrupts import exit_code
from edge_msa_runtime.vendor_packages import import_package
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from edge_msa_runtime.live.opening import FrontEnds
    from edge_msa_runtime.serve.service import Service
    from edge_msa_runtime.session import Session

_RANGES = {"port": (0, 65_535), "max_streams": (1, 64), "max_upload": (1, 10_000), "workers": (1, 256)}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "serve",
        "Serve an HTTP interface, and a web page that predicts live from camera, microphone and words.",
        "serve bundle-talk --asr whisper:tiny.en",
    )
    add_bundle_or_pretrained(parser)
    parser.add(
        OPTIONS,
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="Address to listen on; 0.0.0.0 for all networks of this machine. "
        "Default: 127.0.0.1, for this machine only.",
    )
    parser.add(
        OPTIONS, "--port", type=int, default=8000, metavar="PORT", help="TCP port; 0 for any free one. Default: 8000."
    )
    parser.add(
        OPTIONS,
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="Additional host name of the server, such as that of a proxy. Repeat the option for several. "
        "Default: only names of this machine.",
    )
    parser.add(
        OPTIONS,
        "--no-media",
        action="store_true",
        help="Accept only frames and text: no camera, microphone or files. For features of another program.",
    )
    parser.add(
        OPTIONS,
        "--max-streams",
        type=int,
        default=4,
        metavar="N",
        help="Maximum number of live streams. Default: 4.",
    )
    parser.add(
        OPTIONS,
        "--max-upload",
        type=int,
        default=200,
        metavar="MB",
        help="Largest media file that is accepted, in megabytes. Default: 200.",
    )
    parser.add(
        OPTIONS,
        "--workers",
        type=int,
        default=2,
        metavar="N",
        help="Maximum number of predictions per subset at a time; others wait. Default: 2.",
    )
    add_media_options(parser)
    add_interval_options(parser)
    add_session_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command until a signal ends it."""
    from contextlib import ExitStack

    from edge_msa_runtime.serve.security import HostNames
    from edge_msa_runtime.serve.server import Server, address_of, open_socket

    _check_options(options)
    with ExitStack() as stack:
        listener = stack.enter_context(open_socket(options.host, options.port))
        session = stack.enter_context(open_session(options, options.bundle))
        names = HostNames(options.host, options.host_name)
        server = Server(_create_service(options, session), listener, names)
        session.prepare()
        address, name = address_of(listener), session.manifest.name
        _announce(options, address, name)
        interrupted = False
        try:
            stack.enter_context(server).wait()
        except KeyboardInterrupt:
            interrupted = True
    counts = server.counts
    line = f"{format_count(counts['requests'], 'request')}, {counts['refused']} refused"
    print_result([] if options.json else [line], {"bundle": name, "address": address, **counts}, options)
    if not server.has_ended:
        _leave()
    if interrupted:
        raise KeyboardInterrupt  # `main` prints this and exits with the code of the signal


def _leave() -> None:
    """End the process although threads still compute, as after a second Ctrl-C. The end of Python would abort it."""
    print("interrupted", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code())


def _check_options(options: argparse.Namespace) -> None:
    """Check the options before the bundle is opened.

    Raises:
        UsageError: an option is invalid.
    """
    from edge_msa_runtime.serve.security import host_name

    check_media_options(options)
    for name, (low, high) in _RANGES.items():
        value = getattr(options, name)
        if not low <= value <= high:
            raise UsageError(f"--{name.replace('_', '-')} must be from {low} to {high}, got {value}.")
    for name in options.host_name:
        if host_name(name) != name.lower():
            raise UsageError(
                f"--host-name must be a host name without http:// and port, such as talk.example.org, got {name!r:.80}."
            )
    if options.no_media and (options.asr is not None or options.face_model is not None):
        raise UsageError("--asr and --face-model are for media. Leave out --no-media.")


def _create_service(options: argparse.Namespace, session: Session) -> Service:
    """Return what is served, and open everything once, so that what is missing is reported now.

    Raises:
        UsageError: the bundle was trained on other features than those of sound and pictures.
        PackageImportError: a package is not installed.
    """
    from edge_msa_runtime.serve.limits import MEGABYTE, Limits
    from edge_msa_runtime.serve.service import Service

    limits = Limits(clients=options.max_streams, media_bytes=options.max_upload * MEGABYTE)
    has_words = options.asr is not None
    fields: dict[str, Any] = {
        "play_options": media_play_options(
            options, session, speed=0.0, hold=WORD_DELAY, words=has_words, real_time=True
        ),
        "typed_hold": PICTURE_DELAY,
        "pause": options.pause,
        "longest": options.longest,
        "limits": limits,
    }
    manifest = session.manifest
    if options.no_media:
        return Service(session, **fields)
    face_model = None if options.face_model is None else Path(options.face_model)

    def open_all(sound: bool, pictures: bool) -> FrontEnds:
        from edge_msa_runtime.live.opening import open_front_ends
        from edge_msa_runtime.vision.front_end import parse_face

        return open_front_ends(
            manifest, sound=sound, pictures=pictures, face_model=face_model, face=parse_face(options.face)
        )

    try:
        front_ends = open_all(sound=True, pictures=True)
    except UsageError as error:
        raise UsageError(f"{error} Or pass --no-media to take frames and text only.") from error
    print_notes(front_ends.notes)
    if front_ends.audio is not None or front_ends.vision is not None or options.asr is not None:
        import_package("av")  # for sound and pictures of a browser
    recognizer = None
    if options.asr is not None and manifest.language is None:
        print_note("the bundle takes no words: --asr is not used")
    elif options.asr is not None:
        from edge_msa_runtime.speech.recognizer import open_recognizer

        recognizer = open_recognizer(options.asr, language=options.language, threads=options.threads)
    voice = None
    if front_ends.audio is not None or recognizer is not None:
        from edge_msa_runtime.live.voice import open_voice

        voice = open_voice
    return Service(session, open_all, voice, recognizer, **fields)


def _announce(options: argparse.Namespace, address: str, name: str) -> None:
    """Print where the server is, and a warning if others can reach it."""
    from edge_msa_runtime.serve.security import is_loopback

    if not is_loopback(options.host):
        warning = (
            f"others on the network can use this server at {options.host}. It has no password and no encryption, "
            "and browsers allow camera and microphone only at localhost or over HTTPS."
        )
        print_warnings([warning])
    print(f"{name} is at {address}  Ctrl-C ends it.", file=sys.stderr if options.json else sys.stdout, flush=True)
