"""Options and output that several commands share."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Sequence

from edge_msa_runtime.cli.parser import ARGUMENTS, BACKEND, GENERAL, OPTIONS, SIGNATURE, Parser
from edge_msa_runtime.conformal import DEFAULT_COVERAGE
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.output_paths import FILE, check_distinct_outputs, check_may_replace, check_output
from edge_msa_runtime.wording import merge_split_notes

if TYPE_CHECKING:
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.variants import Variants

KILOBYTE, MEGABYTE = 1e3, 1e6
KEYS_VARIABLE = "EDGE_MSA_TRUSTED_KEYS"


def add_command(commands: Any, name: str, text: str, example: str) -> Parser:
    """Add a command to the parser of the command line.

    Args:
        commands: what `add_subparsers` returned.
        name: name of the command.
        text: what it does, in one sentence.
        example: a command line that works.
    """
    parser: Parser = commands.add_parser(name, help=text, description=text, example=f"edge-msa-run {example}")
    parser.set_defaults(parser=parser)
    return parser


def add_bundle_argument(parser: Parser, **arguments: Any) -> None:
    """Add the positional argument BUNDLE."""
    parser.add(ARGUMENTS, "bundle", **{"metavar": "BUNDLE", "help": "Folder of the bundle.", **arguments})


def add_bundle_or_pretrained(parser: Parser) -> None:
    """Add BUNDLE and `--pretrained`, of which exactly one is needed. `find_bundle` sets `bundle` from either."""
    add_bundle_argument(parser, nargs="?", help="Folder of the bundle. Default: the bundle of --pretrained.")
    parser.add(
        OPTIONS,
        "--pretrained",
        metavar="NAME",
        help="Use a bundle of the package edge-msa-pretrained, such as text-nano. Default: the folder BUNDLE.",
    )


def find_bundle(options: argparse.Namespace) -> None:
    """Replace `--pretrained` by the folder of its bundle, in `options.bundle`.

    Raises:
        UsageError: both or neither of BUNDLE and `--pretrained` were passed, or there is no such pretrained bundle.
        PackageImportError: the package of the pretrained bundles is not installed.
        BundleError: it is damaged.
    """
    if not hasattr(options, "pretrained"):
        return
    if options.pretrained is None:
        if options.bundle is None:
            options.parser.error("the following arguments are required: BUNDLE")
        return
    if options.bundle is not None:
        raise UsageError(
            f"BUNDLE and --pretrained exclude each other, got {options.bundle!r} and {options.pretrained!r}. Pass one."
        )
    from edge_msa_runtime.pretrained import pretrained_bundle

    options.bundle = str(pretrained_bundle(options.pretrained))


def add_general_options(parser: Parser) -> None:
    """Add `--json` and `--help`."""
    parser.add(
        GENERAL, "--json", action="store_true", help="Print the result as one line of JSON at the end of stdout."
    )
    parser.add(GENERAL, "-h", "--help", action="help", help="Show this message and exit.")


def add_all_option(parser: Parser) -> None:
    """Add `--all`."""
    parser.add(
        OPTIONS,
        "--all",
        action="store_true",
        help="Use every available backend at every precision, instead of one backend.",
    )


def add_session_options(parser: Parser) -> None:
    """Add the options that select how a session is opened, and `add_general_options`."""
    parser.add(
        BACKEND,
        "--backend",
        default="auto",
        metavar="NAME",
        help="Backend of the bundle: onnxruntime, openvino, tensorrt or auto. "
        "Default: auto, the first that is available.",
    )
    parser.add(
        BACKEND,
        "--precision",
        metavar="NAME",
        help="Precision of the bundle: fp32, fp16, int8 or int4. Default: the one that export chose.",
    )
    parser.add(
        BACKEND,
        "--device",
        default="",
        metavar="NAME",
        help="Device: CPU, GPU, GPU.1 or NPU for openvino, GPU:N for tensorrt. Default: the backend's default.",
    )
    parser.add(
        BACKEND, "--threads", type=int, default=1, metavar="N", help="CPU threads of one prediction. Default: 1."
    )
    parser.add(
        BACKEND,
        "--strict",
        action="store_true",
        help="Fail if the bundle's first backend or the requested device is not used.",
    )
    parser.add(
        BACKEND,
        "--spin",
        action="store_true",
        help="Let idle threads of onnxruntime spin: slightly faster with several threads, but the CPU is always busy.",
    )
    add_signature_options(parser)
    add_general_options(parser)


def add_signature_options(parser: Parser) -> None:
    """Add the options of signatures, which `check_signature` reads."""
    parser.add(
        SIGNATURE,
        "--trusted-keys",
        metavar="KEYS",
        help="Load the bundle only if one of these public keys signed it: a file, or a folder with *.pub files. "
        f"Default: {KEYS_VARIABLE}, or else signatures are not verified.",
    )
    parser.add(
        SIGNATURE,
        "--require-signature",
        action="store_true",
        help="Fail if no trusted keys are given, instead of loading the bundle without verifying its signature.",
    )
    parser.add(
        SIGNATURE,
        "--minimum-version",
        type=int,
        metavar="N",
        help="With trusted keys, refuse a release with a smaller version. "
        "Default: the largest that this device has verified.",
    )


def check_signature(options: argparse.Namespace) -> None:
    """Verify the signature of the bundle if trusted keys are given, and set `options.signature`.

    Raises:
        UsageError: an option needs trusted keys and there are none, or a key cannot be read.
        SignatureError: the bundle must not be loaded.
        PackageImportError: the package cryptography is not installed.
    """
    options.signature = None
    if not hasattr(options, "trusted_keys"):
        return
    keys = options.trusted_keys or os.environ.get(KEYS_VARIABLE)
    if not keys:
        for name in ("require_signature", "minimum_version"):
            if getattr(options, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} needs trusted keys. Pass --trusted-keys, or set {KEYS_VARIABLE}."
                )
        return
    from edge_msa_runtime.bundle.signature import verify_signature, versions_file

    bundles = options.bundle if isinstance(options.bundle, list) else [options.bundle]
    for bundle in bundles:
        options.signature = verify_signature(
            bundle, [keys], minimum_version=options.minimum_version or 0, versions=versions_file()
        )


def add_interval_options(parser: Parser) -> None:
    """Add the options of the intervals and sets of predictions."""
    parser.add(
        OPTIONS,
        "--coverage",
        type=float,
        default=DEFAULT_COVERAGE,
        metavar="SHARE",
        help="Share of the intervals, or sets of classes, that contain the label, between 0 and 1. Default: 0.9.",
    )
    parser.add(
        OPTIONS,
        "--abstain",
        action="store_true",
        help="Label a prediction uncertain if its interval has both negative and positive values, or its set several "
        "classes.",
    )


def add_overwrite_option(parser: Parser, outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Add `--overwrite`. `check_outputs` checks the files that a command writes besides stdout, before slow work.

    Args:
        parser: the parser of the command.
        outputs: names of the options with files to write.
        inputs: names of the options with paths that the command reads.
    """
    parser.add(OPTIONS, "--overwrite", action="store_true", help="Replace existing files. HTML pages always are.")
    parser.set_defaults(inputs=inputs, outputs=outputs)


