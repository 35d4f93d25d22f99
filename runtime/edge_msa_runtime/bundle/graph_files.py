"""Check, before any backend opens a graph, that it refers to no file but its own weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable

from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME
from edge_msa_runtime.bundle.onnx_files import find_external_data
from edge_msa_runtime.bundle.openvino_files import find_constant_ranges
from edge_msa_runtime.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_msa_runtime.bundle.manifest import GraphSpec

# Large constants are in the weights file. The largest graph of this project, a text encoder, has 0.2 MB.
_MAX_GRAPH_BYTES = 16 << 20
_ADVICE = "Do not use the bundle; export it again"


def check_graph_files(root: Path, graphs: Iterable[GraphSpec]) -> None:
    """Check every graph of a bundle.

    An ONNX graph may refer to ranges of the file `w.bin` in its folder if the manifest names that as its weights. An
    OpenVINO IR may refer to ranges of the `.bin` file with its name.

    Args:
        root: the bundle's folder. The digests of its files have been checked.
        graphs: the graphs of the manifest.

    Raises:
        BundleError: a graph has another type, is malformed, or refers to another file or a range outside of the file.
    """
    specs = tuple(graphs)
    try:
        for spec in specs:
            file = spec.file
            _check_names(spec)
        # Backends share files.
        for file, weights in dict.fromkeys((spec.file, spec.weights) for spec in specs):
            _check_content(root, file, weights)
    except ValueError as error:
        raise BundleError(f"{file} cannot be used: {error}. {_ADVICE}.") from error


def _check_names(spec: GraphSpec) -> None:
    is_ir = spec.file.endswith(".xml")
    if not spec.file.endswith(".onnx") and not (is_ir and spec.backend == "openvino"):
        allowed = ".onnx or .xml" if spec.backend == "openvino" else ".onnx"
        raise ValueError(f"a graph for {spec.backend} must be an {allowed} file")
    folder, slash, _ = spec.file.rpartition("/")
    beside = f"{spec.file[: -len('.xml')]}.bin" if is_ir else f"{folder}{slash}{WEIGHTS_NAME}"
    if spec.weights != beside and (spec.weights or is_ir):
        raise ValueError(f"its weights must be {beside}, got {spec.weights or 'none'}")


def _check_content(root: Path, file: str, weights: str) -> None:
    path = root / file
    size = path.stat().st_size
    if size > _MAX_GRAPH_BYTES:
        raise ValueError(f"a graph without its weights must be at most {_MAX_GRAPH_BYTES >> 20} MiB, got {size} bytes")
    content = path.read_bytes()
    ranges = find_constant_ranges(content) if file.endswith(".xml") else _onnx_ranges(content, weights)
    available = (root / weights).stat().st_size if weights else 0
    for name, offset, length in ranges:
        if offset + length > available:
            raise ValueError(
                f"constant {name[:60]!a} refers to bytes {offset} to {offset + length} of {weights}, which has "
                f"{available} bytes"
            )


def _onnx_ranges(content: bytes, weights: str) -> list[tuple[str, int, int]]:
    allowed = weights.rpartition("/")[2]
    ranges = []
    for name, location, offset, length in find_external_data(content):
        if not allowed or location != allowed:
            raise ValueError(
                f"constant {name[:60]!a} refers to {location[:60]!a}, but a graph may only refer to "
                f"{allowed or 'nothing, because the manifest names no weights'}"
            )
        ranges.append((name, offset, length))
    return ranges
