"""Runs edge-msa bundles on a device: NumPy and one engine, no torch."""

__version__ = "0.1.0"
