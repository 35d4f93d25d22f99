"""The CUDA runtime calls that TensorRT's buffers need, through NVIDIA's cuda-python."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from edge_msa_runtime.errors import BackendUnavailableError, InferenceError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Cuda:
    """A CUDA device: its properties, streams, memory and graphs.

    Attributes:
        index: index of the device.
        name: name of the device.
        sm: compute capability without its dot, such as `87`.
        shares_memory: whether the GPU uses the CPU's memory, as on a Jetson.

    Raises:
        BackendUnavailableError: cuda-python or the driver is missing, or the device does not exist.
    """

    def __init__(self, index: int) -> None:
        self._api = _import_cuda_runtime()
        try:
            (count,) = self._call("cudaGetDeviceCount")
        except Exception as error:  # the exception for a missing driver depends on the version
            reason = first_line(error).partition(". ")[0]
            raise BackendUnavailableError(
                f"Cannot reach a CUDA driver ({reason}). TensorRT needs an NVIDIA GPU; on a Jetson, flash JetPack."
            ) from error
        if index >= count:
            raise BackendUnavailableError(f"GPU:{index} does not exist. This machine has {count} GPU(s).")
        self.index = index
        self.use()
        (properties,) = self._call("cudaGetDeviceProperties", index)
        self.name = properties.name.split(b"\0")[0].decode("utf-8", "replace")
        self.sm = f"{properties.major}{properties.minor}"
        self.shares_memory = bool(properties.integrated)

    def use(self) -> None:
        """Select this device for the calling thread. CUDA stores the current device per thread."""
        self._call("cudaSetDevice", self.index)

    def free_bytes(self) -> int:
        """Return the memory that can be allocated on the device.

        If the GPU shares the CPU's memory, CUDA does not count memory that the system could reclaim (CUDA for Tegra,
        "Estimating Total Allocatable Device Memory on an Integrated GPU Device"). The system's estimate is used
        instead.
        """
        free, _ = self._call("cudaMemGetInfo")
        available = available_bytes() if self.shares_memory else None
        return int(free) if available is None else available

    def create_stream(self) -> int:
        """Return the handle of a new stream that does not wait for the default stream, which other libraries use."""
        (stream,) = self._call("cudaStreamCreateWithFlags", self._api.cudaStreamNonBlocking)
        return int(stream)

    def synchronize(self, stream: int) -> None:
        """Wait until everything queued in a stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: int) -> None:
        """Free a stream."""
        self._call("cudaStreamDestroy", stream)

    def allocate_pinned(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], int]:
        """Allocate zeros in page-locked host memory. Return the array and the address to pass to `free_pinned`."""
        size = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
        (address,) = self._call("cudaMallocHost", size)
        ctypes.memset(int(address), 0, size)
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        return raw[: int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype).reshape(shape), int(address)

    def free_pinned(self, address: int) -> None:
        """Free memory from `allocate_pinned`. Its array must not be used afterwards."""
        self._call("cudaFreeHost", address)

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes on the device and return their address."""
        (address,) = self._call("cudaMalloc", size)
        return int(address)

    def free(self, address: int) -> None:
        """Free memory from `allocate`."""
        self._call("cudaFree", address)

    def upload(self, device: int, host: int, size: int, stream: int) -> None:
        """Queue a copy from the host to the device."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, size, kind, stream)

    def download(self, host: int, device: int, size: int, stream: int) -> None:
        """Queue a copy from the device to the host."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, size, kind, stream)

    def capture_graph(self, stream: int, queue: Callable[[], None]) -> Any:
        """Capture everything that `queue` puts into a stream as one CUDA graph. Free it with `destroy_graph`.

        Uses `cudaGraphInstantiateWithFlags`, whose arguments are the same in CUDA 11.4 to 13, unlike those of
        `cudaGraphInstantiate`.

        Raises:
            InferenceError: a queued operation cannot be captured. The stream remains usable.
        """
        self._call("cudaStreamBeginCapture", stream, self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            queue()
        except BaseException:
            with contextlib.suppress(InferenceError):
                self._call("cudaGraphDestroy", *self._call("cudaStreamEndCapture", stream))
            raise
        (graph,) = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiateWithFlags", graph, 0)[0]
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch_graph(self, graph: Any, stream: int) -> None:
        """Queue all captured operations."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Free a graph from `capture_graph`."""
        self._call("cudaGraphExecDestroy", graph)

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        error, *results = getattr(self._api, name)(*arguments)
        if int(error) != 0:
            raise InferenceError(f"{name} failed with {error!s}. Check `dmesg` and the free memory.")
        return tuple(results)


def available_bytes() -> int | None:
    """Return the memory that programs can use without swapping, or None if the system does not report it."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    for line in meminfo.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _import_cuda_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError:
        # Before 12.6, the same module was called cuda.cudart.
        try:
            from cuda import cudart
        except ImportError as error:
            raise BackendUnavailableError(
                f"Cannot import cuda-python ({first_line(error)}). Install the version that matches your CUDA: "
                "pip install 'cuda-python<13' (CUDA 12, JetPack 6), 'cuda-python<12' (CUDA 11, JetPack 5) or "
                "cuda-python (CUDA 13, JetPack 7)"
            ) from error
        return cudart
    return runtime
