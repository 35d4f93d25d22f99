"""Builds the wheel of the runtime from the imported package, without a source tree, a build backend or a network."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

import edge_msa_runtime
from edge_msa_export.errors import ExportError

_DISTRIBUTION = "edge-msa-runtime"
_PACKAGE = "edge_msa_runtime"
# The oldest time that zip files support. A fixed time makes the wheel reproducible byte for byte.
_FILE_TIME = (1980, 1, 1, 0, 0, 0)
_WHEEL_FILE = "Wheel-Version: 1.0\nGenerator: edge-msa\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_runtime_wheel(folder: Path) -> Path:
    """Write the wheel into `folder` and return its path. The same package gives the same bytes.

    Raises:
        ExportError: the runtime is not installed, or the installed version differs from the imported one.
    """
    version = edge_msa_runtime.__version__
    info = f"{_PACKAGE}-{version}.dist-info"
    files = {**_read_package_files(), **_read_metadata_files(info, version)}
    record = "".join(f"{name},sha256={_encode_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{_PACKAGE}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _FILE_TIME)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def _read_package_files() -> dict[str, bytes]:
    root = Path(edge_msa_runtime.__path__[0])
    files = {path.relative_to(root): path for path in sorted(root.rglob("*")) if path.is_file()}
    return {f"{_PACKAGE}/{name.as_posix()}": path.read_bytes() for name, path in files.items() if not _is_cache(name)}


def _is_cache(name: Path) -> bool:
    """Return whether a file is left by Python or a tool, such as `__pycache__` and `.ruff_cache`."""
    return any(part == "__pycache__" or part.startswith(".") for part in name.parts)


def _read_metadata_files(info: str, version: str) -> dict[str, bytes]:
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise ExportError(
            f"{_DISTRIBUTION} must be installed to build its wheel. Run: pip install ./runtime"
        ) from error
    if distribution.version != version:
        raise ExportError(
            f"The installed {_DISTRIBUTION} must have the imported version {version}, got {distribution.version}. "
            "Run: pip install ./runtime"
        )
    texts = {name: distribution.read_text(name) for name in ("METADATA", "entry_points.txt")}
    for name, text in texts.items():
        if text is None:
            raise ExportError(
                f"The installed {_DISTRIBUTION} lacks {name}. Run: pip install --force-reinstall ./runtime"
            )
    texts["WHEEL"] = _WHEEL_FILE
    texts["licenses/LICENSE"] = distribution.read_text("licenses/LICENSE")
    return {f"{info}/{name}": text.encode() for name, text in sorted(texts.items()) if text is not None}


def _encode_digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
