"""The command line of the device, `edge-msa-run`."""

from edge_msa_runtime.cli.main import main

__all__ = ["main"]
