"""OpenVINO's own form of a graph, IR: an .xml of the topology and a .bin of the weights.

The runtime reads ONNX as it is, makes the same kernels of it and needs less than half of the bytes. IR is for programs
that take nothing else, such as OpenVINO's model server and benchmark_app.
"""

from __future__ import annotations

import io
from pathlib import Path

import onnx

from edge_msa_export.errors import ExportError


def write_ir(model: onnx.ModelProto, xml: Path) -> Path:
    """Write a graph as `xml`, and its weights as the .bin beside it, which is returned.

    Constants keep the type that they have in the graph: float32, float16 at fp16, int8 at int8.

    Raises:
        ExportError: openvino is not installed, or cannot read the graph.
    """
    try:
        import openvino
    except ImportError as error:
        raise ExportError("IR needs the openvino package: pip install openvino, or leave --ir out") from error
    try:
        graph = openvino.Core().read_model(io.BytesIO(model.SerializeToString()))
        openvino.save_model(graph, str(xml), compress_to_fp16=False)
    except RuntimeError as error:  # the root of the vendor's errors
        first = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise ExportError(f"openvino cannot write {xml.name} as IR: {first}") from error
    return xml.with_suffix(".bin")
