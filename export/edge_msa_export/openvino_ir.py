"""ONNX -> OpenVINO IR: a `.xml` and its `.bin`, the same bytes every time and without traces of this machine."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import openvino

from edge_msa_export.errors import ExportError
from edge_msa_export.lint import find_local_paths


def write_ir(model: onnx.ModelProto, path: Path, *, half_weights: bool = False) -> None:
    """Write `path` (.xml) and its .bin.

    Args:
        model: a graph at a true opset 17; Q/DQ pairs become FakeQuantize and run as int8.
        path: where the .xml goes; its folder is there.
        half_weights: keep float weights as float16, half the size; what they are computed in is the engine's choice.

    Raises:
        ExportError: OpenVINO refuses the graph, or a local path is left in the result.
    """
    try:
        network = openvino.Core().read_model(model.SerializeToString())
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise ExportError(f"OpenVINO cannot read the graph for {path.name}: {first}") from error
    _name_by_position(network)
    try:
        openvino.save_model(network, path, compress_to_fp16=half_weights)
    except RuntimeError as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise ExportError(f"{path}: OpenVINO cannot write it ({first}); is there space left?") from error
    left = find_local_paths(path.read_text(encoding="utf-8"))
    if left:
        raise ExportError(f"{path.name} holds a path of this machine: {left}; report this, the file is not portable")


def _name_by_position(network: openvino.Model) -> None:
    """Unnamed nodes are numbered by a counter of the process, which would make the file differ from run to run."""
    for position, node in enumerate(network.get_ordered_ops()):
        name = node.get_friendly_name()
        if re.fullmatch(rf"{re.escape(node.get_type_name())}_\d+(/.*)?", name):
            node.set_friendly_name(f"{node.get_type_name()}.{position}")
