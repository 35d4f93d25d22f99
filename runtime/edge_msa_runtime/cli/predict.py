"""`edge-msa-run predict`: predict the sentiment of one utterance, or of all samples of a file."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    add_bundle_or_pretrained,
    add_command,
    add_interval_options,
    add_overwrite_option,
    add_session_options,
    open_session,
    print_notes,
    print_result,
    print_warnings,
)
from edge_msa_runtime.cli.parser import ARGUMENTS, OPTIONS
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.split_names import SPLITS
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.text.tokenizer import TRUNCATIONS

if TYPE_CHECKING:
    from edge_msa_runtime.prediction import Prediction


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "predict",
        "Predict the sentiment of one utterance, or of all samples of a file.",
        "predict bundle-laptop --audio audio.npy --vision vision.npy",
    )
    add_bundle_or_pretrained(parser)
    parser.add(
        ARGUMENTS,
        "input",
        metavar="INPUT.npz",
        nargs="?",
        help="Arrays language, audio and vision (T, d), and optionally masks valid.language, valid.audio and "
        "valid.vision. Default: none.",
    )
    parser.add(
        OPTIONS,
        "--text",
        metavar="WORDS",
        help="Text of the utterance. With --pretrained, it can be the argument. Default: none.",
    )
    parser.add(
        OPTIONS,
        "--truncate",
        choices=TRUNCATIONS,
        default="end",
        metavar="NAME",
        help="What to do with a text that is too long: drop its end, drop its start, or average over windows. "
        "One of: end, start, window. Default: end.",
    )
    parser.add(
        OPTIONS,
        "--context",
        action="append",
        default=[],
        metavar="WORDS",
        help="Text of an earlier utterance, for a text encoder that reads them. Repeat the option, the newest last. "
        "Default: none.",
    )
    for name in MODALITIES:
        parser.add(
            OPTIONS, f"--{name}", metavar="FILE.npy", help=f"Frames (T, d) of the {name} modality. Default: none."
        )
    parser.add(
        OPTIONS,
        "--data",
        metavar="FILE",
        help="Many samples: a folder with ID/audio.npy (or language, vision), ID.audio.npy or ID.npz for each "
        "utterance; a .npz of `edge-msa data convert`; or, if the bundle takes text, a .csv of texts. Default: none.",
    )
    parser.add(
        OPTIONS,
        "--split",
        choices=SPLITS,
        metavar="NAME",
        help="Split to use: train, valid or test. Default: all splits.",
    )
    add_interval_options(parser)
    inputs = ("bundle", "input", "data", *MODALITIES)
    parser.add(
        OPTIONS,
        "--output",
        metavar="FILE",
        help="File to write: .csv or .json with the predictions of many samples. Default: not written.",
    )
    add_overwrite_option(parser, ("output",), inputs)
    add_session_options(parser)
    parser.set_defaults(run=run, read_arguments=read_arguments)


def read_arguments(options: argparse.Namespace) -> None:
    """With `--pretrained`, read the argument as the text: `predict --pretrained text-nano "i love it"`.

    Raises:
        UsageError: there is more than one text or a file instead of a text.
    """
    if options.pretrained is None or options.bundle is None:
        return
    text, options.bundle = options.bundle, None
    if options.input is not None or options.text is not None:
        more = options.input if options.input is not None else options.text
        raise UsageError(
            f"With --pretrained, the only argument is the text, got {text!r} and {more!r}. Quote the text: "
            '--pretrained text-nano "i love it"'
        )
    if os.path.exists(text):  # noqa: PTH110 - a text is not always a path, for which Path.exists raises an error
        raise UsageError(
            f"With --pretrained, the argument is the text, but {text!r} is a file or a folder. Pass a text, or "
            "the folder of a bundle without --pretrained. For a text of this name, use --text."
        )
    options.text = text


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    files = {name: getattr(options, name) for name in MODALITIES}
    one = [options.input, options.text, *files.values(), *options.context]
    if options.data is not None:
        if any(item is not None for item in one):
            raise UsageError(
                "--data is for many samples. Pass it without INPUT.npz, --text, --context and feature files."
            )
        _predict_file(options)
    elif options.output is not None or options.split is not None:
        raise UsageError("--output and --split are for the samples of --data. Pass --data FILE, or use --json.")
    else:
        _predict_one(options, {name: path for name, path in files.items() if path is not None})


def _predict_one(options: argparse.Namespace, files: dict[str, str]) -> None:
    from edge_msa_runtime.bundle.loader import open_bundle
    from edge_msa_runtime.inputs.files import load_inputs

    frames, valid = load_inputs(options.input, files)
    if not frames and options.text is None:
        open_bundle(options.bundle)  # a wrong path is the first thing to correct
        raise UsageError(
            "No input. Pass --text, INPUT.npz, --language, --audio or --vision; or many samples as --data."
        )
    with open_session(options, options.bundle) as session:
        # The first prediction loads the graph. The latency of the second one is that of all later predictions.
        inputs = {**frames, "text": options.text, "context": options.context, "truncate": options.truncate}
        session.predict(**inputs, valid=valid)
        prediction = session.predict(**inputs, valid=valid)
    print_warnings(prediction.warnings)
    value = {**prediction.to_json(), "load_ms": session.load_ms}
    print_result(format_prediction(prediction, options.coverage), value, options)


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


def format_prediction(prediction: Prediction, coverage: float) -> list[str]:
    """Format a prediction: score, label and interval, or all probabilities and the set, and how it was computed."""
    score = "" if prediction.score is None else f"{prediction.score:+.4f} "
    lines = [f"{score}{prediction.label}".strip()]
    if prediction.interval is not None:
        low, high = prediction.interval
        lines.append(f"{100 * coverage:.4g} % interval {low:+.2f} to {high:+.2f}")
    if prediction.prediction_set is not None:
        lines.append(f"{100 * coverage:.4g} % set: {', '.join(prediction.prediction_set)}")
    lines.extend(f"  {label:12} {probability:.3f}" for label, probability in prediction.probabilities.items())
    executed = f"{prediction.backend} on {prediction.device} at {prediction.precision}"
    member = f" by {prediction.member}" if prediction.member else ""
    return [*lines, f"subset {prediction.subset}{member}, {executed}, latency {prediction.latency_ms:.3f} ms"]