def check_outputs(options: argparse.Namespace) -> None:
    """Check the files of `add_overwrite_option` before the command starts.

    Raises:
        UsageError: one cannot be written, exists, is an input, is inside the bundle, or is the same as another one.
    """
    outputs = [path for name in getattr(options, "outputs", ()) for path in [getattr(options, name)] if path]
    if not outputs:
        return
    inputs = [Path(path) for name in options.inputs for path in [getattr(options, name)] if path]
    inputs += options.more_inputs(options) if hasattr(options, "more_inputs") else []
    check_distinct_outputs(outputs)
    for path in outputs:
        check_output(path, FILE, inputs)
        check_may_replace(path, overwrite=options.overwrite)


def open_session(options: argparse.Namespace, bundle: str) -> Session:
    """Open a session with the options of `add_session_options`, and print the notes about the bundle."""
    from edge_msa_runtime.loading import load

    session = load(bundle, options.backend, precision=options.precision, **_common_options(options))
    print_notes(session.bundle.notes)
    return session


def check_no_precision(options: argparse.Namespace) -> None:
    """Raise a UsageError if `--precision` is set with `--all`."""
    if options.precision:
        raise UsageError("--all uses every precision. Leave out --precision.")


def select_variants(options: argparse.Namespace, bundle: str) -> Variants:
    """Return the variants that `--all` selects, with the options of `add_session_options`.

    Raises:
        UsageError: `--precision` is set.
    """
    from edge_msa_runtime.variants import Variants

    check_no_precision(options)
    return Variants(bundle, options.backend, **_common_options(options))


def _common_options(options: argparse.Namespace) -> dict[str, Any]:
    # Only `bench` has --workers, and only commands that show predictions have the options of intervals.
    names = ("strict", "threads", "device", "spin", "workers", "coverage", "abstain")
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def print_note(note: str) -> None:
    """Print a note on stderr."""
    print(f"note: {note}", file=sys.stderr)


def print_notes(notes: Iterable[str]) -> None:
    """Print each note once, on stderr. Notes that differ only in the split are one."""
    for note in merge_split_notes(notes):
        print_note(note)


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning of a prediction, on stderr."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def print_skipped(variants: Variants) -> None:
    """Print the notes about a bundle, and why backends were skipped, on stderr."""
    print_notes([*variants.notes, *(f"skipped: {reason}" for reason in variants.skipped)])


def print_result(lines: Sequence[str], value: Any, options: argparse.Namespace) -> None:
    """Print lines, and with `--json` one line of JSON after them."""
    for line in lines:
        print(line)
    if options.json:
        print(json.dumps(value, separators=(",", ":")))
