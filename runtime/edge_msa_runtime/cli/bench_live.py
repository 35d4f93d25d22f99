"""`edge-msa-run bench --live`: what prediction from a microphone and a camera costs on this device."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from edge_msa_runtime.cli.common import open_session, print_note, print_notes, print_result
from edge_msa_runtime.cli.parser import OPTIONS, Parser
from edge_msa_runtime.errors import UsageError

_LIVE_OPTIONS = ("minutes", "asr", "face_model")


def add_live_options(parser: Parser) -> None:
    """Add the options of the measurement."""
    parser.add(
        OPTIONS,
        "--live",
        metavar="FILE",
        help="Measure live prediction instead. This video replaces the camera and the microphone. It should show a "
        "face and contain speech, and is repeated as often as needed. Default: measure predictions alone.",
    )
    parser.add(
        OPTIONS, "--minutes", type=float, metavar="N", help="Length of the run of --live in real time. Default: 1."
    )
    parser.add(
        OPTIONS,
        "--asr",
        metavar="NAME",
        help="Speech recognizer of --live: whisper:FOLDER, or whisper:NAME of a model in the cache. Default: no words.",
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
    from edge_msa_runtime.benchmark.live import bench_live
    from edge_msa_runtime.benchmark.live_report import format_live

    before = measure_conditions()
    minutes = 1.0 if options.minutes is None else options.minutes
    with open_session(options, options.bundle[0]) as session:
        print_note(f"playing {options.live} in real time for {minutes:g} min")
        result = bench_live(
            session,
            Path(options.live),
            asr=options.asr,
            face_model=None if options.face_model is None else Path(options.face_model),
            minutes=minutes,
            on_window=lambda window: print_note(f"{window.seconds / 60:.1f} min done"),
        )
        title = f"{session.manifest.name}: {session.backend} {session.precision}, {Path(options.live).name}"
    after = measure_conditions()
    print_notes(result.notes)
    conditions = [f"before: {format_conditions(before)}", f"after:  {format_conditions(after)}"]
    value: dict[str, Any] = {
        "bundle": session.manifest.name,
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
    print_result([f"{title}, {minutes:g} min", *format_live(result), *conditions], value, options)
