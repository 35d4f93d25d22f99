"""The `edge-msa` command line. Expected errors are printed as one line, and exit codes are stable.

0 success, 1 failure, 2 usage error, 3 accuracy gate failed, 4 backend or device missing, 128 + signal if interrupted:
130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INTERRUPTED = 130
_TORCH_CACHE, _MATPLOTLIB_CACHE = "TORCHINDUCTOR_CACHE_DIR", "MPLCONFIGDIR"


def main() -> None:
    """Run the `edge-msa` command and exit with its exit code."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads of GNU's OpenMP that wait spin 300,000 times, which slows torch down where other processes need the
        # cores. A shorter spin costs nothing on idle cores. OpenMP reads the variable when torch is imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code. Expected errors are printed as one line on stderr."""
    from edge_msa.console import command_messages, print_note
    from edge_msa_runtime.encodings import escape_unprintable_output
    from edge_msa_runtime.interrupts import handle_interrupts
    from edge_msa_runtime.log_notes import print_log

    escape_unprintable_output()
    with command_messages(), handle_interrupts() as interrupts, _temporary_caches(), print_log(print_note):
        try:
            code = _run(arguments)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except Exception as error:  # noqa: BLE001 - raised again unless it is expected
            # A library may replace the KeyboardInterrupt of a signal with an exception of its own, as torch does.
            code = _handle_error(error, arguments) if interrupts.exit_code is None else INTERRUPTED
        if code == INTERRUPTED:  # also the code of Typer for Ctrl-C inside a command
            code = interrupts.exit_code or INTERRUPTED
            return _print_error(_interrupt_message(), code)
        if code:
            _print_kept_progress()
        return code


@contextlib.contextmanager
def _temporary_caches() -> Iterator[None]:
    """Keep the caches of libraries out of the user's home and remove them at the end, unless the user has set them.

    Matplotlib caches the list of fonts. Importing torch's compiler creates a folder among the temporary files.
    """
    with contextlib.ExitStack() as stack:
        if _TORCH_CACHE not in os.environ:
            stack.callback(_remove_empty_torch_cache)
        if _MATPLOTLIB_CACHE not in os.environ:
            with contextlib.suppress(OSError):  # no writable temporary folder: most commands need none
                folder = tempfile.TemporaryDirectory(prefix="edge-msa-", ignore_cleanup_errors=True)
                os.environ[_MATPLOTLIB_CACHE] = stack.enter_context(folder)
                stack.callback(os.environ.pop, _MATPLOTLIB_CACHE, None)
        yield


def _remove_empty_torch_cache() -> None:
    """Remove the folder that torch has named in its variable, unless torch.compile has used it."""
    with contextlib.suppress(KeyError, OSError):
        Path(os.environ.pop(_TORCH_CACHE)).rmdir()


def _run(arguments: list[str]) -> int:
    from edge_msa.cli.app import app
    from edge_msa_runtime.encodings import check_arguments

    check_arguments(arguments)
    code = int(app(arguments, prog_name="edge-msa", standalone_mode=False) or 0)
    sys.stdout.flush()
    return code


def _handle_error(error: Exception, arguments: list[str]) -> int:
    """Print an expected error as one line and return its exit code; raise any other error."""
    from edge_msa.errors import EdgeMsaError

    if isinstance(error, BrokenPipeError):
        # The program that received our output has ended, as `head` does. Python's flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EdgeMsaError.exit_code
    if isinstance(error, OSError):
        return _print_error(_os_message(error), EdgeMsaError.exit_code)
    # Typer raises its copy of click's ClickException, which has no public name.
    is_expected = isinstance(error, EdgeMsaError) or hasattr(error, "format_message")
    if os.environ.get("EDGE_MSA_TRACEBACK") or not is_expected:
        raise error
    if isinstance(error, EdgeMsaError):
        return _print_error(str(error), error.exit_code)
    return _print_typer_error(error, arguments)


def _interrupt_message() -> str:
    from edge_msa.console import kept_progress

    kept = kept_progress()
    if not kept:
        return "Interrupted. Nothing was written. Run the same command to start again."
    return f"Interrupted. Progress is kept in {', '.join(map(str, kept))}. Run the same command to resume."


def _print_kept_progress() -> None:
    from edge_msa.console import kept_progress, print_note

    if kept := kept_progress():
        print_note(f"Progress is kept in {', '.join(map(str, kept))}. The same command resumes there.")


def _print_typer_error(error: Any, arguments: list[str]) -> int:
    """Print an error of Typer (a wrong option or argument) as one line and return its exit code."""
    from edge_msa.cli.usage_errors import format_usage_error

    code = int(error.exit_code)
    if type(error).__name__ == "NoArgsIsHelpError":  # a command without arguments: the message is the whole help text
        print(error, file=sys.stderr)
        return code
    return _print_error(format_usage_error(error, arguments), code)


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
