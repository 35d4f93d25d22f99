"""Import TensorRT and hide the differences between versions 8.5 to 11.

Sources: the Python API pages of TensorRT 8.4, 8.6, 10 and 11 (`infer/Core/Builder`, `infer/Core/BuilderConfig`) and
"Removed Python APIs and Replacements" for 8.x to 10.x and for 10.x to 11.x. Names that do not exist in all versions are
looked up before use:
- `EXPLICIT_BATCH` must be set up to version 9, has no effect in 10, and does not exist in 11.
- `BuilderFlag.INT8` and `FP16` do not exist in 11, where every network is strongly typed: the graph's types decide.
- `TacticSource.CUBLAS`, `CUBLAS_LT` and `CUDNN` do not exist in 11 and are off by default in 10.
"""

from __future__ import annotations

import platform
from typing import Any, Mapping

from edge_msa_runtime.errors import BackendUnavailableError, PackageImportError, first_line
from edge_msa_runtime.vendor_packages import import_package

_OLDEST = (8, 5)
# int8 also sets FP16: otherwise layers that are not quantized would run in float32 and int8 would be slower than fp16.
_FLAGS = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
_INSTALL_FROM_JETPACK = (
    "It is part of JetPack and not on PyPI. Run: sudo apt-get install tensorrt python3-libnvinfer "
    "(a virtual environment also needs --system-site-packages)"
)
_INSTALL_WITH_PIP = "On a machine with an NVIDIA GPU, run: python3 -m pip install 'tensorrt>=10.3,<11' cuda-python"
_LIBRARIES = ("CUBLAS", "CUBLAS_LT", "CUDNN")


def import_tensorrt() -> Any:
    """Import TensorRT.

    Raises:
        BackendUnavailableError: TensorRT is not installed or cannot be imported, or is older than 8.5, where tensors
            had no names.
    """
    try:
        tensorrt = import_package("tensorrt")
    except PackageImportError as error:
        if "numpy" in error.requirement:
            raise
        raise BackendUnavailableError(
            f"{error.reason}. {_INSTALL_FROM_JETPACK if platform.machine() == 'aarch64' else _INSTALL_WITH_PIP}"
        ) from error
    if parse_version(str(tensorrt.__version__)) < _OLDEST:
        raise BackendUnavailableError(
            f"TensorRT must be 8.5 or later, got {tensorrt.__version__}. Update to JetPack 5.1 or later."
        )
    return tensorrt


def parse_version(text: str) -> tuple[int, ...]:
    """Return major and minor of a TensorRT version: `8.5.2.2` -> (8, 5)."""
    return tuple(int(part) for part in text.split(".")[:2])


def find_target_mismatch(profile: Mapping[str, Any], version: str) -> tuple[str, str] | None:
    """Return why a TensorRT version cannot run a bundle and how to fix it, or None if it can.

    A bundle needs the major version of TensorRT that it was exported for, and that minor version or a later one.

    Args:
        profile: the bundle's `manifest.profile`. A profile without `tensorrt` accepts every version.
        version: installed version of TensorRT.
    """
    target = profile.get("tensorrt")
    if not target:
        return None
    required, installed = parse_version(str(target)), parse_version(version)
    if required[0] == installed[0] and required <= installed:
        return None
    jetpack = f" (JetPack {profile['jetpack']})" if profile.get("jetpack") else ""
    major, minor = required[0], required[1] if len(required) > 1 else 0
    return (
        f"TensorRT {version} is installed, but the bundle needs {major}.{minor} or a later {major}.x{jetpack}",
        f"On the workstation, run edge-msa export with a --target for TensorRT {installed[0]}.{installed[1]}",
    )


def check_target(profile: Mapping[str, Any], version: str) -> None:
    """Check that a TensorRT version can run a bundle; see `find_target_mismatch`.

    Raises:
        BackendUnavailableError: it cannot. The message names both versions and the command to run.
    """
    mismatch = find_target_mismatch(profile, version)
    if mismatch is not None:
        problem, fix = mismatch
        raise BackendUnavailableError(f"{problem}. {fix}.")


def parse_device(device: str) -> int:
    """Return the index of the GPU in `GPU:1`; 0 for `GPU` and for an empty name.

    Raises:
        BackendUnavailableError: the name has another form.
    """
    kind, _, number = (device or "GPU").partition(":")
    if kind != "GPU" or not (number or "0").isdigit():
        raise BackendUnavailableError(f"The TensorRT device must be GPU or GPU:N, got {device!r}.")
    return int(number or "0")


def builder_flags(available: Any, precision: str, *, quantized: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the builder flags to set and to clear, limited to those that this version has.

    INT8 is not set for a graph without Q/DQ pairs, such as `fuse` at int8: 8.x and 10.x would look for a calibrator and
    fail ("no scaling factors detected", NVIDIA/TensorRT issue 1326). TF32, which is on by default from Ampere on, is
    cleared for fp32 because it has a shorter mantissa.

    Args:
        available: the version's `BuilderFlag`.
        precision: `fp32`, `fp16` or `int8`.
        quantized: whether the graph has Q/DQ pairs.
    """
    names = [name for name in _FLAGS[precision] if quantized or name != "INT8"]
    to_set = tuple(name for name in names if hasattr(available, name))
    to_clear = ("TF32",) if precision == "fp32" and hasattr(available, "TF32") else ()
    return to_set, to_clear


def is_strongly_typed(tensorrt: Any) -> bool:
    """Return whether only the graph's types decide the precision, because this version has no precision flags."""
    return not hasattr(tensorrt.BuilderFlag, "FP16")


def network_flags(tensorrt: Any) -> int:
    """Return the flags for `create_network`: explicit batch up to version 9, strong types without precision flags."""
    names = tensorrt.NetworkDefinitionCreationFlag
    flags = 0
    if hasattr(names, "EXPLICIT_BATCH") and parse_version(str(tensorrt.__version__))[0] < 10:
        flags |= 1 << int(names.EXPLICIT_BATCH)
    if is_strongly_typed(tensorrt) and hasattr(names, "STRONGLY_TYPED"):
        flags |= 1 << int(names.STRONGLY_TYPED)
    return flags


def exclude_libraries(tensorrt: Any, sources: int) -> int:
    """Remove cuBLAS and cuDNN from a bit mask of tactic sources, as version 10 does by default.

    Loading them takes hundreds of megabytes, which an 8 GB board cannot spare during a build.
    """
    for name in _LIBRARIES:
        if hasattr(tensorrt.TacticSource, name):
            sources &= ~(1 << int(getattr(tensorrt.TacticSource, name)))
    return sources


def create_logger(tensorrt: Any) -> Any:
    """Create a logger that prints nothing and keeps `last_error` and `last_warning` for error messages."""

    class Logger(tensorrt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            tensorrt.ILogger.__init__(self)
            self.last_error = ""
            self.last_warning = ""

        def log(self, severity: Any, message: str) -> None:
            if severity in (tensorrt.ILogger.Severity.ERROR, tensorrt.ILogger.Severity.INTERNAL_ERROR):
                self.last_error = first_line(message)
            elif severity == tensorrt.ILogger.Severity.WARNING:
                self.last_warning = first_line(message)

    return Logger()
