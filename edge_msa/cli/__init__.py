"""The `edge-msa` command line. Expected errors are printed as one line, and exit codes are stable.

0 success, 1 failure, 2 usage error, 3 accuracy gate failed, 4 backend or device missing, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

INTERRUPTED = 130


def main() -> None:
    """Run the `edge-msa` command and exit with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. Expected errors are printed as one line on stderr."""
    from edge_msa.cli.app import app
    from edge_msa.errors import EdgeMsaError

    try:
        code = int(app(arguments, prog_name="edge-msa", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        return _print_error(_os_message(error), 1)
    except EdgeMsaError as error:
        if os.environ.get("EDGE_MSA_TRACEBACK"):
            raise
        return _print_error(str(error), error.exit_code)
    except Exception as error:
        # Typer raises its copy of click's ClickException, which has no public name.
        if os.environ.get("EDGE_MSA_TRACEBACK") or not hasattr(error, "format_message"):
            raise
        return _print_typer_error(error)
    if code == INTERRUPTED:  # Typer turns Ctrl-C inside a command into this code
        _print_error("Interrupted. No partial output remains; run the same command again to resume.", code)
    return code


def _print_typer_error(error: Any) -> int:
    """Print an error of Typer (a wrong option or argument) as one line and return its exit code."""
    code = int(error.exit_code)
    if type(error).__name__ == "NoArgsIsHelpError":  # a command without arguments: the message is the whole help text
        print(error, file=sys.stderr)
        return code
    message = " ".join(str(error.format_message()).split()).rstrip(".").replace("Value error, ", "")
    command = getattr(getattr(error, "ctx", None), "command_path", "edge-msa")
    return _print_error(f"{message}. See {command} --help", code)


def _print_error(message: str, code: int) -> int:
    print(f"edge-msa: {message}", file=sys.stderr)
    return code


def _os_message(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"No space left on the device{where}. Free some space and run the same command again."
    if error.errno == errno.EACCES:
        return f"Permission denied{where}. Choose a folder that you can write to."
    return f"{error.strerror or error}{where}. Choose a path that can be read and written."
