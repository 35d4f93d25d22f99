"""Run folders: what a command made on the workstation, whole or not at all.

A run is `run.json`, `weights.safetensors`, `log.jsonl`, and whatever else its kind holds. It is written into a hidden
folder beside its destination, fsynced, and renamed, so a killed command leaves either the old run or the new one. The
hidden folder's name does not change between attempts: training keeps its checkpoint there and goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import RunError, RunUsageError
from edge_msa_runtime import __version__

SCHEMA = 1
INFO_NAME = "run.json"
WEIGHTS_NAME = "weights.safetensors"
LOG_NAME = "log.jsonl"
CACHE_KEY_NAME = "cache_key"
REPORTED_PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "openvino")

RunKind = Literal["teacher", "student", "calibration"]


@dataclass(frozen=True)
class RunInfo:
    """What `run.json` says.

    `cache_key` is the SHA-256 of everything the result depends on (see `cache_key_of`). `inputs` maps the data and the
    earlier runs to their digests. `model` is `hrlf`, `almt` or `student`, `config` what rebuilds the network,
    `spec` what a later step must know of the data: task, dims, windows, normalization, frame rates.
    """

    kind: RunKind
    model: str
    command: str
    cache_key: str
    seed: int
    recipe: Mapping[str, Any]
    config: Mapping[str, Any]
    spec: Mapping[str, Any]
    inputs: Mapping[str, str]
    metrics: Mapping[str, Any]
    git_revision: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True)
class Run:
    """A run that was read."""

    path: Path
    info: RunInfo

    @property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The tensors by name."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(self.path / WEIGHTS_NAME))
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self.path / WEIGHTS_NAME} cannot be read ({error}): make the run again") from None

    @property
    def digest(self) -> str:
        """SHA-256 over run.json and the weights: what a later step records as its input."""
        return file_digest(self.path / INFO_NAME, self.path / WEIGHTS_NAME)


def read_run(path: Path, *kinds: RunKind) -> Run:
    """The run in that folder.

    Raises:
        RunError: there is none, it is incomplete, of another schema, or not one of `kinds`.
    """
    info_path = path / INFO_NAME
    if not info_path.is_file():
        what = "is not a run folder (it has no run.json)" if path.exists() else "does not exist"
        raise RunUsageError(f"{path} {what}: give the folder that edge-msa train, distill or calibrate wrote")
    try:
        fields = json.loads(info_path.read_text(encoding="utf-8"))
        info = RunInfo(**fields)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise RunError(f"{info_path} cannot be read ({error}): make the run again") from None
    if info.schema != SCHEMA:
        raise RunError(f"{info_path} has schema {info.schema}, this version reads {SCHEMA}: make the run again")
    if kinds and info.kind not in kinds:
        raise RunUsageError(f"{path} is a {info.kind} run, this command needs a {' or '.join(kinds)} run")
    if not (path / WEIGHTS_NAME).is_file():
        raise RunError(f"{path} lacks {WEIGHTS_NAME}: make the run again")
    return Run(path, info)


def cache_key_of(command: str, recipe: Mapping[str, Any], seed: int, inputs: Mapping[str, str]) -> str:
    """The SHA-256 that names a result before it is computed: same cache key, same result."""
    parts = {"command": command, "recipe": recipe, "seed": seed, "inputs": inputs, "version": __version__}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def current_run(output_dir: Path, cache_key: str) -> Run | None:
    """The run in `output_dir` when it already has that cache key, so that its step can be skipped."""
    old = _aside(output_dir)
    if old.exists() and not output_dir.exists():  # a kill came between the two renames of replace_folder
        old.rename(output_dir)
    try:
        run = read_run(output_dir)
    except RunError:
        return None
    return run if run.info.cache_key == cache_key else None


@contextmanager
def new_run(output_dir: Path, cache_key: str) -> Iterator[Path]:
    """A folder to make the run in; on leaving without an error it replaces `output_dir`.

    On an error or a kill the folder stays where the next attempt of the same cache key finds it, checkpoints included;
    one of another cache key is emptied first.

    Raises:
        RunUsageError: `output_dir` holds something that is not a run, which is never overwritten.
        RunError: another command is making this run.
    """
    from filelock import FileLock, Timeout

    check_replaceable(output_dir)
    output_dir.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output_dir.with_name(f".{output_dir.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError(f"another command is making {output_dir}: wait for it, or give another --output-dir") from None
    try:
        yield from _made_in(output_dir, cache_key)
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _made_in(output_dir: Path, cache_key: str) -> Iterator[Path]:
    work = output_dir.with_name(f".{output_dir.name}.partial")
    marker = work / CACHE_KEY_NAME
    if not (marker.is_file() and marker.read_text(encoding="utf-8") == cache_key):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        marker.write_text(cache_key, encoding="utf-8")
    yield work
    marker.unlink()
    for path in work.iterdir():
        if not path.is_file() or path.name.startswith("checkpoint"):
            _remove(path)
        else:
            _fsync(path)
    replace_folder(work, output_dir)


def write_run(
    work: Path, info: RunInfo, weights: Mapping[str, NDArray[np.float32]], log: Sequence[Mapping[str, Any]]
) -> None:
    """Write a run's files into the folder that `new_run` gave.

    Raises:
        RunError: the weights cannot be written.
    """
    from safetensors.numpy import save

    versioned = dataclasses.replace(info, git_revision=_git_revision(), versions=_versions())
    contiguous = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    try:
        # Not by `save_file`, which gives its files to their owner alone.
        (work / WEIGHTS_NAME).write_bytes(save(contiguous))
    except OSError as error:
        why = error.strerror or error
        raise RunError(f"{work / WEIGHTS_NAME} cannot be written ({why}): free space and run it again") from None
    (work / LOG_NAME).write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    text = json.dumps(dataclasses.asdict(versioned), indent=1, default=_plain)
    (work / INFO_NAME).write_text(text + "\n", encoding="utf-8")


def check_replaceable(output_dir: Path) -> None:
    """Refuse to replace what is neither a run nor an empty folder.

    Raises:
        RunError: the folder holds something else, or is a file.
    """
    if output_dir.is_file():
        raise RunUsageError(f"{output_dir} is a file: give a folder that does not exist yet")
    if output_dir.is_dir() and any(output_dir.iterdir()) and not (output_dir / INFO_NAME).is_file():
        raise RunUsageError(f"{output_dir} holds files that are no run: give another --output-dir, nothing was changed")


def replace_folder(work: Path, output_dir: Path) -> None:
    """Put `work` where `output_dir` is; at no moment is there a half of either, and on an error the old one is back."""
    old = _aside(output_dir)
    shutil.rmtree(old, ignore_errors=True)
    if output_dir.exists():
        output_dir.rename(old)
    try:
        work.rename(output_dir)
    except BaseException:
        if old.exists():
            old.rename(output_dir)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _aside(output_dir: Path) -> Path:
    """Where the old run is while the new one takes its place."""
    return output_dir.with_name(f".{output_dir.name}.old")


def file_digest(*paths: Path) -> str:
    """SHA-256 over the files' contents, in that order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()


def _plain(value: object) -> object:
    """JSON of the values that recipes and metrics hold beyond plain ones."""
    if isinstance(value, (np.floating, np.integer)):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written to run.json")


def _versions() -> dict[str, str]:
    found = {"edge-msa": __version__, "python": platform.python_version()}
    for name in REPORTED_PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git_revision() -> str | None:
    """The toolkit's own revision where it runs from a checkout, not that of whatever folder the user stands in."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
