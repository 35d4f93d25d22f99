"""The few calls of the CUDA runtime that TensorRT's buffers need, through NVIDIA's cuda-python."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa_runtime.engines.base import first_line
from edge_msa_runtime.errors import EngineUnavailableError, RuntimeFailure

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Cuda:
    """One CUDA device: `name`, `sm` (compute capability without its dot, `87`), a stream, and memory.

    Raises:
        EngineUnavailableError: cuda-python or the driver is missing, or there is no such device.
    """

    def __init__(self, index: int) -> None:
        self._api = _import_runtime()
        try:
            (count,) = self._call("cudaGetDeviceCount")
        except Exception as error:  # a missing driver shows in as many ways as there are versions
            raise EngineUnavailableError(
                f"no CUDA driver answers ({first_line(error)}); tensorrt needs an NVIDIA GPU: on a Jetson flash JetPack"
            ) from error
        if index >= count:
            raise EngineUnavailableError(f"there is no GPU:{index}; this machine has {count}")
        self._call("cudaSetDevice", index)
        (properties,) = self._call("cudaGetDeviceProperties", index)
        self.name = properties.name.split(b"\0")[0].decode("utf-8", "replace")
        self.sm = f"{properties.major}{properties.minor}"

    def free_bytes(self) -> int:
        """Memory that is free on the device; on a Jetson it is the CPU's as well."""
        free, _ = self._call("cudaMemGetInfo")
        return int(free)

    def stream(self) -> int:
        """A new stream's handle."""
        (stream,) = self._call("cudaStreamCreate")
        return int(stream)

    def synchronise(self, stream: int) -> None:
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
        return raw.view(kind).reshape(shape), int(address)

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

    def _call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        error, *results = getattr(self._api, name)(*arguments)
        if int(error) != 0:
            raise RuntimeFailure(f"CUDA's {name} failed with {error!s}; look at `dmesg` and the free memory")
        return tuple(results)


def _import_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError:
        # Before 12.6 the same module had another name.
        try:
            from cuda import cudart
        except ImportError as error:
            raise EngineUnavailableError(
                f"cuda-python cannot be imported ({first_line(error)}); tensorrt needs it: run: pip install cuda-python"
            ) from error
        return cudart
    return runtime
