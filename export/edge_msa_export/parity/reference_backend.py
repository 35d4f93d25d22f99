"""Runs graphs with the reference implementation of ONNX, which computes every node in the type that the graph states.

ONNX Runtime computes float16 graphs in float32 on a CPU, so it cannot show what a device that computes in float16
loses. The reference implementation can, but it is slow: 2 to 5 ms for a window of a small student, and about 0.1 s for
a text encoder of 6 layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.helper import tensor_dtype_to_np_dtype
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_conv import Conv as ReferenceConv

from edge_msa_export.errors import ExportError
from edge_msa_export.request import REFERENCE
from edge_msa_runtime.backends import open_backend
from edge_msa_runtime.backends.base import Backend, BackendOptions, CreateProgram, Program

Array = NDArray[Any]


class ReferenceBackend(Backend):
    """The reference implementation of ONNX, on one CPU thread."""

    name = REFERENCE
    version = str(onnx.__version__)
    device = "CPU"

    def __init__(self) -> None:
        self.options = BackendOptions()

    def compile(self, path: Path, precision: str = "fp32") -> CreateProgram:
        """Load an ONNX graph. The precision is part of the graph."""
        del precision
        model = onnx.load(path)
        return lambda: ReferenceProgram(model)


class ReferenceProgram(Program):
    """One graph in memory."""

    device = "CPU"

    def __init__(self, model: onnx.ModelProto) -> None:
        # Sums of products have float32 accumulators and round once, as on a GPU. Everything else is as stated.
        self._evaluator = ReferenceEvaluator(model, new_ops=[Conv, MatMul, Erf])
        self.inputs = {value.name: _zeros(value) for value in model.graph.input}
        self.outputs = {value.name: _zeros(value) for value in model.graph.output}

    def run(self) -> None:
        """Execute the graph once."""
        with np.errstate(all="ignore"):  # float16 overflows where float32 does not; parity shows the result
            results = self._evaluator.run(None, dict(self.inputs))
        for buffer, result in zip(self.outputs.values(), results, strict=True):
            buffer[...] = result

    def close(self) -> None:
        """Do nothing: the program holds memory only."""


class Conv(ReferenceConv):
    """A convolution with float32 accumulators. The reference implementation runs it, except for the simplest kind."""

    op_domain = ""

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Array]:
        dtype = inputs[0].dtype
        x, w, *bias = (values.astype(np.float32) for values in inputs)
        is_plain = x.ndim == 3 and attributes.get("group") in (None, 1)
        is_padded = attributes.get("auto_pad") not in (None, "NOTSET") or any(attributes.get("pads") or ())
        if not is_plain or is_padded or set(attributes.get("strides") or (1,)) != {1}:
            (result,) = super()._run(x, w, *bias, **attributes)  # type: ignore[no-untyped-call]
            return (result.astype(dtype),)
        (dilation,) = attributes.get("dilations") or (1,)
        length = x.shape[2] - dilation * (w.shape[2] - 1)
        total = sum(w[:, :, tap] @ x[:, :, tap * dilation : tap * dilation + length] for tap in range(w.shape[2]))
        for b in bias:
            total = total + b[:, None]
        return (np.asarray(total, dtype=dtype),)


class MatMul(OpRun):
    """A product of matrices with float32 accumulators."""

    op_domain = ""

    def _run(self, a: Array, b: Array) -> tuple[Array]:
        return (np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype),)


class Erf(OpRun):
    """The error function of all values at once. The reference implementation calls Python for each one."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (torch.erf(torch.from_numpy(x.astype(np.float32))).numpy().astype(x.dtype),)


def open_measuring_backend(name: str) -> Backend:
    """Open the backend of that name, or the reference implementation.

    Raises:
        BackendUnavailableError: the backend is not installed.
    """
    return ReferenceBackend() if name == REFERENCE else open_backend(name)


def _zeros(value: onnx.ValueInfoProto) -> Array:
    tensor = value.type.tensor_type
    shape = [dim.dim_value for dim in tensor.shape.dim]
    if not all(shape):
        raise ExportError(f"{value.name} must have a static shape, got {shape}.")
    return np.zeros(shape, tensor_dtype_to_np_dtype(tensor.elem_type))
