"""Cached TensorRT plans, stored outside the bundle, each next to the key that it was built for.

A plan runs only with the GPU architecture and TensorRT version that built it, and TensorRT's error messages do not
explain a mismatch. Therefore keys are compared before a plan is loaded. If they differ, the plan is built again. Clocks
and file times have no effect.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Mapping

from edge_msa_runtime.backends.cache import write_cache_file

_STEM_LENGTH = 32
_SHORT = 12


@dataclasses.dataclass(frozen=True)
class PlanKey:
    """Everything that a plan depends on.

    Attributes:
        model: result of `graph_digest`.
        precision: `fp32`, `fp16` or `int8`.
        tensorrt: version of TensorRT.
        sm: compute capability without its dot, such as `87`.
        device: name of the GPU.
    """

    model: str
    precision: str
    tensorrt: str
    sm: str
    device: str

    @property
    def stem(self) -> str:
        """File name of the plan without its suffix."""
        return _short_hash(dataclasses.asdict(self))

    @property
    def timing_cache_name(self) -> str:
        """File name of the timing cache. All models share it on one device with one TensorRT version."""
        return "timing-" + _short_hash({"tensorrt": self.tensorrt, "sm": self.sm, "device": self.device}) + ".cache"

    def differences(self, current: PlanKey) -> str:
        """Describe the fields that differ from another key, such as `tensorrt 8.6.0, now 10.3.0`; empty if equal."""
        pairs = zip(dataclasses.asdict(self).items(), dataclasses.asdict(current).values())
        return "; ".join(f"{name} {old[:_SHORT]}, now {new[:_SHORT]}" for (name, old), new in pairs if old != new)


@dataclasses.dataclass(frozen=True)
class BuildInfo:
    """Measurements of a build.

    Attributes:
        seconds: build time of all candidates together.
        workspace_bytes: memory that a layer could use.
        peak_memory_bytes: peak memory of the build process; None if the system does not report it.
        quantized: number of QuantizeLinear nodes in the graph.
        layers: number of layers by precision, as `count_layers_by_precision` returns them.
        best_of: number of candidates.
        workspace_mib: requested workspace; None for the default.
        p50_ms: median latency of each candidate; empty if there was only one.
    """

    seconds: float
    workspace_bytes: int
    peak_memory_bytes: int | None
    quantized: int
    layers: Mapping[str, int]
    best_of: int = 1
    workspace_mib: int | None = None
    p50_ms: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildInfo:
        """Create the object from the JSON of `dataclasses.asdict`.

        Raises:
            TypeError, ValueError, KeyError: a field is missing, unknown or has another type.
        """
        return cls(**{**value, "layers": dict(value["layers"]), "p50_ms": tuple(value.get("p50_ms", ()))})


@dataclasses.dataclass(frozen=True)
class Plan:
    """A serialized plan and the measurements of its build."""

    content: bytes
    build: BuildInfo


@dataclasses.dataclass(frozen=True)
class CacheLookup:
    """The result of looking up a key in the cache.

    Attributes:
        plan: the cached plan; None if there is no usable one.
        reason: why the cached plan cannot be used; empty if it can, or if there is none.
    """

    plan: Plan | None = None
    reason: str = ""


def load_plan(folder: Path, key: PlanKey) -> CacheLookup:
    """Load the plan that was built for exactly this key, or return the reason why it cannot be used."""
    plan, sidecar = folder / f"{key.stem}.plan", folder / f"{key.stem}.json"
    if not plan.is_file() and not sidecar.is_file():
        return CacheLookup()
    try:
        return CacheLookup(_load_checked(plan, sidecar, key))
    except FileNotFoundError:
        return CacheLookup(reason="its build was interrupted")
    except OSError as error:
        return CacheLookup(reason=f"its file cannot be opened ({error.strerror})")
    except ValueError as error:
        return CacheLookup(reason=str(error))


def store_plan(folder: Path, key: PlanKey, plan: Plan) -> None:
    """Store a plan and its build measurements. Other processes see either all of it or nothing.

    Raises:
        CacheError: the cache cannot be written.
    """
    sidecar = {
        "key": dataclasses.asdict(key),
        "bytes": len(plan.content),
        "sha256": hashlib.sha256(plan.content).hexdigest(),
        "build": dataclasses.asdict(plan.build),
    }
    write_cache_file(folder / f"{key.stem}.plan", plan.content)
    write_cache_file(folder / f"{key.stem}.json", json.dumps(sidecar, indent=1).encode("utf-8"))


def _load_checked(path: Path, sidecar: Path, key: PlanKey) -> Plan:
    """Load a plan. A ValueError says why it cannot be used."""
    try:
        fields: Mapping[str, Any] = json.loads(sidecar.read_text(encoding="utf-8"))
        differences = PlanKey(**fields["key"]).differences(key)
        size, digest, build = int(fields["bytes"]), str(fields["sha256"]), BuildInfo.from_json(fields["build"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("its sidecar file is invalid") from None
    if differences:
        raise ValueError(f"it was built for {differences}")
    content = path.read_bytes()
    if len(content) != size:
        raise ValueError(f"it has {len(content)} bytes instead of {size}")
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError("it has changed since it was built")
    return Plan(content, build)


def _short_hash(fields: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("utf-8")).hexdigest()[:_STEM_LENGTH]
