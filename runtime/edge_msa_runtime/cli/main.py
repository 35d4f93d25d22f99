"""`edge-msa-run`: inspect, verify, run and measure bundles on a device, without torch.

With `--json`, the last line of stdout is one compact JSON value. An error is one line on stderr. The exit codes are
those of `edge_msa_runtime.errors`. A signal exits with 128 + its number: 130 for Ctrl-C, 143 for SIGTERM.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from typing import Sequence

from edge_msa_runtime import __version__
from edge_msa_runtime.cli import bench, build, doctor, info, live, predict, serve, stream, verify, watch
from edge_msa_runtime.cli.common import check_outputs, check_signature, find_bundle, print_note
from edge_msa_runtime.cli.help_page import Row
from edge_msa_runtime.cli.parser import COMMANDS, GENERAL, Parser
from edge_msa_runtime.encodings import check_arguments, escape_unprintable_output
from edge_msa_runtime.errors import EdgeMsaError
from edge_msa_runtime.interrupts import handle_interrupts
from edge_msa_runtime.log_notes import print_log
from edge_msa_runtime.vendor_packages import import_package

_INTERRUPTED = 130
_WITHOUT_NUMPY = ("info", "doctor")
"""Commands that work without NumPy, so that they can say that it is missing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    escape_unprintable_output()
    with handle_interrupts() as interrupts, print_log(print_note):
        try:
            check_arguments(sys.argv[1:] if arguments is None else arguments)
            options = parse(arguments)
            if options.command not in _WITHOUT_NUMPY:
                import_package("numpy")
            find_bundle(options)
            check_outputs(options)
            check_signature(options)
            options.run(options)
            sys.stdout.flush()
        except KeyboardInterrupt:
            pass
        except Exception as error:  # noqa: BLE001 - raised again unless it is expected
            # A backend may replace the KeyboardInterrupt of a signal with an exception of its own.
            if interrupts.exit_code is None:
                return _handle_error(error)
        else:
            return 0
        print("interrupted", file=sys.stderr)
        return interrupts.exit_code or _INTERRUPTED


def _handle_error(error: Exception) -> int:
    """Print an expected error as one line, or as its traceback, and return its exit code; raise any other error."""
    if isinstance(error, EdgeMsaError):
        if os.environ.get("EDGE_MSA_TRACEBACK"):
            traceback.print_exception(type(error), error, error.__traceback__)
        else:
            print(f"edge-msa-run: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # The program that received our output has ended, as `head` does. Redirect stdout to /dev/null, so that Python's
        # flush at exit does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EdgeMsaError.exit_code
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        print(f"edge-msa-run: Cannot write to stdout ({error.strerror}). Free disk space.", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EdgeMsaError.exit_code
    if isinstance(error, OSError):
        print(f"edge-msa-run: {error}. Check the path and the free disk space.", file=sys.stderr)
        return EdgeMsaError.exit_code
    raise error


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of a command line.

    Raises:
        UsageError: an argument is missing, unknown or not valid.
    """
    options, unknown = create_parser().parse_known_args(arguments)
    if unknown:
        options.parser.refuse(unknown)
    if hasattr(options, "read_arguments"):
        options.read_arguments(options)
    return options


def create_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog="edge-msa-run",
        description="Run an edge-msa bundle on this device: predict, verify and measure, without torch.",
        example="edge-msa-run predict bundle-laptop --data samples",
    )
    parser.placeholders.append("COMMAND")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (info, verify, predict, stream, watch, live, serve, bench, build, doctor):
        command.add_parser(commands)
    parser.rows[COMMANDS] = [Row(name, str(child.description)) for name, child in commands.choices.items()]
    version = f"edge-msa-run {__version__}"
    parser.add(GENERAL, "--version", action="version", version=version, help="Print the version and exit.")
    parser.add(GENERAL, "-h", "--help", action="help", help="Show this message and exit.")
    parser.set_defaults(parser=parser)
    return parser
