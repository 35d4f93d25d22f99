"""Writes a graph as OpenVINO IR: an .xml file with the topology and a .bin file with the weights.

Bundles contain ONNX by default, which OpenVINO compiles to the same kernels and which takes less than half of the
space. IR is for programs that accept nothing else, such as OpenVINO Model Server and benchmark_app.
"""

from __future__ import annotations

import io
from pathlib import Path

import onnx

from edge_msa_export.errors import ExportError
from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.vendor_packages import import_package


def write_ir(model: onnx.ModelProto, path: Path) -> Path:
    """Write a graph as the .xml file `path` and its weights as a .bin file in the same folder.

    Constants keep their types: float32 at fp32, float16 at fp16, int8 at int8.

    Returns:
        The path of the .bin file.

    Raises:
        ExportError: openvino is not installed or cannot convert the graph.
    """
    try:
        openvino = import_package("openvino")
    except PackageImportError as error:
        raise ExportError(f"{error.reason}. Export without --ir, or run: pip install {error.requirement}") from error
    try:
        graph = openvino.Core().read_model(io.BytesIO(model.SerializeToString()))
        openvino.save_model(graph, str(path), compress_to_fp16=False)
    except RuntimeError as error:  # the base class of OpenVINO's errors
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise ExportError(f"OpenVINO cannot write {path.name} as IR: {reason}") from error
    return path.with_suffix(".bin")
