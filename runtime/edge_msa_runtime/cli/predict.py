"""`edge-msa-run predict`: predict the sentiment of one utterance."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    add_bundle_argument,
    add_session_options,
    open_session,
    print_notes,
    print_result,
    print_warnings,
)
from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    text = "Predict the sentiment of one utterance from a text or from feature files."
    parser = commands.add_parser("predict", help=text, description=text)
    add_bundle_argument(parser)
    parser.add_argument(
        "input",
        metavar="INPUT.npz",
        nargs="?",
        help="Arrays language, audio, vision (T, d) and optional masks valid.language, ... (default: none).",
    )
    parser.add_argument("--text", metavar="TEXT", help="Text of the utterance (default: none).")
    parser.add_argument(
        "--truncate",
        choices=("end", "start", "window"),
        default="end",
        help="What to do with a text that is too long: drop its end or start, or average over windows (default: end).",
    )
    for name in ("language", "audio", "vision"):
        parser.add_argument(
            f"--{name}", metavar="FILE.npy", help=f"Frames (T, d) of the {name} modality (default: none)."
        )
    add_session_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.inputs.files import load_inputs

    files = {name: getattr(options, name) for name in ("language", "audio", "vision")}
    frames, valid = load_inputs(options.input, {name: path for name, path in files.items() if path is not None})
    if not frames and options.text is None:
        raise UsageError("No input. Pass --text, INPUT.npz, --language, --audio or --vision.")
    with open_session(options, options.bundle) as session:
        # The first prediction loads the graph. The latency of the second one is that of all later predictions.
        session.predict(text=options.text, **frames, valid=valid, truncate=options.truncate)
        prediction = session.predict(text=options.text, **frames, valid=valid, truncate=options.truncate)
        print_notes(session.notes)
    print_warnings(prediction.warnings)
    print_result(format_prediction(prediction), {**prediction.to_json(), "load_ms": session.load_ms}, options)


def format_prediction(prediction: Prediction) -> list[str]:
    """Format a prediction: score and label, the probability of each emotion if any, and how it was computed."""
    score = "" if prediction.score is None else f"{prediction.score:+.4f} "
    lines = [f"{score}{prediction.label}".strip()]
    lines.extend(f"  {label:12} {probability:.3f}" for label, probability in prediction.probabilities.items())
    executed = f"{prediction.backend} on {prediction.device} at {prediction.precision}"
    return [*lines, f"subset {prediction.subset}, {executed}, latency {prediction.latency_ms:.3f} ms"]
