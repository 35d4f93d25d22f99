"""Who is to read a graph: a backend, of TensorRT at which version, and whether its DLA is wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_msa_export.errors import LintError
from edge_msa_export.profiles import BACKENDS, DeviceProfile

Version = tuple[int, ...]

FIRST: Version = (8, 5)
"""The oldest TensorRT of a JetPack that still gets updates; no rule knows what earlier ones lack."""
BEYOND: Version = (12,)
"""No rule knows what this will change."""

_NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}


@dataclass(frozen=True)
class LintTarget:
    """A backend, for TensorRT its version, and `dla` where graphs are to run on a Jetson's DLA.

    Raises:
        LintError: a backend that there are no rules for, TensorRT without a version, or a DLA of another backend.
    """

    backend: str
    tensorrt: Version | None = None
    dla: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise LintError(f"no operators are known of backend {self.backend!r}; there are {', '.join(BACKENDS)}")
        if (self.backend == "tensorrt") != (self.tensorrt is not None):
            raise LintError(f"{self.backend} with TensorRT {self.tensorrt}: a version goes with backend tensorrt alone")
        if self.dla and self.backend != "tensorrt":
            raise LintError(f"{self.backend} cannot use a DLA, only tensorrt can")

    @classmethod
    def of(cls, profile: DeviceProfile, backend: str, *, dla: bool = False) -> LintTarget:
        """A backend as a target has it.

        Raises:
            LintError: a DLA is wanted that the board does not have, or a TensorRT that no rules know.
        """
        if backend != "tensorrt":
            return cls(backend)
        if dla and not profile.dla:
            raise LintError(f"{profile.name} has no DLA; leave --dla out")
        return cls(backend, tensorrt_version(profile.tensorrt or ""), dla=dla)

    @property
    def version(self) -> Version:
        """Of TensorRT; (0,) of another backend, which every rule counts as old."""
        return self.tensorrt or (0,)

    def __str__(self) -> str:
        version = "" if self.tensorrt is None else f" {text_of(self.tensorrt)}"
        return f"{_NAMES[self.backend]}{version}{' on the DLA' if self.dla else ''}"


def tensorrt_version(text: str) -> Version:
    """A version of TensorRT as numbers, "8.5.2.2" as (8, 5, 2, 2) and "11" as (11, 0).

    Raises:
        LintError: it is no version, or one that there are no rules for.
    """
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", text):
        raise LintError(f"{text!r} is no version of TensorRT; give one as 8.5, 10.3 or 11.4.1")
    version = tuple(int(part) for part in text.split("."))
    version = version if len(version) > 1 else (*version, 0)
    if not FIRST <= version < BEYOND:
        raise LintError(
            f"there are no rules for TensorRT {text}: they know {text_of(FIRST)} and later, before {text_of(BEYOND)}"
        )
    return version


def text_of(version: Version) -> str:
    """A version for people."""
    return ".".join(str(part) for part in version)
