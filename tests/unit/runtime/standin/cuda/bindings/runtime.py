"""CUDA's runtime on host memory: what is queued is done when the stream is waited for, and not before.

`held` has what is not freed, `calls` how often what was called.
"""

# ruff: noqa: N801, N802, N815, N816 - the vendor's names

from __future__ import annotations

import collections
import ctypes
import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

SETTINGS: dict[str, Any] = json.loads(os.environ["EDGE_MSA_STANDIN"])
OK, NO_MEMORY, NOT_SUPPORTED = 0, 2, 900
cudaStreamNonBlocking = 1

held: dict[int, Any] = {}
calls: collections.Counter[str] = collections.Counter()
current = 0


class cudaMemcpyKind:
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode:
    cudaStreamCaptureModeThreadLocal = 1


class Stream:
    """As the vendor's: a thing that `int` makes a handle of."""

    def __int__(self) -> int:
        return id(self)

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.recorded: list[Callable[[], None]] | None = None

    def queue(self, work: Callable[[], None]) -> None:
        (self.waiting if self.recorded is None else self.recorded).append(work)


class Graph:
    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work


def cudaGetDeviceCount() -> tuple[int, int]:
    return (35, 0) if SETTINGS.get("no_driver") else (OK, int(SETTINGS.get("gpus", 1)))


def cudaSetDevice(index: int) -> tuple[int]:
    global current  # noqa: PLW0603 - CUDA keeps it, too
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
    return OK, _hold(Stream())


def cudaStreamDestroy(handle: int) -> tuple[int]:
    return _release(handle)


def cudaStreamSynchronize(handle: int) -> tuple[int]:
    stream = stream_of(handle)
    calls["synchronize"] += 1
    work, stream.waiting = stream.waiting, []
    for each in work:
        each()
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
    stream_of(handle).recorded = []
    return (OK,)


def cudaStreamEndCapture(handle: int) -> tuple[int, Graph | None]:
    stream = stream_of(handle)
    work, stream.recorded = stream.recorded, None
    if SETTINGS.get("no_capture") or work is None:
        return NOT_SUPPORTED, None
    return OK, _hold(Graph(work))


def cudaGraphInstantiateWithFlags(graph: Graph, flags: int) -> tuple[int, Graph]:
    assert flags == 0
    return OK, _hold(Graph(graph.work))


def cudaGraphDestroy(graph: Graph) -> tuple[int]:
    return _release(id(graph))


def cudaGraphExecDestroy(graph: Graph) -> tuple[int]:
    return _release(id(graph))


def cudaGraphLaunch(graph: Graph, handle: int) -> tuple[int]:
    calls["replay"] += 1
    for work in graph.work:
        stream_of(handle).queue(work)
    return (OK,)


def stream_of(handle: int) -> Stream:
    """The stream of a handle, which is a number wherever the vendor takes one."""
    assert isinstance(handle, int)
    stream = held[handle]
    assert isinstance(stream, Stream)
    return stream


def _allocate(size: int) -> tuple[int, int]:
    calls["allocate"] += 1
    if calls["allocate"] == SETTINGS.get("failing_allocation"):
        return NO_MEMORY, 0
    buffer = ctypes.create_string_buffer(b"\xff" * size, size)
    held[ctypes.addressof(buffer)] = buffer
    return OK, ctypes.addressof(buffer)


def _hold(thing: Any) -> Any:
    held[id(thing)] = thing
    return thing


def _release(address: int) -> tuple[int]:
    del held[address]
    return (OK,)
