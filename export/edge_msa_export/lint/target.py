"""The backend that graphs are checked for: its name, the TensorRT version, and whether to check for the DLA."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_msa_export.errors import LintError
from edge_msa_export.profiles import BACKENDS, DeviceProfile
from edge_msa_runtime.backend_info import BACKEND_INFO

Version = tuple[int, ...]

OLDEST_VERSION: Version = (8, 5)
"""The TensorRT of the oldest JetPack that still gets updates. The rules do not cover earlier versions."""
FIRST_UNKNOWN_VERSION: Version = (12,)
"""The first TensorRT version that the rules do not cover."""


@dataclass(frozen=True)
class LintTarget:
    """The backend that graphs are checked for.

    Attributes:
        backend: `onnxruntime`, `openvino` or `tensorrt`.
        tensorrt: version of TensorRT; required for `tensorrt`, None for other backends.
        dla: also check whether the graphs can run on a Jetson's DLA. Only for `tensorrt`.

    Raises:
        LintError: the backend is unknown, or `tensorrt` or `dla` does not fit the backend.
    """

    backend: str
    tensorrt: Version | None = None
    dla: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise LintError(f"Unknown backend {self.backend!r}. Available: {', '.join(BACKENDS)}.")
        if self.backend == "tensorrt" and self.tensorrt is None:
            raise LintError("Backend 'tensorrt' needs a TensorRT version.")
        if self.backend != "tensorrt" and self.tensorrt is not None:
            raise LintError(f"Backend {self.backend!r} does not take a TensorRT version.")
        if self.dla and self.backend != "tensorrt":
            raise LintError(f"Backend {self.backend!r} cannot use a DLA. Only 'tensorrt' can.")

    @classmethod
    def from_profile(cls, profile: DeviceProfile, backend: str, *, dla: bool = False) -> LintTarget:
        """Return the target for a backend of a device.

        Raises:
            LintError: `dla` is set and the device has no DLA, or the rules do not cover its TensorRT version.
        """
        if backend != "tensorrt":
            return cls(backend)
        if dla and not profile.dla:
            raise LintError(f"{profile.name} has no DLA. Leave --dla out.")
        return cls(backend, parse_tensorrt_version(profile.tensorrt or ""), dla=dla)

    @property
    def version(self) -> Version:
        """Version of TensorRT; (0,) for other backends."""
        return self.tensorrt or (0,)

    def __str__(self) -> str:
        version = "" if self.tensorrt is None else f" {format_version(self.tensorrt)}"
        return f"{BACKEND_INFO[self.backend].title}{version}{' on the DLA' if self.dla else ''}"


def parse_tensorrt_version(text: str) -> Version:
    """Parse a TensorRT version: "8.5.2.2" gives (8, 5, 2, 2) and "11" gives (11, 0).

    Raises:
        LintError: the text is not a version, or the rules do not cover that version.
    """
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", text):
        raise LintError(f"TensorRT version must be like 8.5, 10.3 or 11.4.1, got {text!r}.")
    version = tuple(int(part) for part in text.split("."))
    version = version if len(version) > 1 else (*version, 0)
    if not OLDEST_VERSION <= version < FIRST_UNKNOWN_VERSION:
        raise LintError(
            f"TensorRT version must be at least {format_version(OLDEST_VERSION)} and before "
            f"{format_version(FIRST_UNKNOWN_VERSION)}, got {text}."
        )
    return version


def format_version(version: Version) -> str:
    """Return a version as text, such as "10.3"."""
    return ".".join(str(part) for part in version)
