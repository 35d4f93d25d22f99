"""`edge-msa-run watch`: predict over time from a video or sound file."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

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
    add_media_options,
    add_output_options,
    check_media_options,
    list_media_inputs,
    media_play_options,
    require_words,
    write_media_page,
)
from edge_msa_runtime.cli.parser import ARGUMENTS, OPTIONS
from edge_msa_runtime.cli.playing import (
    Outcome,
    check_number,
    check_predictions,
    describe_session,
    finish_log,
    open_log,
    open_view,
    play,
    print_summary,
)
from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.live.file_input import FileInput
    from edge_msa_runtime.live.history import History
    from edge_msa_runtime.live.thumbnails import Thumbnails
    from edge_msa_runtime.live.utterances import UtteranceEnds
    from edge_msa_runtime.live.word_sources import WordSource
    from edge_msa_runtime.media.files import MediaFile
    from edge_msa_runtime.replay.status import Observer
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.text.words import Word

_ADVICE = "Pass --transcript or --asr."


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "watch",
        "Predict over time from a video or sound file.",
        "watch talk.mp4 --bundle bundle-talk --page timeline.html",
    )
    parser.add(ARGUMENTS, "media", metavar="FILE", help="Video or sound file.")
    parser.add(OPTIONS, "--bundle", required=True, metavar="BUNDLE", help="Folder of the bundle. Required.")
    parser.add(
        OPTIONS,
        "--transcript",
        metavar="FILE",
        help="Words with their times: subtitles (.srt, .vtt), or JSON lines with word, start and end. "
        "Default: no words.",
    )
    parser.add(OPTIONS, "--no-audio", action="store_true", help="Do not predict from the voice.")
    parser.add(OPTIONS, "--no-vision", action="store_true", help="Do not predict from the face.")
    parser.add(
        OPTIONS,
        "--speed",
        type=float,
        default=0.0,
        metavar="FACTOR",
        help="Playback speed: 1 is real time. Default: 0, as fast as possible.",
    )
    add_output_options(parser)
    parser.add(
        OPTIONS,
        "--annotate",
        metavar="FILE.mp4",
        help="Video to write: FILE with score, modalities and words in the picture. Default: not written.",
    )
    add_overwrite_option(parser, ("output", "page", "annotate"), ("media", "bundle", "transcript", "face_model"))
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
        media = stack.enter_context(_open_media(options, session))
        source, words, thumbnails = _open_input(options, session, media)
        play_options = media_play_options(options, session, speed=options.speed, hold=0.0)
        header = {**describe_session(options, session, play_options), "source": options.media}
        status, history = Status(), History()
        observers: list[Observer] = []
        log = None
        if options.output is not None:
            file = open_log(Path(options.output), stack)
            log = LogWriter(file, header, flush=bool(options.speed), words=True)
            observers.append(log)
        if options.page is not None or options.annotate is not None:
            observers.append(history)
        session.prepare()
        if not options.json:
            title = f"{header['bundle']}: {session.backend} {session.precision}, {Path(options.media).name}"
            observers.append(open_view(session, title, status, stack, words=True))
        outcome = play(Player(session, play_options, status, observers), source.arrivals())
        if outcome == Outcome():
            outcome = Outcome(failure=source.failure)
        left = getattr(words, "left", 0)
        notes = (*media.notes, *([f"{left} words of the transcript are after the end"] if left else ()))
        summary = {
            **header,
            **status.to_json(),
            "media": {"seconds": round(source.seconds, 3), "notes": list(notes)},
            **outcome.to_json(),
            "conditions_after": measure_conditions(),
            "log": options.output,
        }
        outcome = finish_log(log, summary, outcome)
    print_notes(f"{options.media}: {note}" for note in notes)
    written = []
    if status.predictions:
        is_interrupted = outcome.interrupted
        written = _write_results(options, history, header, source, notes, thumbnails, interrupted=is_interrupted)
    print_summary(summary, status, options, options.output, lambda lines: lines.extend(written))
    outcome.raise_error()
    check_predictions(status, "The file has no sound, picture or word that the bundle can use.")


def _check_options(options: argparse.Namespace) -> None:
    """Check the options before the bundle is opened.

    Raises:
        UsageError: an option is invalid.
    """
    check_media_options(options)
    check_number(options, "speed", zero=True)
    if options.asr is not None and options.transcript is not None:
        raise UsageError("Pass --asr or --transcript, not both.")
    if options.thumbnails and options.page is None:
        raise UsageError("--thumbnails are for the page. Pass --page FILE.html too.")
    if options.annotate is not None:
        from edge_msa_runtime.live.annotate import check_annotated

        check_annotated(Path(options.annotate))


def _open_media(options: argparse.Namespace, session: Session) -> MediaFile:
    """Open the file. Pictures are decoded only where they are needed.

    Raises:
        UsageError: --annotate has no pictures to draw into.
    """
    from edge_msa_runtime.live.opening import picture_rate
    from edge_msa_runtime.media.files import open_media

    with open_media(options.media, sound=False, pictures=False) as probe:
        has_sound, has_pictures = probe.has_sound, probe.has_pictures
    if options.annotate is not None and not has_pictures:
        raise UsageError(f"{options.media} has no pictures. --annotate needs a video.")
    is_seen = "vision" in session.manifest.modalities and not options.no_vision
    needs_pictures = is_seen or options.thumbnails or not has_sound
    return open_media(options.media, pictures=needs_pictures, picture_rate=picture_rate(session.manifest))


def _open_input(
    options: argparse.Namespace, session: Session, media: MediaFile
) -> tuple[FileInput, WordSource | None, Thumbnails | None]:
    """Return what is played, where its words come from, and the collector of thumbnails."""
    from edge_msa_runtime.live.converter import Converter
    from edge_msa_runtime.live.file_input import FileInput
    from edge_msa_runtime.live.opening import open_front_ends
    from edge_msa_runtime.live.thumbnails import Thumbnails
    from edge_msa_runtime.live.transcript_files import read_transcript
    from edge_msa_runtime.live.utterances import UtteranceEnds
    from edge_msa_runtime.live.voice import open_voice
    from edge_msa_runtime.vision.front_end import parse_face

    given = None if options.transcript is None else read_transcript(Path(options.transcript))
    face_model = None if options.face_model is None else Path(options.face_model)
    front_ends = open_front_ends(
        session.manifest,
        sound=media.has_sound and not options.no_audio,
        pictures=media.has_pictures and not options.no_vision,
        face_model=face_model,
        face=parse_face(options.face),
    )
    print_notes(front_ends.notes)
    others = front_ends.audio is not None or front_ends.vision is not None
    ends = UtteranceEnds(options.pause, options.longest)
    words = _open_words(options, session, given, ends, has_sound=media.has_sound)
    advice = _ADVICE if options.asr is None else "The file has no sound for --asr. Pass --transcript."
    require_words(session, words is not None, others, advice)
    _note_missing(options, session.manifest.modalities, media)
    voice = open_voice() if media.has_sound else None
    converter = Converter(front_ends.audio, front_ends.vision, voice, ends)
    thumbnails = Thumbnails(front_ends.vision) if options.thumbnails else None
    on_picture = None if thumbnails is None else thumbnails.add
    source = FileInput(media, converter, words, has_sound=media.has_sound, on_picture=on_picture)
    return source, words, thumbnails


def _open_words(
    options: argparse.Namespace,
    session: Session,
    given: list[Word] | None,
    ends: UtteranceEnds,
    *,
    has_sound: bool,
) -> WordSource | None:
    """Return where words come from; None without words, or if the bundle takes none."""
    from edge_msa_runtime.live.opening import takes_words
    from edge_msa_runtime.live.word_sources import GivenWords, RecognizedWords, TranscribedWords

    if not takes_words(session.manifest):
        if given is not None or options.asr is not None:
            print_note("the bundle takes no words: they are not used")
        return None
    if given is not None:
        return GivenWords(given)
    if options.asr is None or not has_sound:
        return None
    from edge_msa_runtime.speech.recognizer import open_recognizer

    recognizer = open_recognizer(options.asr, language=options.language, threads=options.threads)
    if options.speed:  # words come while an utterance goes on
        return RecognizedWords(recognizer.listen())
    return TranscribedWords(recognizer, lambda: ends.voice_since)


def _note_missing(options: argparse.Namespace, modalities: Mapping[str, Any], media: MediaFile) -> None:
    for name, has, what in (("audio", media.has_sound, "sound"), ("vision", media.has_pictures, "pictures")):
        if name in modalities and not has and not getattr(options, f"no_{name}"):
            print_note(f"{options.media} has no {what}: predictions go on without {name}")


def _write_results(
    options: argparse.Namespace,
    history: History,
    header: Mapping[str, Any],
    source: FileInput,
    notes: tuple[str, ...],
    thumbnails: Thumbnails | None,
    *,
    interrupted: bool,
) -> list[str]:
    """Write the page and the annotated video, and return a line about each."""
    written = []
    if options.page is not None:
        name = Path(options.media).name
        write_media_page(
            Path(options.page),
            history,
            header,
            title=name,
            seconds=source.seconds,
            notes=notes,
            thumbnails=thumbnails,
        )
        written.append(f"page: {options.page}")
    if options.annotate is not None and interrupted:
        written.append("video: not written, because the command was interrupted")
    elif options.annotate is not None:
        from edge_msa_runtime.live.annotate import write_annotated

        write_annotated(Path(options.media), Path(options.annotate), history, header)
        written.append(f"video: {options.annotate}")
    return written
