"""What is known about each backend without opening it. Add a backend here first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional


@dataclass(frozen=True)
class BackendInfo:
    """Names of a backend.

    Attributes:
        title: Name in messages and pages.
        package: Python package that the backend imports.
        extra: Extra of the runtime's wheel that installs the package on every device; None if there is none.
    """

    title: str
    package: str
    extra: Optional[str]  # noqa: UP045 - evaluated by Python 3.8


BACKEND_INFO: Mapping[str, BackendInfo] = {
    "onnxruntime": BackendInfo("ONNX Runtime", "onnxruntime", "onnxruntime"),
    "openvino": BackendInfo("OpenVINO", "openvino", "openvino"),
    # TensorRT is part of JetPack. Elsewhere pip installs it: see `tensorrt_requirement`.
    "tensorrt": BackendInfo("TensorRT", "tensorrt", None),
}
"""The backends by the name that bundles, device profiles and the command line use."""

BACKENDS = tuple(BACKEND_INFO)
PIP_BACKENDS = tuple(name for name, info in BACKEND_INFO.items() if info.extra)
"""Backends that pip installs as an extra of the runtime."""


def tensorrt_requirement(profile: Mapping[str, Any]) -> str | None:
    """Return the pip requirement of the TensorRT that a bundle needs, such as `tensorrt>=10.3,<11`.

    None if pip does not install TensorRT on the device, because it is part of JetPack.

    Args:
        profile: the bundle's `manifest.profile`.
    """
    if profile.get("jetpack") or profile.get("architecture") != "x86_64":
        return None
    version = profile.get("tensorrt")
    return f"tensorrt>={version},<{int(str(version).partition('.')[0]) + 1}" if version else "tensorrt"
