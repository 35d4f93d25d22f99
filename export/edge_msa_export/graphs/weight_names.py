"""Names of weights, brought back where torch's exporter folded them: a linear layer's transposed weight is `val_58`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper


def restore_names(model: onnx.ModelProto, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Rename, in place, the constants that hold a weight or its transpose after the weight.

    Args:
        model: as exported.
        weights: of two dimensions, by their torch names. One whose name is in the graph already is left out; of equal
            weights the first is taken.
    """
    graph = model.graph
    taken = {tensor.name for tensor in graph.initializer}
    known: dict[tuple[tuple[int, ...], bytes], list[str]] = {}
    for name, values in weights.items():
        if name not in taken and values.ndim == 2:
            for form in (values, values.T):
                known.setdefault((form.shape, np.ascontiguousarray(form).tobytes()), []).append(name)
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2 or tensor.name in weights:
            continue
        values = numpy_helper.to_array(tensor)
        names = known.get((values.shape, values.tobytes()), [])
        free = next((name for name in names if name not in taken), None)
        if free is not None:
            renamed[tensor.name] = tensor.name = free
            taken.add(free)
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
