"""The process that builds one plan, so that side effects of the builder on its process do not affect the caller.

It receives one line of JSON on stdin (a `BuildRequest`), writes the plan and the timing cache into the request's
folder, and writes one line of JSON to stdout: the measurements, or the error. If stdin closes before that, the caller
is gone: the process removes the folder and exits.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import Any

from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.backends.tensorrt.layer_precisions import count_layers_by_precision
from edge_msa_runtime.backends.tensorrt.plan_cache import BuildInfo
from edge_msa_runtime.backends.tensorrt.vendor import (
    builder_flags,
    create_logger,
    exclude_libraries,
    import_tensorrt,
    is_strongly_typed,
    network_flags,
)
from edge_msa_runtime.errors import BackendUnavailableError, EdgeMsaError, first_line
from edge_msa_runtime.process_memory import peak_memory_bytes

PLAN_NAME, TIMING_NAME = "plan", "timing"


@dataclasses.dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Attributes:
        graph: path of the ONNX file.
        precision: `fp32`, `fp16` or `int8`.
        device: index of the GPU.
        workspace: memory that a layer may use, in bytes.
        folder: folder to write the plan into.
        timing: path of the timing cache to load and update; empty for none.
    """

    graph: str
    precision: str
    device: int
    workspace: int
    folder: str
    timing: str


def main() -> None:
    """Build the plan requested on stdin. Exit without TensorRT's clean-up, which can crash."""
    # Ctrl-C and hang-up in a terminal also reach this process. It ends when its caller kills it or closes its stdin.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # If memory runs out, the system should kill this process and not the caller.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    # Libraries may print to stdout. Redirect it to stderr, so that only the response reaches the caller's pipe.
    response_handle = os.dup(1)
    os.dup2(2, 1)
    request = BuildRequest(**json.loads(_read_stdin_line()))
    threading.Thread(target=_exit_with_caller, args=(request.folder,), daemon=True).start()
    response: dict[str, Any]
    try:
        response = build_plan(request)
    except EdgeMsaError as error:
        response = {"error": str(error), "exit_code": error.exit_code}
    except MemoryError:
        response = {"error": "Not enough memory to build the plan. Close other programs.", "exit_code": 4}
    except OSError as error:
        response = {"error": "", "exit_code": 1, "errno": error.errno, "strerror": error.strerror}
    os.write(response_handle, json.dumps(response).encode("utf-8") + b"\n")
    os._exit(0)


def build_plan(request: BuildRequest) -> dict[str, Any]:
    """Build a plan, write it into the request's folder, and return its digest, measurements and build environment.

    Raises:
        BackendUnavailableError: TensorRT cannot parse or build the graph.
    """
    tensorrt = import_tensorrt()
    # Before any other TensorRT call: without a driver, creating a TensorRT 8.6 Runtime crashes the process.
    cuda = Cuda(request.device)
    return _Build(tensorrt, cuda, request).run()


