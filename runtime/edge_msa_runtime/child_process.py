"""Commands that run a module of the runtime in another Python process."""

from __future__ import annotations

import sys

from edge_msa_runtime.errors import EdgeMsaError


def child_command(module: str) -> list[str]:
    """Return a command that runs `main` of a module with this interpreter and this `sys.path`.

    Raises:
        EdgeMsaError: the path of the interpreter is unknown.
    """
    if not sys.executable:
        raise EdgeMsaError("Another Python process must be started, but sys.executable is empty. Run it with python.")
    folders = [str(folder) for folder in sys.path]
    code = f"import sys; sys.path[:] = {folders!r}; from {module} import main; main()"
    return [sys.executable, "-c", code]
