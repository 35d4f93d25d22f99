"""Runs a graph from memory and hands out tensors from inside it; ONNX Runtime on the CPU, one thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_runtime.backends.onnxruntime_backend import import_onnxruntime

Array = npt.NDArray[Any]
_ERRORS_ONLY = 3


class GraphExecutor:
    """A float32 graph, ready to run; `run` gives the tensors named in `tensors`, whether outputs or not."""

    def __init__(self, model: onnx.ModelProto, tensors: Iterable[str]) -> None:
        onnxruntime = import_onnxruntime()
        self._tensors = tuple(dict.fromkeys(tensors))
        probed = onnx.ModelProto()
        probed.CopyFrom(model)
        outputs = {value.name for value in probed.graph.output}
        for name in self._tensors:
            if name not in outputs:
                probed.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            self._session = onnxruntime.InferenceSession(
                probed.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no root but this
            raise CalibrationError(f"ONNX Runtime cannot load the graph: {_first_line(error)}") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The tensors for one set of inputs.

        Raises:
            CalibrationError: the inputs do not fit the graph.
        """
        try:
            found = self._session.run(list(self._tensors), dict(inputs))
        except Exception as error:  # as above
            raise CalibrationError(f"a calibration sample does not fit the graph: {_first_line(error)}") from error
        return dict(zip(self._tensors, found, strict=True))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
