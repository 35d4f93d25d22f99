"""Where plans that TensorRT built on this device are kept: outside the bundle, each beside the key it was built for.

A plan runs on the architecture and the TensorRT version that built it, and on no other; the vendor's own errors do
not say so. Hence the key is compared before the vendor sees the plan, and a key that differs means: build again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Mapping

from edge_msa_runtime.bundle import digest
from edge_msa_runtime.errors import RuntimeFailure
from edge_msa_runtime.manifest import WEIGHTS_NAME

_VARIABLE = "EDGE_MSA_CACHE"
_STEM = 32


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


def model_digest(path: Path) -> str:
    """The SHA-256 of a graph and, where its weights lie beside it, of them: other weights make another plan."""
    beside = path.with_suffix(".bin") if path.suffix == ".xml" else path.with_name(WEIGHTS_NAME)
    return digest(path) + (f"-{digest(beside)}" if beside.is_file() else "")


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """`EDGE_MSA_CACHE` where it is set, else `~/.cache/edge-msa`."""
    chosen = environment.get(_VARIABLE)
    return Path(chosen) if chosen else Path("~/.cache/edge-msa").expanduser()


def writable(folder: Path) -> Path:
    """The folder, made where it is not there.

    Raises:
        RuntimeFailure: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=str(folder)):
            return folder
    except OSError as error:
        raise _unwritable(folder, error) from error


def read_plan(folder: Path, key: PlanKey) -> bytes | None:
    """The plan built for exactly this key, or None where there is none or it is not whole."""
    plan, sidecar = folder / f"{key.stem}.plan", folder / f"{key.stem}.json"
    try:
        told = json.loads(sidecar.read_text(encoding="utf-8"))
        if told != {"key": dataclasses.asdict(key), "sha256": digest(plan)}:
            return None
        return plan.read_bytes()
    except (OSError, ValueError):
        return None


def write_plan(folder: Path, key: PlanKey, plan: bytes) -> None:
    """Keep a plan; a reader meets either all of it or nothing.

    Raises:
        RuntimeFailure: the cache cannot be written.
    """
    told = {"key": dataclasses.asdict(key), "sha256": hashlib.sha256(plan).hexdigest()}
    write_whole(folder / f"{key.stem}.plan", plan)
    write_whole(folder / f"{key.stem}.json", json.dumps(told, indent=1).encode("utf-8"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file by renaming a finished one into place.

    Raises:
        RuntimeFailure: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", dir=str(path.parent))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise _unwritable(path.parent, error) from error


def _unwritable(folder: Path, error: OSError) -> RuntimeFailure:
    return RuntimeFailure(
        f"the engine cache {str(folder)!r} cannot be written ({error.strerror}); set {_VARIABLE} to a folder that can"
    )


def _hashed(fields: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode("utf-8")).hexdigest()[:_STEM]
