"""Exports a torch module as an opset 17 ONNX graph."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from edge_msa_export.errors import ExportError
from edge_msa_export.transforms.opset17 import to_opset17
from edge_msa_runtime.interrupts import raise_if_interrupted

# The exporter cannot write opset 17 correctly (see `to_opset17`), so it writes 18, which is then lowered.
_EXPORTER_OPSET = 18


@dataclass(frozen=True)
class ExportableModule:
    """A module that becomes one graph.

    Attributes:
        module: the module.
        inputs: example inputs by name, in the order of the arguments.
        outputs: names of the outputs, in order.
    """

    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]


def export_onnx(exportable: ExportableModule) -> onnx.ModelProto:
    """Export a module as an opset 17 graph. Weights keep their torch names.

    Raises:
        ExportError: torch cannot export the module, or the result is not valid at opset 17.
    """
    with silence_exporter():
        try:
            program = torch.onnx.export(
                exportable.module.eval(),
                tuple(exportable.inputs.values()),
                dynamo=True,
                opset_version=_EXPORTER_OPSET,
                verbose=False,
                input_names=list(exportable.inputs),
                output_names=list(exportable.outputs),
            )
        except torch.onnx.OnnxExporterError as error:
            raise_if_interrupted(error)
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ExportError(f"torch cannot export the module to ONNX: {reason}") from error
    raise_if_interrupted()  # the exporter may try the next of its strategies after Ctrl-C
    if program is None:
        raise ExportError("The exporter of torch returned no graph. Install torch 2.7 or newer.")
    result = to_opset17(program.model_proto)
    weights = {name: value.detach().numpy() for name, value in exportable.module.named_parameters() if value.dim() == 2}
    restore_weight_names(result, weights)
    return result


@contextlib.contextmanager
def silence_exporter() -> Iterator[None]:
    """Suppress the messages that the exporter prints on every call, such as that torchvision is missing."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
            # A GRU stores its weights in a list in addition to its parameters. The exporter uses the parameters.
            warnings.filterwarnings("ignore", message=r"(?s).*_flat_weights.*", category=UserWarning)
            yield
    finally:
        logging.disable(previous)


def restore_weight_names(model: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Rename constants that equal a weight or its transpose to the name of the weight, in place.

    The exporter folds the transpose of a linear layer's weight into a constant with a generated name such as `val_58`.

    Args:
        model: the exported model.
        weights: 2-D weights by their torch names. Names that the graph already has are skipped. If several weights
            are equal, the first one is used.
    """
    graph = model.graph
    used = {tensor.name for tensor in graph.initializer}
    candidates: dict[tuple[tuple[int, ...], bytes], list[str]] = {}
    for name, values in weights.items():
        if name not in used and values.ndim == 2:
            for form in (values, values.T):
                candidates.setdefault((form.shape, np.ascontiguousarray(form).tobytes()), []).append(name)
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2 or tensor.name in weights:
            continue
        values = numpy_helper.to_array(tensor)
        names = candidates.get((values.shape, values.tobytes()), [])
        unused_name = next((name for name in names if name not in used), None)
        if unused_name is not None:
            renamed[tensor.name] = tensor.name = unused_name
            used.add(unused_name)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
