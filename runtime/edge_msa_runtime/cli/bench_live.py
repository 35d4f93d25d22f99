"""`edge-msa-run bench --live`: what prediction from a microphone and a camera costs on this device."""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

from edge_msa_runtime.cli.common import MEGABYTE, open_session, print_note, print_notes, print_result
from edge_msa_runtime.cli.parser import OPTIONS, Parser
from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.benchmark.live import LiveBenchmark, Stages, Window

_LIVE_OPTIONS = ("minutes", "asr", "face_model")


def add_live_options(parser: Parser) -> None:
    """Add the options of the measurement."""
    parser.add(
        OPTIONS,
        "--live",
        metavar="FILE",
        help="Measure live prediction instead, with this video in place of a camera and a microphone. It should have "
        "a face and speech, and is repeated as often as needed. Default: measure predictions alone.",
    )
    parser.add(
        OPTIONS, "--minutes", type=float, metavar="N", help="Length of the run of --live in real time. Default: 1."
    )
    parser.add(
        OPTIONS, "--asr", metavar="NAME", help="Speech recognizer of --live: whisper:FOLDER|NAME. Default: no words."
    )
    parser.add(
        OPTIONS,
        "--face-model",
        metavar="FILE",
        help="Face Landmarker model of --live. Default: the one in the folder of EDGE_MSA_CACHE.",
    )


