"""`edge-msa-run doctor`: check this device and suggest fixes."""

from __future__ import annotations

import argparse
from typing import Any

from edge_msa_runtime.cli.common import add_bundle_argument, add_command, add_general_options, print_notes, print_result


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "doctor",
        "Check this device, list problems and suggest fixes, without changing anything.",
        "doctor bundle-laptop",
    )
    add_bundle_argument(
        parser, nargs="?", help="Folder of a bundle to check against this device. Default: check only the device."
    )
    add_general_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.bundle.loader import open_bundle
    from edge_msa_runtime.doctor.report import examine_device, format_report

    bundle = open_bundle(options.bundle) if options.bundle else None
    print_notes(bundle.notes if bundle else ())
    report = examine_device(bundle.manifest if bundle else None)
    print_result(format_report(report), report.to_json(), options)
    report.raise_if_blocked()
