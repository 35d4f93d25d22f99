"""The few calls of the CUDA runtime that TensorRT's buffers need, through NVIDIA's cuda-python."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from edge_msa_runtime.backends.base import first_line
from edge_msa_runtime.errors import BackendUnavailableError, InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Cuda:
    """One CUDA device: `index`, `name`, `sm` (compute capability without its dot, `87`), streams, memory, graphs.

    `shares_memory`: the GPU uses the CPU's memory, as on a Jetson.

    Raises:
        BackendUnavailableError: cuda-python or the driver is missing, or there is no such device.
    """

    def __init__(self, index: int) -> None:
        self._api = _import_runtime()
        try:
            (count,) = self._call("cudaGetDeviceCount")
        except Exception as error:  # a missing driver shows in as many ways as there are versions
            reason = first_line(error).partition(";")[0]
            raise BackendUnavailableError(
                f"no CUDA driver answers ({reason}); tensorrt needs an NVIDIA GPU: on a Jetson flash JetPack"
            ) from error
        if index >= count:
            raise BackendUnavailableError(f"there is no GPU:{index}; this machine has {count}")
        self.index = index
        self.use()
        (properties,) = self._call("cudaGetDeviceProperties", index)
        self.name = properties.name.split(b"\0")[0].decode("utf-8", "replace")
        self.sm = f"{properties.major}{properties.minor}"
        self.shares_memory = bool(properties.integrated)

    def use(self) -> None:
        """Make it the calling thread's device, which CUDA keeps by thread."""
        self._call("cudaSetDevice", self.index)

    def free_bytes(self) -> int:
        """Memory that can be had on the device.

        Where it is the CPU's as well, CUDA leaves out what the system would give back (CUDA for Tegra, "Estimating
        Total Allocatable Device Memory on an Integrated GPU Device"): the system's own estimate is taken.
        """
        free, _ = self._call("cudaMemGetInfo")
        available = available_bytes() if self.shares_memory else None
        return int(free) if available is None else available

    def create_stream(self) -> int:
        """A new stream's handle; it does not wait for the default stream, where other libraries may be at work."""
        (stream,) = self._call("cudaStreamCreateWithFlags", self._api.cudaStreamNonBlocking)
        return int(stream)

    def synchronize(self, stream: int) -> None:
        """Wait until all that was queued is done."""
        self._call("cudaStreamSynchronize", stream)

    def destroy(self, stream: int) -> None:
        """Free a stream."""
        self._call("cudaStreamDestroy", stream)

    def pinned(self, shape: tuple[int, ...], kind: Any) -> tuple[NDArray[Any], int]:
        """Zeros in page-locked host memory, and its address, which `free_pinned` takes."""
        size = max(int(np.prod(shape)) * np.dtype(kind).itemsize, 1)
        (address,) = self._call("cudaMallocHost", size)
        ctypes.memset(int(address), 0, size)
        raw = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(int(address)))
        return raw[: int(np.prod(shape)) * np.dtype(kind).itemsize].view(kind).reshape(shape), int(address)

    def free_pinned(self, address: int) -> None:
        """Free what `pinned` gave; its array must not be used any more."""
        self._call("cudaFreeHost", address)

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the device."""
        (address,) = self._call("cudaMalloc", size)
        return int(address)

    def free(self, address: int) -> None:
        """Free what `allocate` gave."""
        self._call("cudaFree", address)

    def upload(self, device: int, host: int, size: int, stream: int) -> None:
        """Queue a copy to the device."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", device, host, size, kind, stream)

    def download(self, host: int, device: int, size: int, stream: int) -> None:
        """Queue a copy from the device."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host, device, size, kind, stream)

    def capture(self, stream: int, queue: Callable[[], None]) -> Any:
        """What `queue` puts into a stream, as one graph that `replay` starts at once and `forget` frees.

        `cudaGraphInstantiateWithFlags` takes the same arguments in CUDA 11.4 to 13; `cudaGraphInstantiate` does not.

        Raises:
            InferenceError: something that was queued cannot be captured; the stream can be used as before.
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

    def replay(self, graph: Any, stream: int) -> None:
        """Queue all that was captured."""
        self._call("cudaGraphLaunch", graph, stream)

    def forget(self, graph: Any) -> None:
        """Free what `capture` gave."""
        self._call("cudaGraphExecDestroy", graph)

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        error, *results = getattr(self._api, name)(*arguments)
        if int(error) != 0:
            raise InferenceError(f"CUDA's {name} failed with {error!s}; look at `dmesg` and the free memory")
        return tuple(results)


def available_bytes() -> int | None:
    """Memory that programs can have without swapping, or None where the system does not tell."""
    told = Path("/proc/meminfo")
    if not told.is_file():
        return None
    for line in told.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _import_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError:
        # Before 12.6 the same module had another name.
        try:
            from cuda import cudart
        except ImportError as error:
            raise BackendUnavailableError(
                f"cuda-python cannot be imported ({first_line(error)}); tensorrt needs the one of the CUDA here: "
                "run: pip install 'cuda-python<13' (CUDA 12, JetPack 6), 'cuda-python<12' (CUDA 11, JetPack 5), "
                "cuda-python (CUDA 13, JetPack 7)"
            ) from error
        return cudart
    return runtime