def check_live_options(options: argparse.Namespace) -> None:
    """Check the options of the measurement.

    Raises:
        UsageError: one is invalid, or there is no --live.
    """
    for name in _LIVE_OPTIONS:
        if options.live is None and getattr(options, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is for --live. Remove it, or pass --live FILE.")
    if options.live is None:
        return
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise UsageError(f"--minutes must be a positive number, got {options.minutes:g}.")
    if len(options.bundle) > 1 or options.all:
        raise UsageError("--live measures one bundle on one backend. Pass one bundle, and leave out --all.")


def run_live(options: argparse.Namespace) -> None:
    """Measure and print."""
    from edge_msa_runtime.benchmark.conditions import describe_machine, format_conditions, measure_conditions
    from edge_msa_runtime.benchmark.live import measure_live
    from edge_msa_runtime.live.opening import check_media_bundle, open_front_ends, picture_rate, takes_words
    from edge_msa_runtime.live.voice import open_voice
    from edge_msa_runtime.live.word_sources import RecognizedWords
    from edge_msa_runtime.media.files import open_media

    before = measure_conditions()
    with ExitStack() as stack:
        session = stack.enter_context(open_session(options, options.bundle[0]))
        manifest = session.manifest
        check_media_bundle(manifest)
        with open_media(options.live) as media:
            has_sound, has_pictures = media.has_sound, media.has_pictures
        face_model = None if options.face_model is None else Path(options.face_model)
        front_ends = open_front_ends(manifest, sound=has_sound, pictures=has_pictures, face_model=face_model)
        print_notes(front_ends.notes)
        words = None
        if options.asr is not None and has_sound and takes_words(manifest):
            from edge_msa_runtime.speech.recognizer import open_recognizer

            words = RecognizedWords(open_recognizer(options.asr, threads=options.threads).listen())
        if front_ends.audio is None and front_ends.vision is None and words is None:
            raise UsageError(
                f"{options.live} has nothing that {manifest.name} uses. Pass a video with sound, or --asr for words."
            )
        rate = picture_rate(manifest)
        minutes = 1.0 if options.minutes is None else options.minutes
        print_note(f"playing {options.live} in real time for {minutes:g} min")
        result = measure_live(
            session,
            lambda sound, pictures: open_media(options.live, sound=sound, pictures=pictures, picture_rate=rate),
            audio=front_ends.audio,
            vision=front_ends.vision,
            voice=open_voice(),
            words=words,
            minutes=minutes,
            on_window=None if options.json else _show_progress,
        )
        title = f"{manifest.name}: {session.backend} {session.precision}, {Path(options.live).name}, {minutes:g} min"
    after = measure_conditions()
    conditions = [f"before: {format_conditions(before)}", f"after:  {format_conditions(after)}"]
    value: dict[str, Any] = {
        "bundle": manifest.name,
        "backend": session.backend,
        "precision": session.precision,
        "media": str(options.live),
        "minutes": minutes,
        "asr": options.asr,
        **result.to_json(),
        "machine": describe_machine(),
        "before": before,
        "after": after,
    }
    print_result([title, *format_live(result), *conditions], value, options)


def _show_progress(window: Window) -> None:
    print_note(f"{window.seconds / 60:.1f} min done")


def format_live(result: LiveBenchmark) -> list[str]:
    """Format the stages with their budgets, then the minutes of the run."""
    lines = ["  one core:", *(f"    {line}" for line in _format_stages(result.stages))]
    cores = "all cores" if result.cores is None else "1 core" if result.cores == 1 else f"{result.cores} cores"
    lines.append(f"  in real time on {cores}: {result.pictures} pictures used, {result.dropped} dropped")
    lines += [f"    {line}" for line in _format_model(result)]
    heads = ("minute", "predictions", "model p50", "p99 ms", "late ms", "words p50", "max s", "dropped", "cores", "MB")
    lines.append("  " + "".join(f"{head:>12}" for head in heads))
    for window in result.windows:
        memory = "-" if window.memory_bytes is None else f"{window.memory_bytes / MEGABYTE:.1f}"
        cells = (
            f"{window.seconds / 60:.1f}",
            str(window.predictions),
            _number(window.model_ms[0], 2),
            _number(window.model_ms[1], 2),
            f"{window.late_ms:.1f}",
            _number(window.word_seconds[0], 2),
            _number(window.word_seconds[1], 2),
            str(window.dropped),
            f"{window.cores:.2f}",
            memory,
        )
        lines.append("  " + "".join(f"{cell:>12}" for cell in cells))
    if result.memory_slope is not None and result.delay_slope is not None:
        lines.append(
            f"  after the start, per minute: memory {result.memory_slope / MEGABYTE:+.3f} MB, "
            f"delay of predictions {result.delay_slope:+.3f} ms"
        )
    return lines


def _format_stages(stages: Stages) -> Iterator[str]:
    from edge_msa_runtime.benchmark.live import AUDIO_SHARE, VISION_MS

    if stages.audio_share is not None:
        budget = _budget(stages.audio_share, AUDIO_SHARE, f"{AUDIO_SHARE:g}")
        yield f"audio   {stages.audio_share:.4f} of real time, over {stages.sound_seconds:.0f} s of sound {budget}"
    if stages.picture_size is not None and stages.face_share is not None:
        size = "x".join(map(str, stages.picture_size))
        p50 = stages.vision_ms["p50"] or 0.0
        shown = ", ".join(f"{name} {_number(value, 2)}" for name, value in stages.vision_ms.items())
        budget = _budget(p50, VISION_MS, f"{VISION_MS:g} ms")
        yield f"vision  {shown} ms per picture of {size}, {stages.face_share:.0%} with a face {budget}"


def _format_model(result: LiveBenchmark) -> Iterator[str]:
    from edge_msa_runtime.benchmark.live import MODEL_MS, WORD_SECONDS

    if result.model_ms["p50"] is not None:
        shown = ", ".join(f"{name} {_number(value, 2)}" for name, value in result.model_ms.items())
        yield f"model   {shown} ms per prediction {_budget(result.model_ms['p50'], MODEL_MS, f'{MODEL_MS:g} ms')}"
    if result.words and result.word_seconds["p50"] is not None:
        shown = ", ".join(f"{name} {_number(value, 2)}" for name, value in result.word_seconds.items())
        budget = _budget(result.word_seconds["p90"] or 0.0, WORD_SECONDS, f"{WORD_SECONDS:g} s for p90")
        yield f"words   {shown} s after their ends, {result.words} words {budget}"


def _budget(value: float, limit: float, text: str) -> str:
    return f"({'within' if value <= limit else 'over'} {text})"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
