"""The runtime's wheel, made from the package that is imported: with or without a source tree, no network, no build."""

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
# The oldest a zip can say; a fixed one keeps the wheel the same byte for byte.
_TIME = (1980, 1, 1, 0, 0, 0)
_WHEEL = "Wheel-Version: 1.0\nGenerator: edge-msa\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_KEPT = (".py", ".typed")


def write_runtime_wheel(folder: Path) -> Path:
    """Write the wheel into `folder`; the same package gives the same bytes.

    Raises:
        ExportError: the runtime is imported from where it is not installed, or from another version than is installed.
    """
    version = edge_msa_runtime.__version__
    info = f"{_PACKAGE}-{version}.dist-info"
    files = {**_package_files(), **_metadata_files(info, version)}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    path = folder / f"{_PACKAGE}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return path


def _package_files() -> dict[str, bytes]:
    root = Path(edge_msa_runtime.__path__[0])
    found = sorted(path for path in root.rglob("*") if path.suffix in _KEPT and path.is_file())
    return {f"{_PACKAGE}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in found}


def _metadata_files(info: str, version: str) -> dict[str, bytes]:
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError as error:
        raise ExportError(f"{_DISTRIBUTION} is not installed, so it has no metadata: pip install ./runtime") from error
    if distribution.version != version:
        raise ExportError(
            f"{_DISTRIBUTION} {distribution.version} is installed but {version} is imported: pip install ./runtime"
        )
    names = ("METADATA", "entry_points.txt")
    texts = {name: distribution.read_text(name) for name in names}
    for name, text in texts.items():
        if text is None:
            raise ExportError(f"the installed {_DISTRIBUTION} has no {name}: pip install --force-reinstall ./runtime")
    texts["WHEEL"] = _WHEEL
    return {f"{info}/{name}": text.encode() for name, text in sorted(texts.items()) if text is not None}


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
