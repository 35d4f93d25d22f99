"""Runs edge-msa bundles on a device: NumPy and one engine, no torch."""

from edge_msa_runtime.errors import (
    BundleError,
    EngineUnavailableError,
    ParityError,
    RuntimeFailure,
    UsageError,
)
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.reading import Reading
from edge_msa_runtime.session import Session, load
from edge_msa_runtime.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "BundleError",
    "EngineUnavailableError",
    "ParityError",
    "Reading",
    "RuntimeFailure",
    "Session",
    "Stream",
    "Subset",
    "UsageError",
    "load",
]
