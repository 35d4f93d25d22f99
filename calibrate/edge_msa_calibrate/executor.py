"""Run a graph from memory and return tensors from inside it, with ONNX Runtime on one CPU thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_runtime.backends.onnxruntime_backend import open_inference_session
from edge_msa_runtime.errors import PackageImportError, first_line

Array = npt.NDArray[Any]


class GraphExecutor:
    """A float32 graph, ready to run. `run` returns the tensors named in `tensors`, which need not be graph outputs.

    Raises:
        PackageImportError: ONNX Runtime cannot be imported.
        CalibrationError: ONNX Runtime cannot load the graph.
    """

    def __init__(self, model: onnx.ModelProto, tensors: Iterable[str]) -> None:
        self._tensors = tuple(dict.fromkeys(tensors))
        extended = onnx.ModelProto()
        extended.CopyFrom(model)
        outputs = {value.name for value in extended.graph.output}
        for name in self._tensors:
            if name not in outputs:
                extended.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        try:
            self._session = open_inference_session(extended.SerializeToString())
        except PackageImportError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            raise CalibrationError(f"ONNX Runtime cannot load the graph: {first_line(error)}") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the tensors by name for one set of inputs.

        Raises:
            CalibrationError: the inputs do not fit the graph.
        """
        try:
            values = self._session.run(list(self._tensors), dict(inputs))
        except Exception as error:  # as above
            raise CalibrationError(f"A calibration sample does not fit the graph: {first_line(error)}") from error
        return dict(zip(self._tensors, values, strict=True))
