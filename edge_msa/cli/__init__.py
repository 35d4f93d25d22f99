"""The command line: options in, one line on every error, exit codes that scripts can rely on.

0 ok, 1 failure, 2 usage, 3 accuracy gate failed, 4 backend or device missing, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Entry point of `edge-msa`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors that were foreseen become one line on stderr."""
    from edge_msa.cli.app import app

    try:
        code = int(app(arguments, prog_name="edge-msa", standalone_mode=False) or 0)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        return _say(_os_message(error), 1)
    except Exception as error:
        foreseen = _failure(error)
        if foreseen is None or os.environ.get("EDGE_MSA_TRACEBACK"):
            raise
        return foreseen
    if code == INTERRUPTED:  # which Typer makes of Ctrl-C inside a command
        _say("interrupted: nothing half-made is left behind; give the same command again", code)
    return code


def _failure(error: Exception) -> int | None:
    """Say an error that was foreseen, and give its exit code; None for any other."""
    code = getattr(error, "exit_code", None)
    if not isinstance(code, int):
        return None
    if type(error).__name__ == "NoArgsIsHelpError":  # a command without arguments: its message is the whole help
        print(error, file=sys.stderr)
        return code
    if not hasattr(error, "format_message"):
        return _say(str(error), code)
    # Typer's own, of which the message may have several lines.
    message = " ".join(str(error.format_message()).split()).rstrip(".").replace("Value error, ", "")
    path = getattr(getattr(error, "ctx", None), "command_path", "edge-msa")
    return _say(f"{message}; see: {path} --help", code)


def _say(message: str, code: int) -> int:
    print(f"edge-msa: {message}", file=sys.stderr)
    return code


def _os_message(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"no space left on the device{where}: free some and run the same command again"
    if error.errno == errno.EACCES:
        return f"permission denied{where}: choose a folder that you may write"
    return f"{error.strerror or error}{where}: give a place that can be read or written"
