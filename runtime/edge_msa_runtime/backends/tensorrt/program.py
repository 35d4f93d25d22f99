"""A TensorRT engine with its buffers, executed as one CUDA graph."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.errors import BackendUnavailableError, InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT32": np.int32,
    "INT64": np.int64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


class TensorRTProgram(Program):
    """A TensorRT engine with pinned host buffers and device buffers.

    A run copies the inputs, executes, copies the outputs and waits for them. Copies and kernels are captured once and
    launched together: at batch size 1, a dozen small launches cost more than the computation. If they cannot be
    captured, `notes` says so and every run queues each launch separately.
    """

    def __init__(self, tensorrt: Any, cuda: Cuda, cuda_engine: Any, device: str) -> None:
        self.device = device
        self.inputs, self.outputs = {}, {}
        self._cuda = cuda
        self._cuda_engine = cuda_engine
        self._context: Any = None
        self._stream: Any = None
        self._graph: Any = None
        self._uploads: list[tuple[int, int, int]] = []
        self._downloads: list[tuple[int, int, int]] = []
        self._clean_up: list[Callable[[], None]] = []
        try:
            self._allocate(tensorrt)
            self._capture()
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Copy the inputs to the device, execute, copy the outputs back, and wait until they are complete."""
        self._cuda.use()
        if self._graph is not None:
            self._cuda.launch_graph(self._graph, self._stream)
        else:
            self._queue()
        self._cuda.synchronize(self._stream)

    def close(self) -> None:
        """Free host and device memory, even after an earlier failure."""
        self.inputs, self.outputs = {}, {}
        self._uploads, self._downloads = [], []
        steps, self._clean_up = self._clean_up[::-1], []
        self._graph = None
        for free in steps:
            # After a failure, every CUDA call can return the same error. Try all steps and keep the first error.
            with contextlib.suppress(InferenceError):
                free()
        self._context = self._cuda_engine = self._stream = None

    def _allocate(self, tensorrt: Any) -> None:
        cuda, cuda_engine = self._cuda, self._cuda_engine
        self._context = cuda_engine.create_execution_context()
        if self._context is None:
            raise BackendUnavailableError(
                f"Not enough memory for the activations of a plan: {cuda.free_bytes() >> 20} MiB are free. "
                "Close other programs."
            )
        self._stream = cuda.create_stream()
        inputs: dict[str, NDArray[Any]] = {}
        outputs: dict[str, NDArray[Any]] = {}
        self.inputs, self.outputs = inputs, outputs
        self._clean_up.append(functools.partial(cuda.destroy_stream, self._stream))
        for position in range(cuda_engine.num_io_tensors):
            name = cuda_engine.get_tensor_name(position)
            shape = tuple(int(size) for size in cuda_engine.get_tensor_shape(name))
            array, host = cuda.allocate_pinned(shape, _numpy_dtype(name, cuda_engine.get_tensor_dtype(name)))
            self._clean_up.append(functools.partial(cuda.free_pinned, host))
            address = cuda.allocate(max(array.nbytes, 1))
            self._clean_up.append(functools.partial(cuda.free, address))
            self._context.set_tensor_address(name, address)
            is_input = cuda_engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            (inputs if is_input else outputs)[name] = array
            (self._uploads if is_input else self._downloads).append((address, host, array.nbytes))

    def _capture(self) -> None:
        """Run once, then capture: the first run allocates memory, which is not allowed during a capture."""
        self._queue()
        self._cuda.synchronize(self._stream)
        try:
            self._graph = self._cuda.capture_graph(self._stream, self._queue)
        except InferenceError as error:
            reason = str(error).partition(". ")[0]
            self.notes = (f"TensorRT runs without a CUDA graph, which makes predictions slower: {reason}",)
        else:
            self._clean_up.append(functools.partial(self._cuda.destroy_graph, self._graph))

    def _queue(self) -> None:
        cuda, stream = self._cuda, self._stream
        for address, host, size in self._uploads:
            cuda.upload(address, host, size, stream)
        if not self._context.execute_async_v3(stream):
            raise InferenceError("TensorRT could not start a run. Delete the plans in the backend cache.")
        for address, host, size in self._downloads:
            cuda.download(host, address, size, stream)


def _numpy_dtype(tensor: str, dtype: Any) -> Any:
    name = str(dtype.name)
    if name not in _DTYPES:
        raise BackendUnavailableError(
            f"The type of {tensor} must be one of {', '.join(_DTYPES)}, got {name}. Export the bundle again."
        )
    return _DTYPES[name]
