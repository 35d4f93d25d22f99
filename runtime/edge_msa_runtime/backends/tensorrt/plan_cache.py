"""Where plans that TensorRT built on this device are kept: outside the bundle, each beside the key it was built for.

A plan runs on the architecture and the TensorRT version that built it, and on no other; the vendor's own errors do
not say so. Hence the key is compared before the vendor sees the plan, and a key that differs means: build again.
Nothing depends on a clock or on a file's time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Mapping

from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import WEIGHTS_NAME
from edge_msa_runtime.errors import CacheError

_VARIABLE = "EDGE_MSA_CACHE"
_STEM = 32
_SHORT = 12


@dataclasses.dataclass(frozen=True)
class PlanKey:
    """What a plan depends on: `model` by `model_digest`, `precision`, `tensorrt` version, `sm` (87), `device` name."""

    model: str
    precision: str
    tensorrt: str
    sm: str
    device: str

    @property
    def stem(self) -> str:
        """The plan's file name without its ending."""
        return _hashed(dataclasses.asdict(self))

    @property
    def timing_name(self) -> str:
        """File name of the timing cache, which every model shares on one device with one TensorRT."""
        return "timing-" + _hashed({"tensorrt": self.tensorrt, "sm": self.sm, "device": self.device}) + ".cache"

    def differences(self, here: PlanKey) -> str:
        """What this key has otherwise than another one: `tensorrt 8.6.0, here 10.3.0; ...`; empty where they agree."""
        pairs = zip(dataclasses.asdict(self).items(), dataclasses.asdict(here).values())
        return "; ".join(f"{name} {old[:_SHORT]}, here {new[:_SHORT]}" for (name, old), new in pairs if old != new)


@dataclasses.dataclass(frozen=True)
class CachedPlan:
    """What the cache holds for a key.

    `plan` is None where nothing may be loaded; `reason` then says why, and is empty where nothing lies there at all.
    `built` is what was measured as it was built.
    """

    plan: bytes | None
    built: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reason: str = ""


def model_digest(path: Path) -> str:
    """The SHA-256 of a graph and, where its weights lie beside it, of them: other weights make another plan."""
    beside = path.with_suffix(".bin") if path.suffix == ".xml" else path.with_name(WEIGHTS_NAME)
    return file_sha256(path) + (f"-{file_sha256(beside)}" if beside.is_file() else "")


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`EDGE_MSA_CACHE` where it is set, else `~/.cache/edge-msa`."""
    chosen = environment.get(_VARIABLE)
    return Path(chosen) if chosen else Path("~/.cache/edge-msa").expanduser()


def writable(folder: Path) -> Path:
    """The folder, made where it is not there.

    Raises:
        CacheError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            return folder
    except OSError as error:
        raise not_writable(folder, error) from error


def read_plan(folder: Path, key: PlanKey) -> CachedPlan:
    """The plan that was built for exactly this key and is whole, or why there is none."""
    plan, sidecar = folder / f"{key.stem}.plan", folder / f"{key.stem}.json"
    if not plan.is_file() and not sidecar.is_file():
        return CachedPlan(None)
    try:
        return _whole(plan, _sidecar(sidecar, key))
    except FileNotFoundError:
        return CachedPlan(None, reason="its build was interrupted")
    except OSError as error:
        return CachedPlan(None, reason=f"it cannot be read ({error.strerror})")
    except ValueError as error:
        return CachedPlan(None, reason=str(error))


def write_plan(folder: Path, key: PlanKey, plan: bytes, built: Mapping[str, Any]) -> None:
    """Keep a plan with what was measured; a reader meets either all of it or nothing.

    Raises:
        CacheError: the cache cannot be written.
    """
    digested = hashlib.sha256(plan).hexdigest()
    told = {"key": dataclasses.asdict(key), "bytes": len(plan), "sha256": digested, "built": dict(built)}
    write_whole(folder / f"{key.stem}.plan", plan)
    write_whole(folder / f"{key.stem}.json", json.dumps(told, indent=1).encode("utf-8"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file by renaming a finished one into place.

    Raises:
        CacheError: it cannot be written.
    """
    try:
        write_file(path, content)
    except OSError as error:
        raise not_writable(path.parent, error) from error


def work_folder(folder: Path) -> Path:
    """A new empty folder inside the cache for one build, whose name no reader attention maps for.

    Raises:
        CacheError: the cache cannot be written, which is found here, before minutes of building.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".build-", dir=str(folder)))
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: Path, error: OSError) -> CacheError:
    """What to say where the cache cannot be written: read-only, full, or no folder."""
    return CacheError(
        f"the backend cache {str(folder)!r} cannot be written ({error.strerror}); "
        f"free some space or set {_VARIABLE} to a folder that can be written"
    )


def _sidecar(path: Path, key: PlanKey) -> Mapping[str, Any]:
    """What is told of a plan; a ValueError says why it is not the one that is wanted."""
    try:
        told: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        differences = PlanKey(**told["key"]).differences(key)
        complete = (int(told["bytes"]), str(told["sha256"]), dict(told["built"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("its sidecar cannot be read") from None
    if differences:
        raise ValueError(f"it was built for {differences}")
    return dict(zip(("bytes", "sha256", "built"), complete))


def _whole(path: Path, told: Mapping[str, Any]) -> CachedPlan:
    content = path.read_bytes()
    if len(content) != told["bytes"]:
        raise ValueError(f"it has {len(content)} bytes, {told['bytes']} were built")
    if hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise ValueError("it has changed since it was built")
    return CachedPlan(content, told["built"])


def _hashed(fields: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("utf-8")).hexdigest()[:_STEM]
