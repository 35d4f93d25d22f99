"""What is known about each backend without opening it. Add a backend here first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional


@dataclass(frozen=True)
class BackendInfo:
    """Names of a backend.

    Attributes:
        title: Name in messages and pages.
        package: Python package that the backend imports.
        extra: Extra of the runtime's wheel that installs the package; None if pip does not install it.
    """

    title: str
    package: str
    extra: Optional[str]  # noqa: UP045 - evaluated by Python 3.8


BACKEND_INFO: Mapping[str, BackendInfo] = {
    "onnxruntime": BackendInfo("ONNX Runtime", "onnxruntime", "onnxruntime"),
    "openvino": BackendInfo("OpenVINO", "openvino", "openvino"),
    # TensorRT comes with JetPack.
    "tensorrt": BackendInfo("TensorRT", "tensorrt", None),
}
"""The backends by the name that bundles, device profiles and the command line use."""

BACKENDS = tuple(BACKEND_INFO)
PIP_BACKENDS = tuple(name for name, info in BACKEND_INFO.items() if info.extra)
"""Backends that pip installs as an extra of the runtime."""
