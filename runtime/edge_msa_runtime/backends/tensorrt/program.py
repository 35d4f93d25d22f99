"""A plan with its buffers, run as one CUDA graph."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from edge_msa_runtime.backends.base import Program
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.errors import BackendUnavailableError, InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT32": np.int32,
    "INT64": np.int64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


class TensorRTProgram(Program):
    """A plan with pinned host buffers and device buffers; copies and synchronization are part of a run.

    Copies and kernels are recorded once and replayed as one launch: at batch 1 a dozen small launches cost more than
    the work. Where the plan cannot be recorded, `notes` says so, and every run queues them one by one.
    """

    def __init__(self, vendor: Any, cuda: Cuda, backend: Any, device: str) -> None:
        self.device = device
        self.inputs, self.outputs = {}, {}
        self._cuda = cuda
        self._backend = backend
        self._context: Any = None
        self._stream: Any = None
        self._graph: Any = None
        self._uploads: list[tuple[int, int, int]] = []
        self._downloads: list[tuple[int, int, int]] = []
        self._freed: list[Callable[[], None]] = []
        try:
            self._allot(vendor)
            self._record()
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Execute once: copy in, compute, copy out, and wait for the end."""
        self._cuda.use()
        if self._graph is not None:
            self._cuda.replay(self._graph, self._stream)
        else:
            self._queue()
        self._cuda.synchronize(self._stream)

    def close(self) -> None:
        """Free the host's and the device's memory, whatever failed before."""
        self.inputs, self.outputs = {}, {}
        self._uploads, self._downloads = [], []
        steps, self._freed = self._freed[::-1], []
        self._graph = None
        for free in steps:
            # After one failure CUDA answers every call with it: all are tried, and the first error stays the caller's.
            with contextlib.suppress(InferenceError):
                free()
        self._context = self._backend = self._stream = None

    def _allot(self, vendor: Any) -> None:
        cuda, backend = self._cuda, self._backend
        self._context = backend.create_execution_context()
        if self._context is None:
            raise BackendUnavailableError(
                f"tensorrt has no memory for a plan's activations, {cuda.free_bytes() >> 20} MiB are free: "
                "close other programs"
            )
        self._stream = cuda.create_stream()
        inputs: dict[str, NDArray[Any]] = {}
        outputs: dict[str, NDArray[Any]] = {}
        self.inputs, self.outputs = inputs, outputs
        self._freed.append(_later(cuda.destroy, self._stream))
        for position in range(backend.num_io_tensors):
            name = backend.get_tensor_name(position)
            shape = tuple(int(size) for size in backend.get_tensor_shape(name))
            array, host = cuda.pinned(shape, _kind(name, backend.get_tensor_dtype(name)))
            self._freed.append(_later(cuda.free_pinned, host))
            address = cuda.allocate(max(array.nbytes, 1))
            self._freed.append(_later(cuda.free, address))
            self._context.set_tensor_address(name, address)
            is_input = backend.get_tensor_mode(name) == vendor.TensorIOMode.INPUT
            (inputs if is_input else outputs)[name] = array
            (self._uploads if is_input else self._downloads).append((address, host, array.nbytes))

    def _record(self) -> None:
        """Capture a run, after one that is not: the first run allots what a capture must not."""
        self._queue()
        self._cuda.synchronize(self._stream)
        try:
            self._graph = self._cuda.capture(self._stream, self._queue)
        except InferenceError as error:
            reason = str(error).partition(";")[0]
            self.notes = (f"tensorrt runs without a CUDA graph, each launch by itself: {reason}",)
        else:
            self._freed.append(_later(self._cuda.forget, self._graph))

    def _queue(self) -> None:
        cuda, stream = self._cuda, self._stream
        for address, host, size in self._uploads:
            cuda.upload(address, host, size, stream)
        if not self._context.execute_async_v3(stream):
            raise InferenceError("tensorrt failed to start a run; delete the plans in the backend cache")
        for address, host, size in self._downloads:
            cuda.download(host, address, size, stream)


def _later(call: Callable[[Any], None], argument: Any) -> Callable[[], None]:
    return lambda: call(argument)


def _kind(name: str, told: Any) -> Any:
    word = str(told.name)
    if word not in _KINDS:
        raise BackendUnavailableError(
            f"{name} is of tensorrt's type {word}, which NumPy lacks; export the bundle again"
        )
    return _KINDS[word]
