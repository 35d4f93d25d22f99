"""What a caller asks of an export: everything a bundle says that the student itself does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError, ProfileError
from edge_msa_export.profiles import PRECISIONS, DeviceProfile
from edge_msa_export.text import Text
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.modalities import Subset

Frames = NDArray[np.float32]
IR_SUFFIX = "xml"


@dataclass(frozen=True)
class Normalization:
    """normalized frame = (frame - mean) / std, both of the modality's width."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def apply(self, frames: Frames) -> Frames:
        """Normalize (T, d), in float32 as the runtime does."""
        mean, std = np.asarray(self.mean, dtype=np.float32), np.asarray(self.std, dtype=np.float32)
        return np.asarray((frames - mean) / std, dtype=np.float32)


@dataclass(frozen=True)
class GoldenSample:
    """Real frames of one subset, raw (T, d) float32 by modality, all valid; parity is measured on them.

    `text`: what was said, where the request has a text encoder for words; the frames of language are those of the text.
    """

    subset: Subset
    frames: Mapping[str, Frames]
    text: str | None = None


@dataclass(frozen=True)
class ExportRequest:
    """Everything but the student.

    `chunks`, `windows`, `normalization` and `frame_rates` are by modality; a modality without an entry in
    `frame_rates` has none known. `text` turns words into frames of language, None where nothing does. `ranges` are
    calibrate's, by `<weight name>:input` and `:output`; None offers no int8. `smoothing` are the factors of a language
    text encoder's layers that go with them, by weight name, and `fp32_weights` by quantization scheme the weights whose layers stay float,
    each with the reason. `precisions` limits what is offered, None offers all that the target has. `golden`: one sample
    a subset. `ir`: OpenVINO gets its graphs as its own IR rather than ONNX. `dla`: TensorRT's graphs are held against
    the rules of the target's DLA too.
    """

    name: str
    profile: DeviceProfile
    task: TaskSpec
    normalization: Mapping[str, Normalization]
    chunks: Mapping[str, int]
    windows: Mapping[str, int]
    golden: Sequence[GoldenSample]
    provenance: Mapping[str, Any]
    license: str
    ranges: Mapping[str, tuple[float, float]] | None = None
    smoothing: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    fp32_weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    precisions: tuple[str, ...] | None = None
    frame_rates: Mapping[str, float] = field(default_factory=dict)
    text: Text | None = None
    ir: bool = False
    dla: bool = False

    def __post_init__(self) -> None:
        if self.ir and not any(backend.name == "openvino" for backend in self.profile.backends):
            raise ProfileError(f"{self.profile.name} does not run openvino, which alone reads IR: leave --ir out")
        for name, length in [*self.chunks.items(), *self.windows.items()]:
            if length < 1:
                raise ExportError(f"{name}: a chunk or window of {length} frames; give at least 1")
        for precision in self.precisions or ():
            if precision not in PRECISIONS:
                raise ExportError(f"unknown precision {precision!r}; there are {', '.join(PRECISIONS)}")
        subsets = [sample.subset for sample in self.golden]
        if len(set(subsets)) < len(subsets):
            raise ExportError("two golden samples of one subset; give one a subset")
        for sample in self.golden:
            if set(sample.frames) != set(sample.subset.modalities):
                raise ExportError(f"golden sample of {sample.subset.value} holds {sorted(sample.frames)}")
            if sample.text is not None and (self.text is None or "language" not in sample.frames):
                raise ExportError(f"golden sample of {sample.subset.value} has a text, and nothing reads it")


@dataclass(frozen=True)
class Variant:
    """One way a target may run the student: a backend at a precision, int8 laid out by `scheme` (else empty).

    `suffix` of its files: `onnx`, or `xml` for OpenVINO's IR.
    """

    backend: str
    precision: str
    scheme: str
    suffix: str = "onnx"

    @property
    def folder(self) -> str:
        """Where its graphs and their weights lie in a bundle; backends that read the same graphs share it."""
        if self.suffix == IR_SUFFIX:
            return f"graphs/openvino-ir/{self.precision}"
        if self.backend == "openvino" and self.precision == "fp16":
            return f"graphs/openvino/{self.precision}"
        return f"graphs/{self.scheme or 'onnx'}/{self.precision}"

    @property
    def measured_by(self) -> str:
        """The backend that executes it on the workstation; TensorRT's file is read by ONNX Runtime there."""
        return "openvino" if self.backend == "openvino" else "onnxruntime"


def variants_of(request: ExportRequest) -> tuple[Variant, ...]:
    """Every backend and precision that the request offers; fp32 is always among them.

    Raises:
        ProfileError: a precision was asked for by name that the target or the missing calibration does not allow.
    """
    wanted = set(request.precisions or PRECISIONS) | {"fp32"}
    found = tuple(
        Variant(
            backend.name,
            precision,
            backend.scheme or "" if precision == "int8" else "",
            IR_SUFFIX if request.ir and backend.name == "openvino" else "onnx",
        )
        for backend in request.profile.backends
        for precision in backend.precisions
        if precision in wanted and (precision != "int8" or request.ranges is not None)
    )
    for precision in request.precisions or ():
        if not any(variant.precision == precision for variant in found):
            there = dict.fromkeys(variant.precision for variant in found)
            needs = f"choose one of {', '.join(there)}"
            if precision == "int8" and request.ranges is None:
                needs = "calibrate first"
            raise ProfileError(f"{request.profile.name} cannot be given {precision}: {needs}")
    return found
