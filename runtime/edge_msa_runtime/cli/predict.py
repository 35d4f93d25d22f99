"""`edge-msa-run predict`: predict the sentiment of one utterance, or of all samples of a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    add_bundle_argument,
    add_output_option,
    add_session_options,
    open_session,
    print_notes,
    print_result,
    print_warnings,
)
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.split_names import SPLITS
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.text.tokenizer import TRUNCATIONS

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    text = "Predict the sentiment of one utterance from a text or from feature files, or of all samples of a file."
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
        choices=TRUNCATIONS,
        default="end",
        help="What to do with a text that is too long: drop its end or start, or average over windows (default: end).",
    )
    for name in MODALITIES:
        parser.add_argument(
            f"--{name}", metavar="FILE.npy", help=f"Frames (T, d) of the {name} modality (default: none)."
        )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="Many samples: a .npz of `edge-msa data convert`, a .csv of texts, or a folder of .npy files "
        "(default: none).",
    )
    parser.add_argument(
        "--split",
        choices=SPLITS,
        metavar="NAME",
        help="Split of the samples: train, valid or test (default: all splits).",
    )
    inputs = ("bundle", "input", "data", *MODALITIES)
    add_output_option(parser, "FILE", ".csv or .json file for the predictions of many samples", inputs)
    add_session_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    files = {name: getattr(options, name) for name in MODALITIES}
    one = [options.input, options.text, *files.values()]
    if options.data is not None:
        if any(item is not None for item in one):
            raise UsageError("--data is for many samples. Pass it without INPUT.npz, --text and feature files.")
        _predict_file(options)
    elif options.output is not None or options.split is not None:
        raise UsageError("--output and --split are for the samples of --data. Pass --data FILE, or use --json.")
    else:
        _predict_one(options, {name: path for name, path in files.items() if path is not None})


def _predict_one(options: argparse.Namespace, files: dict[str, str]) -> None:
    from edge_msa_runtime.inputs.files import load_inputs

    frames, valid = load_inputs(options.input, files)
    if not frames and options.text is None:
        raise UsageError(
            "No input. Pass --text, INPUT.npz, --language, --audio or --vision; or many samples as --data."
        )
    with open_session(options, options.bundle) as session:
        # The first prediction loads the graph. The latency of the second one is that of all later predictions.
        session.predict(text=options.text, **frames, valid=valid, truncate=options.truncate)
        prediction = session.predict(text=options.text, **frames, valid=valid, truncate=options.truncate)
    print_warnings(prediction.warnings)
    print_result(format_prediction(prediction), {**prediction.to_json(), "load_ms": session.load_ms}, options)


def _predict_file(options: argparse.Namespace) -> None:
    from edge_msa_runtime.inputs.samples import open_samples
    from edge_msa_runtime.prediction_files import (
        check_features,
        check_suffix,
        format_csv,
        predict_samples,
        summarize,
        usable_modalities,
        write_predictions,
    )

    output = Path(options.output) if options.output is not None else None
    if output is not None:
        check_suffix(output)
    samples = open_samples(Path(options.data), split=options.split)
    print_notes(samples.notes)
    with open_session(options, options.bundle) as session:
        modalities, ignored = usable_modalities(session, samples.modalities, has_text=samples.has_text)
        print_notes(ignored)
        warning = check_features(session, samples.features, modalities, Path(options.data).name)
        print_warnings([warning] if warning else [])
        predicted = predict_samples(session, samples.read(), modalities, truncate=options.truncate)
    task, source = session.manifest.task, {"model": session.manifest.name, "data": Path(options.data).name}
    summary = summarize(predicted)
    print_notes(summary[1:])
    if output is None:
        lines = format_csv(predicted, task).rstrip("\n").split("\n")
    else:
        write_predictions(output, predicted, task, source)
        lines = [f"{output}: {summary[0]}"]
    done = sum(bool(item.subset) for item in predicted)
    print_result(lines, {**source, "samples": len(predicted), "predicted": done, "output": options.output}, options)


def format_prediction(prediction: Prediction) -> list[str]:
    """Format a prediction: score and label, the probability of each emotion if any, and how it was computed."""
    score = "" if prediction.score is None else f"{prediction.score:+.4f} "
    lines = [f"{score}{prediction.label}".strip()]
    lines.extend(f"  {label:12} {probability:.3f}" for label, probability in prediction.probabilities.items())
    executed = f"{prediction.backend} on {prediction.device} at {prediction.precision}"
    return [*lines, f"subset {prediction.subset}, {executed}, latency {prediction.latency_ms:.3f} ms"]
