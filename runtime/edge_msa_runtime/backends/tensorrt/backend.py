"""TensorRT 8.5 and later on an NVIDIA GPU; plans are built on the device and kept outside the bundle.

Only the name-based I/O API is used, which 8.5 to 11 share; static shapes throughout.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from edge_msa_runtime.backends.base import Backend, BackendOptions, Program
from edge_msa_runtime.backends.tensorrt.build import Candidate, build_candidate
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.backends.tensorrt.plan_cache import (
    CachedPlan,
    PlanKey,
    cache_folder,
    model_digest,
    read_plan,
    write_plan,
)
from edge_msa_runtime.backends.tensorrt.program import TensorRTProgram
from edge_msa_runtime.backends.tensorrt.vendor import check_target, device_index, import_tensorrt, make_log
from edge_msa_runtime.benchmark.interleaved import time_interleaved
from edge_msa_runtime.errors import BackendUnavailableError, BundleError

_REPEATS, _WARMUP = 200, 50
_LOG = logging.getLogger(__name__)


class TensorRTBackend(Backend):
    """Runs ONNX graphs, Q/DQ ones included, as plans that it builds once a device."""

    name = "tensorrt"

    def __init__(self, options: BackendOptions) -> None:
        self._vendor: Any = import_tensorrt()
        self.version = str(self._vendor.__version__)
        index = device_index(options.device)
        # Before any other call of the vendor: without a driver, TensorRT 8.6 ends the process on a Runtime.
        self._cuda = Cuda(index)
        self.device = f"GPU:{index} {self._cuda.name}"
        self._log = make_log(self._vendor)
        self._runtime = self._vendor.Runtime(self._log)

    def check_target(self, profile: Mapping[str, Any]) -> None:
        """Refuse a bundle for another major version of TensorRT, or for a later one than is here."""
        check_target(profile, self.version)

    def load(self, path: Path, precision: str = "fp32") -> Program:
        """Load a graph from the cache, or build it there first, which can take minutes and is told by a warning."""
        key = self._key(path, precision)
        kept = read_plan(cache_folder(), key)
        if kept.plan is None:
            advice = "it takes minutes, once a device; edge-msa-run build does it ahead of time"
            _LOG.warning("%s", self._announcement(path, precision, kept) + f": {advice}")
            kept = self._build(path, key)
        return self._open(path, kept.plan or b"")

    def kept(self, path: Path, precision: str) -> CachedPlan:
        """What the cache has for a graph."""
        return read_plan(cache_folder(), self._key(path, precision))

    def build(self, path: Path, precision: str, *, workspace_mib: int | None = None, best_of: int = 1) -> CachedPlan:
        """Build a graph's plan anew and keep it.

        Args:
            path: the ONNX file.
            precision: what it was made for.
            workspace_mib: what a layer may use; None: half of what is free, 1024 at most.
            best_of: how many plans to build; the one with the least p50 on random inputs is kept. From two on, none
                uses the timings of an earlier build, as all of them would choose the same tactics.

        Raises:
            BackendUnavailableError: there is too little memory, or TensorRT refused, was killed or crashed.
            CacheError: the cache cannot be written.
        """
        key = self._key(path, precision)
        _LOG.warning("%s", self._announcement(path, precision, read_plan(cache_folder(), key)))
        return self._build(path, key, workspace_mib=workspace_mib, best_of=best_of)

    def _build(self, path: Path, key: PlanKey, *, workspace_mib: int | None = None, best_of: int = 1) -> CachedPlan:
        folder, alone = cache_folder(), best_of == 1
        candidates = [
            build_candidate(self._cuda, key, path, folder, workspace_mib=workspace_mib, shares_timings=alone)
            for _ in range(best_of)
        ]
        p50s = [] if alone else self._race(path, candidates)
        chosen = candidates[int(np.argmin(p50s)) if p50s else 0]
        built = {
            **chosen.built,
            "seconds": sum(candidate.built["seconds"] for candidate in candidates),
            "best_of": best_of,
            "workspace_mib": workspace_mib,
            "p50_milliseconds": p50s,
        }
        # A plan that cannot be loaded is not kept.
        self._open(path, chosen.plan).close()
        write_plan(folder, key, chosen.plan, built)
        return CachedPlan(chosen.plan, built)

    def _race(self, path: Path, candidates: Sequence[Candidate]) -> list[float]:
        """Median milliseconds of a run of each candidate, in turns on the same random inputs."""
        programs: list[TensorRTProgram] = []
        try:
            for candidate in candidates:
                programs.append(self._open(path, candidate.plan))
                _fill(programs[-1])
            spent = time_interleaved([program.run for program in programs], _REPEATS, _WARMUP)
            return [float(np.median(times)) for times in spent]
        finally:
            for program in programs:
                program.close()

    def _open(self, path: Path, plan: bytes) -> TensorRTProgram:
        self._cuda.use()
        self._log.last = ""
        backend = self._runtime.deserialize_cuda_engine(plan)
        if backend is None:
            said = f" ({self._log.last})" if self._log.last else ""
            raise BackendUnavailableError(
                f"tensorrt {self.version} on {self._cuda.name} cannot load the plan of {path.name}{said}; "
                f"delete {str(cache_folder())!r} and build again"
            )
        return TensorRTProgram(self._vendor, self._cuda, backend, self.device)

    def _key(self, path: Path, precision: str) -> PlanKey:
        if not path.is_file():
            raise BundleError(f"{path.name} is not there; copy the bundle again")
        return PlanKey(model_digest(path), precision, self.version, self._cuda.sm, self._cuda.name)

    def _announcement(self, path: Path, precision: str, kept: CachedPlan) -> str:
        why = f"the plan in the cache is not loaded, {kept.reason}: " if kept.reason else ""
        return f"{why}building {path.name} at {precision} with tensorrt {self.version}"


def _fill(program: Program) -> None:
    """Random inputs (seed 0): frames are normal, all of them valid and available, ids are the first."""
    generator = np.random.default_rng(0)
    for name, buffer in program.inputs.items():
        masks = name.partition(".")[0] in {"valid", "available"}
        if masks or buffer.dtype.kind != "f":
            buffer[...] = 1
        else:
            buffer[...] = generator.standard_normal(buffer.shape)
