"""The request for an export: everything that a bundle states beyond the student itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_msa_export.errors import ExportError, ProfileError
from edge_msa_export.normalization import Normalization
from edge_msa_export.profiles import INT4, PRECISIONS, BackendProfile, DeviceProfile
from edge_msa_export.provenance import Provenance
from edge_msa_export.text import ExportableText, TextGraph
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.conversation import ContextHead
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.modalities import Subset

Frames = NDArray[np.float32]
IR_SUFFIX = "xml"
REFERENCE = "onnx-reference"
"""The reference implementation of ONNX, which computes every node in the type that the graph states."""
# ONNX Runtime runs the graphs for TensorRT on the workstation.
_MEASURED_BY = {"onnxruntime": "onnxruntime", "openvino": "openvino", "tensorrt": "onnxruntime"}


@dataclass(frozen=True)
class GoldenSample:
    """A real sample of one subset. Parity is measured on it.

    Attributes:
        subset: the modalities that the sample has.
        frames: raw frames (T, d) float32 by modality, all valid.
        text: the text of the sample, if the request has a text model. Then the language frames are the output of the
            text encoder for this text.
    """

    subset: Subset
    frames: Mapping[str, Frames]
    text: str | None = None


@dataclass(frozen=True)
class ExportRequest:
    """Everything that an export needs besides the student.

    Attributes:
        name: name of the bundle.
        profile: device that the bundle is for.
        task: what the predictions mean.
        normalization: range and normalization of raw frames, by modality.
        chunks: frames per call of the step graphs, by modality.
        windows: maximum number of frames of the window graphs, by modality.
        golden_samples: one sample per subset.
        provenance: what the bundle is made from.
        license: license of the bundle.
        ranges: minimum and maximum of each quantized layer's input and output, by `<weight>:input` and
            `<weight>:output`; None to skip int8.
        smoothing: smoothing factors of the text encoder's layers that the ranges assume, by weight.
        fp32_weights: weights whose layers stay in float, each with the reason, by quantization scheme.
        precisions: precisions to export; None for all that the device supports, without int4. fp32 is always exported.
        features: what computed the features, by modality; modalities of which nothing is known are absent.
        text_model: model that turns text into language frames; None if the student takes features only.
        context: how earlier utterances of a conversation adjust a score; None without a conversation memory.
        openvino_ir: whether to write the graphs for OpenVINO as IR instead of ONNX.
        check_dla: whether to check the graphs for TensorRT against the rules of the device's DLA too.

    Raises:
        ProfileError: `openvino_ir` is set and the device does not run OpenVINO, or int4 is requested too.
        ExportError: another field is invalid.
    """

    name: str
    profile: DeviceProfile
    task: TaskSpec
    normalization: Mapping[str, Normalization]
    chunks: Mapping[str, int]
    windows: Mapping[str, int]
    golden_samples: Sequence[GoldenSample]
    provenance: Provenance
    license: str
    ranges: Mapping[str, tuple[float, float]] | None = None
    smoothing: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    fp32_weights: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    precisions: tuple[str, ...] | None = None
    features: Mapping[str, FeatureSource] = field(default_factory=dict)
    text_model: ExportableText | None = None
    context: ContextHead | None = None
    openvino_ir: bool = False
    check_dla: bool = False

    def __post_init__(self) -> None:
        if self.openvino_ir and not any(backend.name == "openvino" for backend in self.profile.backends):
            raise ProfileError(f"{self.profile.name} does not run OpenVINO, the only backend for IR. Leave --ir out.")
        if self.openvino_ir and INT4 in (self.precisions or ()):
            raise ProfileError("OpenVINO IR cannot store int4, because its writer unpacks the weights. Leave --ir out.")
        for field_name, lengths in (("chunks", self.chunks), ("windows", self.windows)):
            for modality, length in lengths.items():
                if length < 1:
                    raise ExportError(f"{field_name} of {modality} must be at least 1 frame, got {length}.")
        for precision in self.precisions or ():
            if precision not in (*PRECISIONS, INT4):
                raise ExportError(f"Unknown precision {precision!r}. Available: {', '.join((*PRECISIONS, INT4))}.")
        self._check_golden_samples()

    def _check_golden_samples(self) -> None:
        subsets = [sample.subset for sample in self.golden_samples]
        if len(set(subsets)) < len(subsets):
            raise ExportError("golden_samples must have one sample per subset, got two of the same subset.")
        for sample in self.golden_samples:
            subset = sample.subset
            if set(sample.frames) != set(subset.modalities):
                raise ExportError(
                    f"The golden sample of {subset.value} must have frames of {', '.join(subset.modalities)}, got "
                    f"{', '.join(sorted(sample.frames)) or 'none'}."
                )
            if sample.text is not None and (self.text_model is None or "language" not in sample.frames):
                raise ExportError(f"The golden sample of {subset.value} has a text, but no text model takes it.")


@dataclass(frozen=True)
class GraphVariant:
    """One way to run the student on a device.

    Attributes:
        backend: name of the backend.
        precision: `fp32`, `fp16`, `int8` or `int4`.
        scheme: quantization scheme of int8 and int4; empty for other precisions.
        suffix: suffix of the graph files: `onnx`, or `xml` for OpenVINO IR.
    """

    backend: str
    precision: str
    scheme: str
    suffix: str = "onnx"

    @property
    def folder(self) -> str:
        """Folder of the graphs in a bundle. Backends that take the same graphs share a folder."""
        if self.suffix == IR_SUFFIX:
            return f"graphs/openvino-ir/{self.precision}"
        if self.backend == "openvino" and self.precision == "fp16":
            return f"graphs/openvino/{self.precision}"
        return f"graphs/{self.scheme or 'onnx'}/{self.precision}"

    @property
    def takes_batches(self) -> bool:
        """Whether the backend predicts several streams at once. TensorRT does not: nobody has measured a gain."""
        return self.backend != "tensorrt"

    @property
    def measured_by(self) -> str:
        """Backend that measures parity on the workstation.

        TensorRT computes float16 graphs in float16. ONNX Runtime would compute them in float32.
        """
        return REFERENCE if (self.backend, self.precision) == ("tensorrt", "fp16") else _MEASURED_BY[self.backend]


def list_variants(request: ExportRequest) -> tuple[GraphVariant, ...]:
    """Return every backend and precision to export. fp32 is always included.

    Raises:
        ProfileError: the device or the student does not support a requested precision, or int8 lacks a calibration.
    """
    precisions = set(request.precisions or PRECISIONS) | {"fp32"}
    quantized = ("int8", INT4)
    variants = tuple(
        GraphVariant(
            backend.name,
            precision,
            backend.scheme or "" if precision in quantized else "",
            IR_SUFFIX if request.openvino_ir and backend.name == "openvino" else "onnx",
        )
        for backend in request.profile.backends
        for precision in _list_precisions(backend)
        if precision in precisions and (precision not in quantized or request.ranges is not None)
    )
    if INT4 in precisions and not isinstance(request.text_model, TextGraph):
        raise ProfileError(
            "Precision int4 stores the weights of a text encoder in 4 bits, and this student has none. Use int8."
        )
    for precision in request.precisions or ():
        if not any(variant.precision == precision for variant in variants):
            if precision in quantized and request.ranges is None:
                raise ProfileError(f"Precision {precision} needs a calibrated model. Run edge-msa calibrate first.")
            available = ", ".join(dict.fromkeys(variant.precision for variant in variants))
            raise ProfileError(
                f"Precision {precision} is not available on {request.profile.name}. Available: {available}."
            )
    return variants


def _list_precisions(backend: BackendProfile) -> tuple[str, ...]:
    """Return the precisions of a backend. TensorRT quantizes float weights itself, so it has no int4."""
    has_int4 = "int8" in backend.precisions and backend.name != "tensorrt"
    return (*backend.precisions, INT4) if has_int4 else backend.precisions
