"""The command line of the runtime, `edge-msa-run`. One module per command."""

from edge_msa_runtime.cli.main import main

__all__ = ["main"]
