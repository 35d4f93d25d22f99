"""Run edge-msa bundles on a device with NumPy and one inference backend, without torch.

    import edge_msa_runtime as emr

    with emr.load("bundle-laptop") as session:
        prediction = session.predict(text="i love it", audio=frames)

Public names are imported on first use, so that `edge-msa-run --help` does not import NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.errors import (
    BackendUnavailableError,
    BuildError,
    BundleError,
    CacheError,
    EdgeMsaError,
    InferenceError,
    NothingToPredictError,
    ParityError,
    UsageError,
)
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from edge_msa_runtime.conversation import Conversation
    from edge_msa_runtime.loading import load
    from edge_msa_runtime.modalities import Subset
    from edge_msa_runtime.prediction import Prediction
    from edge_msa_runtime.pretrained import pretrained_bundle
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.streams.events import StreamCounters, StreamEvent
    from edge_msa_runtime.streams.stream import Stream
    from edge_msa_runtime.text.words import Word

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailableError",
    "BuildError",
    "BundleError",
    "CacheError",
    "Conversation",
    "EdgeMsaError",
    "InferenceError",
    "NothingToPredictError",
    "ParityError",
    "Prediction",
    "Session",
    "Stream",
    "StreamCounters",
    "StreamEvent",
    "Subset",
    "UsageError",
    "Word",
    "load",
    "pretrained_bundle",
]

_MODULES = {
    "Conversation": "conversation",
    "Prediction": "prediction",
    "Session": "session",
    "Stream": "streams.stream",
    "StreamCounters": "streams.events",
    "StreamEvent": "streams.events",
    "Subset": "modalities",
    "Word": "text.words",
    "load": "loading",
    "pretrained_bundle": "pretrained",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module on first use (PEP 562).

    Raises:
        PackageImportError: NumPy is not installed or cannot be imported.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_package("numpy")  # raises an error of one line if it is missing or damaged
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
