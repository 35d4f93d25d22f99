"""A stand-in for the CUDA runtime, on host memory. Queued work runs only when its stream is synchronized.

`allocated`: everything that is not freed, by address or handle. `calls`: number of calls per kind.
"""

# ruff: noqa: N801, N802, N815, N816 - CUDA's names

from __future__ import annotations

import collections
import ctypes
import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

SETTINGS: dict[str, Any] = json.loads(os.environ["EDGE_MSA_STAND_IN"])
OK, NO_MEMORY, NOT_SUPPORTED = 0, 2, 900
cudaStreamNonBlocking = 1

allocated: dict[int, Any] = {}
calls: collections.Counter[str] = collections.Counter()
current = 0


class cudaMemcpyKind:
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode:
    cudaStreamCaptureModeThreadLocal = 1


class Stream:
    """Like CUDA's stream, `int` converts it to a handle."""

    def __int__(self) -> int:
        return id(self)

    def __init__(self) -> None:
        self.queued: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None

    def queue(self, work: Callable[[], None]) -> None:
        (self.queued if self.captured is None else self.captured).append(work)


class Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work


def cudaGetDeviceCount() -> tuple[int, int]:
    return (35, 0) if SETTINGS.get("no_driver") else (OK, int(SETTINGS.get("gpus", 1)))


def cudaSetDevice(index: int) -> tuple[int]:
    global current  # noqa: PLW0603 - CUDA has this global state, too
    current = index
    return (OK,)


def cudaGetDeviceProperties(_: int) -> tuple[int, SimpleNamespace]:
    major, minor = str(SETTINGS.get("sm", "8.7")).split(".")
    name = str(SETTINGS.get("device", "Orin")).encode() + b"\0\0"
    integrated = int(SETTINGS.get("integrated", 0))
    return OK, SimpleNamespace(name=name, major=int(major), minor=int(minor), integrated=integrated)


def cudaMemGetInfo() -> tuple[int, int, int]:
    return OK, int(SETTINGS.get("free_mib", 8192)) << 20, 1 << 34


def cudaStreamCreateWithFlags(flags: int) -> tuple[int, Stream]:
    assert flags == cudaStreamNonBlocking
    return OK, _register(Stream())


def cudaStreamDestroy(handle: int) -> tuple[int]:
    return _release(handle)


def cudaStreamSynchronize(handle: int) -> tuple[int]:
    stream = stream_of(handle)
    calls["synchronize"] += 1
    work, stream.queued = stream.queued, []
    for step in work:
        step()
    return (OK,)


def cudaMalloc(size: int) -> tuple[int, int]:
    return _allocate(size)


def cudaMallocHost(size: int) -> tuple[int, int]:
    return _allocate(size)


def cudaFree(address: int) -> tuple[int]:
    return _release(address)


def cudaFreeHost(address: int) -> tuple[int]:
    return _release(address)


def cudaMemcpyAsync(target: int, source: int, size: int, _kind: int, handle: int) -> tuple[int]:
    calls["copy"] += 1

    def copy() -> None:
        ctypes.memmove(target, source, size)

    stream_of(handle).queue(copy)
    return (OK,)


def cudaStreamBeginCapture(handle: int, _mode: int) -> tuple[int]:
    stream_of(handle).captured = []
    return (OK,)


def cudaStreamEndCapture(handle: int) -> tuple[int, Graph | None]:
    stream = stream_of(handle)
    work, stream.captured = stream.captured, None
    if SETTINGS.get("no_capture") or work is None:
        return NOT_SUPPORTED, None
    return OK, _register(Graph(work))


def cudaGraphInstantiateWithFlags(graph: Graph, flags: int) -> tuple[int, Graph]:
    assert flags == 0
    return OK, _register(Graph(graph.work))


def cudaGraphDestroy(graph: Graph) -> tuple[int]:
    return _release(id(graph))


def cudaGraphExecDestroy(graph: Graph) -> tuple[int]:
    return _release(id(graph))


def cudaGraphLaunch(graph: Graph, handle: int) -> tuple[int]:
    calls["launch"] += 1
    for work in graph.work:
        stream_of(handle).queue(work)
    return (OK,)


def stream_of(handle: int) -> Stream:
    """Return the stream of a handle, which must be a number, as in CUDA."""
    assert isinstance(handle, int)
    stream = allocated[handle]
    assert isinstance(stream, Stream)
    return stream


def _allocate(size: int) -> tuple[int, int]:
    calls["allocate"] += 1
    if calls["allocate"] == SETTINGS.get("failing_allocation"):
        return NO_MEMORY, 0
    buffer = ctypes.create_string_buffer(b"\xff" * size, size)
    allocated[ctypes.addressof(buffer)] = buffer
    return OK, ctypes.addressof(buffer)


def _register(item: Any) -> Any:
    allocated[id(item)] = item
    return item


def _release(address: int) -> tuple[int]:
    del allocated[address]
    return (OK,)
