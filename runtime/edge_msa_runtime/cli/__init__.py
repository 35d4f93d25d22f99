"""The command line of the runtime, `edge-msa-run`. One module per command."""

import sys

try:
    from edge_msa_runtime.cli.main import main
except KeyboardInterrupt:  # before `main` handles interrupts
    print("interrupted", file=sys.stderr)
    sys.exit(130)

__all__ = ["main"]
