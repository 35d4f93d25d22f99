"""The one place that imports TensorRT, and what its versions from 8.5 to 11 have in different ways.

Sources: the vendor's Python API pages of 8.4, 8.6, 10 and 11 (`infer/Core/Builder`, `infer/Core/BuilderConfig`), and
"Removed Python APIs and Replacements" for 8.x to 10.x and for 10.x to 11.x. A name is asked for before it is used:
- `EXPLICIT_BATCH` must be set up to 9, means nothing in 10, and is gone in 11;
- `BuilderFlag.INT8` and `FP16` are gone in 11, where every network is strongly typed: the graph's types decide;
- `TacticSource.CUBLAS`, `CUBLAS_LT` and `CUDNN` are gone in 11, and off unless asked for in 10.
"""

from __future__ import annotations

from typing import Any, Mapping

from edge_msa_runtime.backends.base import first_line
from edge_msa_runtime.errors import BackendUnavailableError

_OLDEST = (8, 5)
# FP16 beside INT8: what is not quantized would run in float32 otherwise, and int8 would lose to fp16.
_FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
_LIBRARIES = ("CUBLAS", "CUBLAS_LT", "CUDNN")


def import_tensorrt() -> Any:
    """The vendor's module.

    Raises:
        BackendUnavailableError: it is not installed, or older than 8.5, where tensors had no names.
    """
    try:
        import tensorrt
    except Exception as error:  # a library that is missing beside it shows in as many ways as there are versions
        raise BackendUnavailableError(
            f"tensorrt cannot be imported ({first_line(error)}); it comes with JetPack, not from pip: "
            "run: sudo apt-get install tensorrt python3-libnvinfer; "
            "a virtual environment needs --system-site-packages"
        ) from error
    if version_of(str(tensorrt.__version__)) < _OLDEST:
        raise BackendUnavailableError(
            f"tensorrt {tensorrt.__version__} is too old, 8.5 is the oldest that is read; update JetPack to 5.1"
        )
    return tensorrt


def version_of(text: str) -> tuple[int, ...]:
    """Major and minor of a TensorRT version: `8.5.2.2` -> (8, 5)."""
    return tuple(int(part) for part in text.split(".")[:2])


def check_target(profile: Mapping[str, Any], version: str) -> None:
    """Refuse a bundle that was made for a TensorRT that this one is not: another major version, or a later minor.

    Graphs are written for the operators and rules of one version; a later minor of it reads them as well.

    Args:
        profile: `manifest.profile`; what names no TensorRT is for any.
        version: of the TensorRT here.

    Raises:
        BackendUnavailableError: names both versions and what to run.
    """
    wanted = profile.get("tensorrt")
    if not wanted:
        return
    made, here = version_of(str(wanted)), version_of(version)
    if made[0] == here[0] and made <= here:
        return
    jetpack = f" (JetPack {profile['jetpack']})" if profile.get("jetpack") else ""
    raise BackendUnavailableError(
        f"the bundle is for tensorrt {wanted}{jetpack}, here is {version}; on the workstation run edge-msa export "
        f"with a --target whose tensorrt is {here[0]}.{here[1]} or an earlier {here[0]}"
    )


def device_index(device: str) -> int:
    """The GPU's number in `GPU:1`; 0 for `GPU` and for no name.

    Raises:
        BackendUnavailableError: it names something else.
    """
    kind, _, number = (device or "GPU").partition(":")
    if kind != "GPU" or not (number or "0").isdigit():
        raise BackendUnavailableError(f"tensorrt has no device {device!r}; give GPU or GPU:1")
    return int(number or "0")


def builder_flags(kinds: Any, precision: str, *, quantized: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the builder flags to set and to clear, of those that this version's `BuilderFlag` has.

    A graph without a Q/DQ pair, as `fuse` is at int8, gets no INT8: 8.x and 10.x would look for a calibrator and fail
    ("no scaling factors detected", NVIDIA/TensorRT issue 1326). TF32 is on by default from Ampere, and is no fp32.
    """
    wanted = [name for name in _FLAGS[precision] if quantized or name != "INT8"]
    to_set = tuple(name for name in wanted if hasattr(kinds, name))
    to_clear = ("TF32",) if precision == "fp32" and hasattr(kinds, "TF32") else ()
    return to_set, to_clear


def takes_types_from_the_graph(vendor: Any) -> bool:
    """Whether precision is in the graph alone."""
    return not hasattr(vendor.BuilderFlag, "FP16")


def network_flags(vendor: Any) -> int:
    """What `create_network` takes: an explicit batch up to 9, strong types where there are no precision flags."""
    names = vendor.NetworkDefinitionCreationFlag
    flags = 0
    if hasattr(names, "EXPLICIT_BATCH") and version_of(str(vendor.__version__))[0] < 10:
        flags |= 1 << int(names.EXPLICIT_BATCH)
    if takes_types_from_the_graph(vendor) and hasattr(names, "STRONGLY_TYPED"):
        flags |= 1 << int(names.STRONGLY_TYPED)
    return flags


def without_libraries(vendor: Any, sources: int) -> int:
    """Tactic sources less cuBLAS and cuDNN, which 10 leaves out by itself.

    Loading them takes hundreds of megabytes, which a board of 8 GB does not have to spare while it builds.
    """
    for name in _LIBRARIES:
        if hasattr(vendor.TacticSource, name):
            sources &= ~(1 << int(getattr(vendor.TacticSource, name)))
    return sources


def make_log(vendor: Any) -> Any:
    """A logger that keeps the last error and the last warning for our own message, and prints nothing."""

    class Log(vendor.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            vendor.ILogger.__init__(self)
            self.last = ""
            self.warning = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (vendor.ILogger.Severity.ERROR, vendor.ILogger.Severity.INTERNAL_ERROR):
                self.last = first_line(message)
            elif severity == vendor.ILogger.Severity.WARNING:
                self.warning = first_line(message)

    return Log()
