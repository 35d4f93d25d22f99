"""Import NumPy and the packages of vendors without their telemetry, and explain in one line why an import fails.

Nothing else imports a backend's package, so that its telemetry is off everywhere. This module does not need NumPy.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import os
import sys
import threading
from types import ModuleType
from typing import Any, Iterator, MutableMapping, cast

from edge_msa_runtime.errors import PackageImportError, first_line

# What pip installs a package with if it is missing; by default its name.
_REQUIREMENTS = {
    "tokenizers": "'edge-msa-runtime[text]'",
    "ai_edge_litert": "'edge-msa-runtime[vision]'",
    "prometheus_client": "'edge-msa-runtime[metrics]'",
    "PIL": "'edge-msa-runtime[annotate]'",
    "starlette": "'edge-msa-runtime[serve]'",
    "uvicorn": "'edge-msa-runtime[serve]'",
    "websockets": "'edge-msa-runtime[serve]'",
    "kaldi_native_fbank": "'edge-msa-runtime[audio]'",
    "av": "'edge-msa-runtime[audio]'",
    "sounddevice": "'edge-msa-runtime[audio]'",
    "faster_whisper": "'edge-msa-runtime[asr]'",
    "ctranslate2": "'edge-msa-runtime[asr]'",
    "distributed": "'edge-msa[cluster]'",
    "vaderSentiment": "'edge-msa[vader]'",
    "nncf": "'edge-msa[peers]'",
    "cryptography": "'edge-msa-runtime[signatures]'",
    "model_signing": "'edge-msa[signing]'",
}
# Only one thread at a time may replace sys.stderr.
_LOCK = threading.RLock()
# How an extension module fails that was built for NumPy 1 and runs under NumPy 2.
_BUILT_FOR_NUMPY_1 = ("_ARRAY_API not found", "compiled using NumPy 1", "compiled against ABI version 0x1")
# How it fails under a NumPy that is older than the one it was built for. The first two messages occur in both cases.
_BUILT_FOR_OTHER_NUMPY = (
    "numpy.core.multiarray failed to import",
    "numpy._core.multiarray failed to import",
    "compiled against API version",
    "compiled against ABI version",
    "numpy.dtype size changed",
    "numpy.ndarray size changed",
)
_NUMPY_CAUSE = "Original error was:"


def import_package(name: str) -> Any:
    """Import a package and return it. The first import of OpenVINO and ONNX Runtime disables their telemetry.

    What a package prints while its import fails, such as NumPy's traceback, is not shown.

    Args:
        name: `numpy`, `onnxruntime`, `openvino`, `tensorrt`, `tokenizers`, or another module.

    Raises:
        PackageImportError: the package is not installed, is damaged, or was built for another version of NumPy. The
            message names the versions and the command that fixes it.
    """
    with _LOCK:
        printed = io.StringIO()
        try:
            if isinstance(sys.modules.get(name), ModuleType):
                return importlib.import_module(name)  # waits if another thread has not finished importing it
            with contextlib.redirect_stderr(printed), _without_telemetry(name):
                module = importlib.import_module(name)
        except Exception as error:  # how the import of an extension module fails depends on the vendor
            raise _explain(name, error, printed.getvalue()) from error
        if any(sign in printed.getvalue() for sign in _BUILT_FOR_NUMPY_1):
            # Some packages hide the error of their extension module, and would fail or crash later.
            raise _explain(name, ImportError(), printed.getvalue())
        if sys.stderr is not None:  # it is None in a program without a console
            sys.stderr.write(printed.getvalue())
        return module


def package_version(name: str) -> str | None:
    """Return the version of an installed package, or None if it is not installed. This does not import it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def _without_telemetry(name: str) -> Iterator[None]:
    """Prevent what the import of a backend's package would send and write.

    - ONNX Runtime from 1.31 on stores a device id and an event file under ~/.cache/Microsoft and looks for a server to
      send events to. It reads the environment variable that prevents this at import. An existing value is kept.
    - OpenVINO sends an event and stores an id under ~/intel if the package openvino_telemetry can be imported; without
      it, OpenVINO uses a stub. No variable or option prevents this, so the package is hidden during the import.
    """
    if name == "onnxruntime":
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if name != "openvino":
        yield
        return
    modules = cast("MutableMapping[str, ModuleType | None]", sys.modules)
    telemetry = modules.get("openvino_telemetry")
    modules["openvino_telemetry"] = None
    try:
        yield
    finally:
        if telemetry is None:
            del modules["openvino_telemetry"]
        else:
            modules["openvino_telemetry"] = telemetry


def _explain(name: str, error: Exception, printed: str) -> PackageImportError:
    package = name.partition(".")[0]
    requirement = _REQUIREMENTS.get(package, package)
    version = package_version(package)
    reason = _reason(error)
    missing = error.name.partition(".")[0] if isinstance(error, ModuleNotFoundError) and error.name else None
    if missing is not None and missing != package:
        return PackageImportError(f"Cannot import {package} ({reason})", missing, missing)
    mismatch = _numpy_mismatch(f"{reason}\n{error}\n{printed}") if package != "numpy" else None
    if mismatch is not None:
        problem, requirement = mismatch
        return PackageImportError(f"{package} {version or 'of unknown version'} {problem}", requirement, "numpy")
    if missing is None and version is not None:
        problem = f"{package} {version} is installed, but its import fails ({reason})"
        return PackageImportError(problem, f"--force-reinstall {package}", package)
    return PackageImportError(f"Cannot import {package} ({reason})", requirement, package)


def _numpy_mismatch(text: str) -> tuple[str, str] | None:
    """Return the problem and the requirement that fixes it if an extension module was built for another NumPy."""
    numpy = package_version("numpy") or "of unknown version"
    if any(sign in text for sign in _BUILT_FOR_NUMPY_1) or (
        numpy.partition(".")[0] == "2" and any(sign in text for sign in _BUILT_FOR_OTHER_NUMPY[:2])
    ):
        return f"was built for NumPy 1 and cannot run with NumPy {numpy}", "'numpy<2'"
    if any(sign in text for sign in _BUILT_FOR_OTHER_NUMPY):
        return f"was built for a later NumPy and cannot run with NumPy {numpy}", "--upgrade numpy"
    return None


def _reason(error: Exception) -> str:
    """Return the line of an error that states its cause. NumPy puts a page of advice before it."""
    _, found, cause = str(error).partition(_NUMPY_CAUSE)
    return first_line(cause if found else error)
