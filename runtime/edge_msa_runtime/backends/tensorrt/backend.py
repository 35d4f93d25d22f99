"""TensorRT 8.5 and later on an NVIDIA GPU. Plans are built on the device and cached outside the bundle.

Only the name-based I/O API is used, which 8.5 to 11 have in common. All shapes are static.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from edge_msa_runtime.backends.base import Backend, BackendOptions, CreateProgram, Program
from edge_msa_runtime.backends.cache import cache_folder, graph_digest
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.backends.tensorrt.plan_builder import build_candidate
from edge_msa_runtime.backends.tensorrt.plan_cache import CacheLookup, Plan, PlanKey, load_plan, store_plan
from edge_msa_runtime.backends.tensorrt.program import TensorRTProgram
from edge_msa_runtime.backends.tensorrt.vendor import check_target, create_logger, import_tensorrt, parse_device
from edge_msa_runtime.errors import BackendUnavailableError, BundleError
from edge_msa_runtime.timing import time_interleaved

_REPEATS, _WARMUP = 200, 50
_LOGGER = logging.getLogger(__name__)


class TensorRTBackend(Backend):
    """Runs ONNX graphs, including Q/DQ graphs, as plans that it builds once per device."""

    name = "tensorrt"

    def __init__(self, options: BackendOptions) -> None:
        self.options = options
        self._tensorrt: Any = import_tensorrt()
        self.version = str(self._tensorrt.__version__)
        index = parse_device(options.device)
        # Before any other TensorRT call: without a driver, creating a TensorRT 8.6 Runtime crashes the process.
        self._cuda = Cuda(index)
        self.device = f"GPU:{index} {self._cuda.name}"
        self._logger = create_logger(self._tensorrt)
        self._runtime = self._tensorrt.Runtime(self._logger)

    def check_target(self, profile: Mapping[str, Any]) -> None:
        """Check that the bundle is for the installed major version of TensorRT and not for a later minor version."""
        check_target(profile, self.version)

    def compile(self, path: Path, precision: str = "fp32") -> CreateProgram:
        """Load a graph's plan from the cache. If there is none, log a warning and build one, which can take minutes.

        The programs share the plan's weights. Each has its own execution context, buffers and CUDA stream.
        """
        key = self._key(path, precision)
        lookup = load_plan(cache_folder(), key)
        plan = lookup.plan
        if plan is None:
            advice = "this takes minutes, once per device; edge-msa-run build does it ahead of time"
            _LOGGER.warning("%s", f"{self._build_message(path, precision, lookup)}; {advice}")
            plan = self._build(path, key)
        return self._deserialize(path, plan)

    def load_cached_plan(self, path: Path, precision: str) -> Plan | None:
        """Return the cached plan of a graph, or None if there is no usable one."""
        return load_plan(cache_folder(), self._key(path, precision)).plan

    def build(self, path: Path, precision: str, *, workspace_mib: int | None = None, best_of: int = 1) -> Plan:
        """Build a graph's plan even if there is a cached one, and store it in the cache.

        Args:
            path: ONNX file.
            precision: the precision that the graph was made for.
            workspace_mib: memory that a layer may use, in MiB. None: half of the free memory, at most 1024 MiB.
            best_of: number of plans to build. The one with the lowest median latency on random inputs is stored. With
                more than one, no timing cache is used: it would make all candidates select the same tactics.

        Raises:
            BackendUnavailableError: there is too little memory, TensorRT rejected the graph, or the build process was
                killed or crashed.
            BuildError: the build process failed in another way.
            CacheError: the cache cannot be written.
        """
        key = self._key(path, precision)
        _LOGGER.warning("%s", self._build_message(path, precision, load_plan(cache_folder(), key)))
        return self._build(path, key, workspace_mib=workspace_mib, best_of=best_of)

    def _build(self, path: Path, key: PlanKey, *, workspace_mib: int | None = None, best_of: int = 1) -> Plan:
        folder, single = cache_folder(), best_of == 1
        candidates = [
            build_candidate(self._cuda, key, path, folder, workspace_mib=workspace_mib, use_timing_cache=single)
            for _ in range(best_of)
        ]
        p50_ms = () if single else self._measure(path, candidates)
        fastest = candidates[int(np.argmin(p50_ms)) if p50_ms else 0]
        build = dataclasses.replace(
            fastest.build,
            seconds=sum(candidate.build.seconds for candidate in candidates),
            best_of=best_of,
            workspace_mib=workspace_mib,
            p50_ms=p50_ms,
        )
        plan = Plan(fastest.content, build)
        # Load the plan once before it is stored, so that the cache never holds a plan that cannot be loaded.
        self._open(path, plan).close()
        store_plan(folder, key, plan)
        return plan

    def _measure(self, path: Path, candidates: Sequence[Plan]) -> tuple[float, ...]:
        """Return the median run time of each candidate in milliseconds, interleaved and on the same random inputs."""
        programs: list[TensorRTProgram] = []
        try:
            for candidate in candidates:
                programs.append(self._open(path, candidate))
                _fill_randomly(programs[-1])
            milliseconds = time_interleaved([program.run for program in programs], _REPEATS, _WARMUP)
            return tuple(float(np.median(times)) for times in milliseconds)
        finally:
            for program in programs:
                program.close()

    def _open(self, path: Path, plan: Plan) -> TensorRTProgram:
        return self._deserialize(path, plan)()

    def _deserialize(self, path: Path, plan: Plan) -> Callable[[], TensorRTProgram]:
        self._cuda.use()
        self._logger.last_error = ""
        cuda_engine = self._runtime.deserialize_cuda_engine(plan.content)
        if cuda_engine is None:
            details = f" ({self._logger.last_error})" if self._logger.last_error else ""
            raise BackendUnavailableError(
                f"TensorRT {self.version} on {self._cuda.name} cannot load the plan of {path.name}{details}. "
                f"Delete {str(cache_folder())!r} and build again."
            )

        def create_program() -> TensorRTProgram:
            self._cuda.use()
            return TensorRTProgram(self._tensorrt, self._cuda, cuda_engine, self.device)

        return create_program

    def _key(self, path: Path, precision: str) -> PlanKey:
        if not path.is_file():
            raise BundleError(f"{path.name} does not exist. Copy the bundle again.")
        return PlanKey(graph_digest(path), precision, self.version, self._cuda.sm, self._cuda.name)

    def _build_message(self, path: Path, precision: str, lookup: CacheLookup) -> str:
        reason = f"the cached plan cannot be used ({lookup.reason}); " if lookup.reason else ""
        return f"{reason}building {path.name} at {precision} with TensorRT {self.version}"


def _fill_randomly(program: Program) -> None:
    """Fill the inputs: frames from a normal distribution (seed 0), masks and ids with ones."""
    generator = np.random.default_rng(0)
    for name, buffer in program.inputs.items():
        is_mask = name.partition(".")[0] in {"valid", "available"}
        if is_mask or buffer.dtype.kind != "f":
            buffer[...] = 1
        else:
            buffer[...] = generator.standard_normal(buffer.shape)