class _Build:
    """One build. Keeps the logger alive, which TensorRT's objects need as long as they exist."""

    def __init__(self, tensorrt: Any, cuda: Cuda, request: BuildRequest) -> None:
        self._tensorrt, self._cuda, self._request = tensorrt, cuda, request
        self._logger = create_logger(tensorrt)
        self._name = Path(request.graph).name

    def run(self) -> dict[str, Any]:
        tensorrt, request = self._tensorrt, self._request
        started = time.perf_counter()
        try:
            builder = tensorrt.Builder(self._logger)
        except TypeError as error:  # how the binding reports that TensorRT returned no builder
            raise self._error(
                f"cannot create a builder ({self._logger.last_warning or error})",
                "Check the driver with `nvidia-smi` or `dmesg`.",
            ) from error
        network = builder.create_network(network_flags(tensorrt))
        parser = tensorrt.OnnxParser(network, self._logger)
        if not parser.parse_from_file(request.graph):
            reason = first_line(parser.get_error(0).desc()) if parser.num_errors else self._logger.last_error
            raise self._error(f"cannot parse {self._name}: {reason}", "Use another --backend.")
        config = self._create_config(builder, network)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise self._error(
                f"cannot build {self._name} at {request.precision}",
                "Close other programs, or use another --workspace, --precision or --backend.",
            )
        content = bytes(plan)
        Path(request.folder, PLAN_NAME).write_bytes(content)
        if request.timing:
            Path(request.folder, TIMING_NAME).write_bytes(bytes(config.get_timing_cache().serialize()))
        build = BuildInfo(
            seconds=time.perf_counter() - started,
            workspace_bytes=request.workspace,
            peak_memory_bytes=peak_memory_bytes(),
            quantized=self._count_quantize_layers(network),
            layers=self._count_layers(content),
        )
        return {
            "sha256": hashlib.sha256(content).hexdigest(),
            "built_on": [str(tensorrt.__version__), self._cuda.sm, self._cuda.name],
            "build": dataclasses.asdict(build),
        }

    def _create_config(self, builder: Any, network: Any) -> Any:
        tensorrt, request = self._tensorrt, self._request
        config = builder.create_builder_config()
        config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, request.workspace)
        config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
        config.set_tactic_sources(exclude_libraries(tensorrt, int(config.get_tactic_sources())))
        quantized = self._count_quantize_layers(network) > 0
        to_set, to_clear = builder_flags(tensorrt.BuilderFlag, request.precision, quantized=quantized)
        for name in to_set:
            config.set_flag(getattr(tensorrt.BuilderFlag, name))
        for name in to_clear:
            config.clear_flag(getattr(tensorrt.BuilderFlag, name))
        if request.precision == "fp16" and is_strongly_typed(tensorrt) and not self._has_fp16_layers(network):
            raise BackendUnavailableError(
                f"TensorRT {tensorrt.__version__} takes the precision from the graph, and {self._name} is float32. "
                "Use --precision fp32."
            )
        self._set_timing_cache(config)
        return config

    def _set_timing_cache(self, config: Any) -> None:
        """Use the stored timings, or an empty timing cache if they are damaged or from another device."""
        stored = Path(self._request.timing).read_bytes() if Path(self._request.timing).is_file() else b""
        for content in (stored, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
                break
        self._logger.last_error = ""  # an error about timings must not explain a later failure

    def _has_fp16_layers(self, network: Any) -> bool:
        half = self._tensorrt.DataType.HALF
        layers = (network.get_layer(index) for index in range(network.num_layers))
        return any(layer.get_output(slot).dtype == half for layer in layers for slot in range(layer.num_outputs))

    def _count_quantize_layers(self, network: Any) -> int:
        types = [network.get_layer(index).type for index in range(network.num_layers)]
        return types.count(self._tensorrt.LayerType.QUANTIZE)

    def _count_layers(self, plan: bytes) -> dict[str, int]:
        cuda_engine = self._tensorrt.Runtime(self._logger).deserialize_cuda_engine(plan)
        if cuda_engine is None:
            raise self._error(f"cannot load the plan that it built for {self._name}", "Report it with the bundle.")
        inspector = cuda_engine.create_engine_inspector()
        return count_layers_by_precision(inspector.get_engine_information(self._tensorrt.LayerInformationFormat.JSON))

    def _error(self, problem: str, fix: str) -> BackendUnavailableError:
        logged = self._logger.last_error
        details = f" ({logged})" if logged and logged not in problem else ""
        version = self._tensorrt.__version__
        return BackendUnavailableError(f"TensorRT {version} on {self._cuda.name} {problem}{details}. {fix}")


def _read_stdin_line() -> str:
    """Read one line without buffering: a thread that waits on buffered input keeps the interpreter from exiting."""
    content = b""
    while not content.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            break
        content += more
    return content.decode("utf-8")


def _exit_with_caller(folder: str) -> None:
    """Wait until stdin closes, then remove the folder and exit."""
    while os.read(0, 1 << 16):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
