"""The process that builds one plan, so that what a builder does to its process stays in it.

It reads one line of JSON from stdin (an `Order`), writes the plan and the timing cache into the order's folder, and one
line of JSON to stdout: what was measured, or what is wrong. When stdin ends before that, whoever gave the order is
gone: the folder is removed and the process ends.
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

from edge_msa_runtime.backends.base import first_line
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.backends.tensorrt.layer_precisions import layers_by_precision
from edge_msa_runtime.backends.tensorrt.vendor import (
    builder_flags,
    import_tensorrt,
    make_log,
    network_flags,
    takes_types_from_the_graph,
    without_libraries,
)
from edge_msa_runtime.benchmark.bench import peak_memory_bytes
from edge_msa_runtime.errors import BackendUnavailableError, EdgeMsaError

PLAN_NAME, TIMING_NAME = "plan", "timing"


@dataclasses.dataclass(frozen=True)
class Order:
    """What to build.

    `graph`: the ONNX file. `precision`: `fp32`, `fp16` or `int8`. `device`: the GPU's number. `workspace`: bytes a
    layer may use. `folder`: where the plan goes. `timing`: the timing cache to begin with and to write, empty for
    neither.
    """

    graph: str
    precision: str
    device: int
    workspace: int
    folder: str
    timing: str


def main() -> None:
    """Build what stdin says; ends the process without the vendor's own clean-up, which can crash."""
    # A terminal's Ctrl-C and hang-up reach this process as well; its caller ends it, or its end of stdin does.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # When memory runs out, the system is to end this process, and not whoever gave the order.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    # Libraries print where they like: only the answer goes to what was stdout.
    answer = os.dup(1)
    os.dup2(2, 1)
    order = Order(**json.loads(_first_line_of_stdin()))
    threading.Thread(target=_end_with_the_caller, args=(order.folder,), daemon=True).start()
    try:
        told = build(order)
    except EdgeMsaError as error:
        told = {"error": str(error), "exit_code": error.exit_code}
    except MemoryError:
        told = {"error": "no memory is left for building; close other programs", "exit_code": 4}
    except OSError as error:
        told = {"error": "", "exit_code": 1, "errno": error.errno, "strerror": error.strerror}
    os.write(answer, json.dumps(told).encode("utf-8") + b"\n")
    os._exit(0)


def build(order: Order) -> dict[str, Any]:
    """Build a plan and tell what was measured: seconds, layers by precision, and on what it was built.

    Raises:
        BackendUnavailableError: TensorRT cannot read or build the graph.
    """
    vendor = import_tensorrt()
    # Before any other call of the vendor: without a driver, TensorRT 8.6 ends the process on a Runtime.
    cuda = Cuda(order.device)
    return _Building(vendor, cuda, order).run()


class _Building:
    """The vendor's objects of one build, which must outlive it."""

    def __init__(self, vendor: Any, cuda: Cuda, order: Order) -> None:
        self._vendor, self._cuda, self._order = vendor, cuda, order
        self._log = make_log(vendor)
        self._name = Path(order.graph).name

    def run(self) -> dict[str, Any]:
        vendor, order = self._vendor, self._order
        started = time.perf_counter()
        try:
            builder = vendor.Builder(self._log)
        except TypeError as error:  # nullptr, in the binding's words
            raise self._refused(
                f"cannot make a builder ({self._log.warning or error})", "look at the driver with nvidia-smi or `dmesg`"
            ) from error
        network = builder.create_network(network_flags(vendor))
        parser = vendor.OnnxParser(network, self._log)
        if not parser.parse_from_file(order.graph):
            reason = first_line(parser.get_error(0).desc()) if parser.num_errors else self._log.last
            raise self._refused(f"cannot read {self._name}: {reason}", "use another --backend")
        config = self._config(builder, network)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise self._refused(
                f"cannot build {self._name} at {order.precision}",
                "close other programs, give another --workspace, or use another --precision or --backend",
            )
        content = bytes(plan)
        Path(order.folder, PLAN_NAME).write_bytes(content)
        if order.timing:
            Path(order.folder, TIMING_NAME).write_bytes(bytes(config.get_timing_cache().serialize()))
        seconds = time.perf_counter() - started
        return {
            "sha256": hashlib.sha256(content).hexdigest(),
            "on": [str(vendor.__version__), self._cuda.sm, self._cuda.name],
            "seconds": seconds,
            "workspace_bytes": order.workspace,
            "peak_memory_bytes": peak_memory_bytes(),
            "quantized": self._quantized(network),
            "layers": self._layers(content),
        }

    def _config(self, builder: Any, network: Any) -> Any:
        vendor, order = self._vendor, self._order
        config = builder.create_builder_config()
        config.set_memory_pool_limit(vendor.MemoryPoolType.WORKSPACE, order.workspace)
        config.profiling_verbosity = vendor.ProfilingVerbosity.DETAILED
        config.set_tactic_sources(without_libraries(vendor, int(config.get_tactic_sources())))
        to_set, to_clear = builder_flags(vendor.BuilderFlag, order.precision, quantized=self._quantized(network) > 0)
        for name in to_set:
            config.set_flag(getattr(vendor.BuilderFlag, name))
        for name in to_clear:
            config.clear_flag(getattr(vendor.BuilderFlag, name))
        if order.precision == "fp16" and takes_types_from_the_graph(vendor) and not self._has_half(network):
            raise BackendUnavailableError(
                f"tensorrt {vendor.__version__} takes fp16 from the graph alone, and {self._name} is float32: "
                "use --precision fp32"
            )
        self._set_timing(config)
        return config

    def _set_timing(self, config: Any) -> None:
        """Begin with the timings that are there; ones that are not whole, or another device's, are not used."""
        known = Path(self._order.timing).read_bytes() if Path(self._order.timing).is_file() else b""
        for content in (known, b""):
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
                break
        self._log.last = ""  # what it said of timings is no reason for anything that fails later

    def _has_half(self, network: Any) -> bool:
        half = self._vendor.DataType.HALF
        layers = (network.get_layer(index) for index in range(network.num_layers))
        return any(layer.get_output(slot).dtype == half for layer in layers for slot in range(layer.num_outputs))

    def _quantized(self, network: Any) -> int:
        kinds = [network.get_layer(index).type for index in range(network.num_layers)]
        return kinds.count(self._vendor.LayerType.QUANTIZE)

    def _layers(self, plan: bytes) -> dict[str, int]:
        backend = self._vendor.Runtime(self._log).deserialize_cuda_engine(plan)
        if backend is None:
            raise self._refused(f"cannot load the plan of {self._name} that it built", "report it with the bundle")
        told = backend.create_engine_inspector().get_engine_information(self._vendor.LayerInformationFormat.JSON)
        return layers_by_precision(told)

    def _refused(self, what: str, remedy: str) -> BackendUnavailableError:
        said = f" ({self._log.last})" if self._log.last and self._log.last not in what else ""
        version = self._vendor.__version__
        return BackendUnavailableError(f"tensorrt {version} on {self._cuda.name} {what}{said}; {remedy}")


def _first_line_of_stdin() -> str:
    """Read unbuffered: a thread that waits in a buffered reader stops the interpreter from ending."""
    read = b""
    while not read.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            break
        read += more
    return read.decode("utf-8")


def _end_with_the_caller(folder: str) -> None:
    while os.read(0, 1 << 16):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
