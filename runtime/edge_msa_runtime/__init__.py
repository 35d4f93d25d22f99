"""Runs edge-msa bundles on a device: NumPy and one backend, no torch."""

from edge_msa_runtime.errors import (
    BackendUnavailableError,
    BundleError,
    ParityError,
    RuntimeFailure,
    UsageError,
)
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction
from edge_msa_runtime.session import Session, load
from edge_msa_runtime.stream import Stream

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailableError",
    "BundleError",
    "ParityError",
    "Prediction",
    "RuntimeFailure",
    "Session",
    "Stream",
    "Subset",
    "UsageError",
    "load",
]
