"""The TensorRT engine's own steps against a stand-in for the vendor: cache, flags, buffers, copies, refusals.

The stand-in's "plan" doubles its input. It shows that our calls are in order, not that TensorRT takes them.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime.engines import open_engine
from edge_msa_runtime.errors import EngineUnavailableError

SHAPE = (1, 4)


class _Cuda:
    """CUDA's runtime on host memory; counts what is not freed."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815

    def __init__(self, free: int = 1 << 33) -> None:
        self.held: dict[int, Any] = {}
        self._free = free

    def __getattr__(self, name: str) -> Callable[..., tuple[int, ...]]:
        table: dict[str, Callable[..., Any]] = {
            "cudaGetDeviceCount": lambda: (0, 1),
            "cudaSetDevice": lambda _: (0,),
            "cudaGetDeviceProperties": lambda _: (0, SimpleNamespace(name=b"Orin\0\0", major=8, minor=7)),
            "cudaMemGetInfo": lambda: (0, self._free, 1 << 34),
            "cudaStreamCreate": lambda: (0, 77),
            "cudaStreamSynchronize": lambda _: (0,),
            "cudaStreamDestroy": lambda _: (0,),
            "cudaMalloc": self._allocate,
            "cudaMallocHost": self._allocate,
            "cudaFree": self._release,
            "cudaFreeHost": self._release,
            "cudaMemcpyAsync": self._copy,
        }
        if name not in table:
            raise AttributeError(name)
        return table[name]

    def _allocate(self, size: int) -> tuple[int, int]:
        buffer = ctypes.create_string_buffer(b"\xff" * size, size)
        self.held[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def _release(self, address: int) -> tuple[int]:
        del self.held[address]
        return (0,)

    @staticmethod
    def _copy(target: int, source: int, size: int, _kind: int, stream: int) -> tuple[int]:
        assert stream == 77
        ctypes.memmove(target, source, size)
        return (0,)


class _Context:
    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 77
        views = [np.ctypeslib.as_array((ctypes.c_float * 4).from_address(self.addresses[name])) for name in "xy"]
        views[1][:] = 2 * views[0]
        return True


class _Plan:
    num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return "xy"[index]

    def get_tensor_shape(self, _: str) -> tuple[int, ...]:
        return SHAPE

    def get_tensor_dtype(self, _: str) -> str:
        return "DataType.FLOAT"

    def get_tensor_mode(self, name: str) -> str:
        return {"x": "in", "y": "out"}[name]

    def create_execution_context(self) -> _Context:
        return _Context()


class _Logger:
    Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0, WARNING=2)

    def __init__(self) -> None:
        """As the vendor's."""


def _vendor(log: list[str], *, plan: bytes | None = b"plan", parses: bool = True) -> SimpleNamespace:
    config = SimpleNamespace(
        set_memory_pool_limit=lambda _, size: log.append(f"workspace {size}"),
        set_flag=lambda flag: log.append(f"set {flag}"),
        clear_flag=lambda flag: log.append(f"clear {flag}"),
        create_timing_cache=lambda known: f"timing {known!r}",
        set_timing_cache=lambda cache, ignore_mismatch: log.append(f"{cache} {ignore_mismatch}"),
        get_timing_cache=lambda: SimpleNamespace(serialize=lambda: b"timing"),
    )

    def build(_network: Any, _config: Any) -> bytes | None:
        log.append("build")
        return plan

    builder = SimpleNamespace(
        create_network=lambda flags: SimpleNamespace(flags=flags, num_layers=0),
        create_builder_config=lambda: config,
        build_serialized_network=build,
    )
    parser = SimpleNamespace(
        parse_from_file=lambda _: parses,
        num_errors=1,
        get_error=lambda _: SimpleNamespace(desc=lambda: "\nno op Foo\n"),
    )
    return SimpleNamespace(
        __version__="8.5.2.2",
        ILogger=_Logger,
        Builder=lambda _: builder,
        OnnxParser=lambda _network, _log: parser,
        Runtime=lambda _: SimpleNamespace(deserialize_cuda_engine=lambda plan: _Plan() if plan == b"plan" else None),
        BuilderFlag=SimpleNamespace(FP16="fp16", INT8="int8", TF32="tf32"),
        DataType=SimpleNamespace(HALF="half"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        NetworkDefinitionCreationFlag=SimpleNamespace(EXPLICIT_BATCH=0),
        TensorIOMode=SimpleNamespace(INPUT="in"),
    )


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"graph")
    return path


def _install(monkeypatch: pytest.MonkeyPatch, vendor: SimpleNamespace, cuda: _Cuda) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", vendor)
    bindings = SimpleNamespace(runtime=cuda)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=bindings))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)


def test_a_program_copies_in_runs_and_copies_out_and_frees_all(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = _Cuda()
    _install(monkeypatch, _vendor([]), cuda)
    program = open_engine("tensorrt").load(graph)
    assert program.device == "GPU:0 Orin"
    np.testing.assert_array_equal(program.inputs["x"], np.zeros(SHAPE))
    given = np.arange(4, dtype="f4").reshape(SHAPE)
    np.testing.assert_array_equal(program({"x": given})["y"], 2 * given)
    assert len(cuda.held) == 4
    program.close()
    program.close()
    assert cuda.held == {}


def test_a_plan_is_built_once_a_precision_and_then_read(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    _install(monkeypatch, _vendor(log), _Cuda(free=1 << 30))
    for precision in ("int8", "int8", "fp32"):
        open_engine("tensorrt").load(graph, precision)
    size = f"workspace {1 << 29}"
    assert log == [
        size,
        "set int8",
        "set fp16",
        "timing b'' False",
        "build",
        size,
        "clear tf32",
        "timing b'timing' False",
        "build",
    ]


@pytest.mark.parametrize(
    ("vendor", "cuda", "said"),
    [
        ({"parses": False}, _Cuda(), r"cannot read graph\.onnx: no op Foo"),
        ({"plan": None}, _Cuda(), r"cannot build graph\.onnx at fp32"),
        ({"plan": b"other"}, _Cuda(), r"cannot load the plan of graph\.onnx"),
        ({}, _Cuda(free=1 << 20), "needs 256 MiB, 1 MiB are free"),
    ],
)
def test_what_the_vendor_refuses_is_one_line(
    graph: Path, monkeypatch: pytest.MonkeyPatch, vendor: dict[str, Any], cuda: _Cuda, said: str
) -> None:
    _install(monkeypatch, _vendor([], **vendor), cuda)
    with pytest.raises(EngineUnavailableError, match=said) as caught:
        open_engine("tensorrt").load(graph)
    assert "\n" not in str(caught.value)


def test_fp16_needs_a_half_graph_where_there_is_no_flag(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = _vendor([])
    vendor.BuilderFlag = SimpleNamespace()
    _install(monkeypatch, vendor, _Cuda())
    with pytest.raises(EngineUnavailableError, match="takes fp16 from the graph alone"):
        open_engine("tensorrt").load(graph, "fp16")


def test_a_tensorrt_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = _vendor([])
    vendor.__version__ = "8.4.1"
    _install(monkeypatch, vendor, _Cuda())
    with pytest.raises(EngineUnavailableError, match=r"8\.4\.1 is too old"):
        open_engine("tensorrt")
