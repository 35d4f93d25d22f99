"""`edge-msa-run`: inspect, verify, run and measure bundles on a device, without torch.

With `--json`, the last line of stdout is one compact JSON value. An error is one line on stderr. The exit codes are
those of `edge_msa_runtime.errors`; Ctrl-C exits with 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn, Sequence

from edge_msa_runtime import __version__
from edge_msa_runtime.cli import bench, build, doctor, info, predict, verify
from edge_msa_runtime.errors import EdgeMsaError, UsageError

_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, like every other error of the command line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        options = _create_parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except EdgeMsaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The program that received our output has ended, as `head` does. Redirect stdout to /dev/null, so that Python's
        # flush at exit does not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EdgeMsaError.exit_code
    except OSError as error:
        print(f"error: {error}. Check the path and the free disk space.", file=sys.stderr)
        return EdgeMsaError.exit_code
    return 0


def _create_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="edge-msa-run", description="Run an edge-msa bundle on this device.")
    parser.add_argument("--version", action="version", version=f"edge-msa-run {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in (info, verify, predict, bench, build, doctor):
        command.add_parser(commands)
    return parser
