"""Run folders: the results of training and calibration commands, written atomically.

A run holds `run.json`, `weights.safetensors`, `log.jsonl` and further files that depend on its kind. `new_run` yields a
hidden folder next to the destination and renames it when everything is written, so a killed command leaves the old run
or the new one. The hidden folder has the same name in every attempt, so an interrupted training resumes from its
checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_msa.arguments import AnyPath, path_of
from edge_msa.artifacts.dry_run import is_dry_run, report_lookup
from edge_msa.artifacts.durations import record_seconds
from edge_msa.artifacts.locks import exclusive
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.requests import Request, check_may_replace
from edge_msa.console import keep_progress
from edge_msa.errors import RunError, RunUsageError
from edge_msa_runtime import __version__
from edge_msa_runtime.atomic_files import replace_folder, restore_folder, write_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME as BUNDLE_MANIFEST_NAME

SCHEMA = 6
INFO_NAME = "run.json"
WEIGHTS_NAME = "weights.safetensors"
LOG_NAME = "log.jsonl"
REPORTED_PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "openvino")
STUDENT_EPOCHS = "student_epochs"
"""Metric of a calibration: the number of epochs of its student's training."""
_CACHE_KEY_NAME = "cache_key"

RunKind = Literal["teacher", "student", "calibration"]


@dataclass(frozen=True)
class RunInfo:
    """The content of `run.json`."""

    kind: RunKind
    """What the run can be used for."""
    model: str
    """The network: `hrlf`, `almt` or `student`."""
    command: str
    """The command that made the run, and its variant."""
    cache_key: str
    """SHA-256 of everything that the result depends on, see `compute_cache_key`."""
    seed: int
    """Seed of all random draws."""
    recipe: Mapping[str, Any]
    """The command's settings."""
    config: Mapping[str, Any]
    """Arguments of the network's configuration class."""
    spec: ModelSpec
    """What the model expects of its data."""
    inputs: Mapping[str, str]
    """Digests of the data and of the runs that this run was made from, by name."""
    metrics: Mapping[str, Any]
    """Numbers that the command reports, by name. See `validation_metric` and `is_complete` for those used later."""
    git_revision: str | None = None
    """Revision of the toolkit's checkout; None if it does not run from one."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of Python, the toolkit and `REPORTED_PACKAGES`."""
    schema: int = SCHEMA
    """Version of this format."""

    @property
    def request(self) -> Request:
        """What the run was requested with."""
        return Request(self.command, self.recipe, self.seed, self.inputs, {"data": self.spec.data_source})

    @property
    def validation_metric(self) -> float:
        """The validation error of the chosen epoch of a student or text model; lower is better.

        Raises:
            RunError: The run does not have it.
        """
        try:
            return float(self.metrics["validation_metric"])
        except (KeyError, TypeError, ValueError):
            raise RunError(
                f"A {self.command} run has no validation_metric. Pass the run of a student or of a text model."
            ) from None

    @property
    def is_complete(self) -> bool:
        """Whether a sensitivity search finished within its time budget."""
        return bool(self.metrics.get("complete"))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, as stored in run.json."""
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return fields | {"spec": self.spec.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunInfo:
        """Return the info that `to_json` wrote.

        Raises:
            RunError: A field is missing, unknown or invalid, or the value has another schema.
        """
        try:
            schema = value.get("schema", SCHEMA)
            if schema != SCHEMA:
                raise RunError(f"schema must be {SCHEMA}, got {schema}")
            info = cls(**{**value, "spec": ModelSpec.from_json(value["spec"])})
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(f"invalid field: {error}") from None
        if info.kind not in get_args(RunKind):
            raise RunError(f"kind must be one of {', '.join(get_args(RunKind))}, got {info.kind!r}")
        return info


@dataclass(frozen=True, repr=False)
class Run:
    """A folder that a training or calibration command wrote: weights, recipe, metrics and what they depend on.

    A run is a path-like object, so you can pass it wherever the path of a run is expected.
    """

    path: Path
    """The run's folder."""
    info: RunInfo
    """The content of run.json."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return what the run is, e.g. `<Run teacher hrlf, validation MAE 0.712 (mean over subsets), teacher/>`."""
        name = self.info.kind if self.info.model == "student" else f"{self.info.kind} {self.info.model}"
        return ", ".join([f"<Run {name}", *_validation(self.info), f"{self.path}/>"])

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Numbers that the command reports about the run, by name: the validation metrics of a training."""
        return self.info.metrics

    @property
    def training_epochs(self) -> int | None:
        """Number of epochs of the first training stage; None if it is not known."""
        table, name = (
            (self.metrics, STUDENT_EPOCHS) if self.info.kind == "calibration" else (self.info.recipe, "epochs")
        )
        value = table.get(name)
        return value if isinstance(value, int) else None

    @property
    def log(self) -> tuple[Mapping[str, Any], ...]:
        """One row per epoch of the training, in order: stage, epoch, losses, validation metrics and seconds.

        Raises:
            RunError: The file is missing or damaged.
        """
        path = self.path / LOG_NAME
        try:
            return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise RunError(f"Cannot read {path} ({error}). Make the run again.") from None

    @property
    def spec(self) -> ModelSpec:
        """What the model expects of its data."""
        return self.info.spec

    @property
    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The tensors by name, loaded from disk on each access.

        Raises:
            RunError: The file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(self.path / WEIGHTS_NAME))
        except (OSError, SafetensorError) as error:
            raise RunError(f"Cannot read {self.path / WEIGHTS_NAME} ({error}). Make the run again.") from None

    def was_made_from(self, digest: str) -> bool:
        """Return whether the data or the run with that digest is an input of this run."""
        return digest in self.info.inputs.values()

    @property
    def digest(self) -> str:
        """SHA-256 over run.json and the weights, which later steps record as their input."""
        digests = [file_sha256(self.path / name) for name in (INFO_NAME, WEIGHTS_NAME)]
        return hashlib.sha256("".join(digests).encode()).hexdigest()


def load_run(path: AnyPath, *kinds: RunKind) -> Run:
    """Return the run in a folder.

    Args:
        path: Folder that a training or calibration command wrote.
        kinds: Kinds that are accepted: `teacher`, `student`, `calibration` (default: all).

    Raises:
        UsageError: `path` is not a path.
        RunUsageError: The folder holds no run, or a run that is not one of `kinds`.
        RunError: The run is incomplete, damaged or of another schema.

    Examples:
        >>> run = load_run("teacher")
        >>> run.info.model, run.metrics["valid_error"]
        ('hrlf', 0.712)
    """
    folder = path_of(path, "run", "a run or the path of its folder")
    info_path = folder / INFO_NAME
    if not info_path.is_file():
        raise RunUsageError(
            f"{folder} {_problem_of(folder)}. Pass a folder that edge-msa train, distill or calibrate wrote."
        )
    info = _load_info(info_path)
    if kinds and info.kind not in kinds:
        raise RunUsageError(
            f"{folder} must be a {' or '.join(kinds)} run, got a {info.kind} run. Pass a run of {_commands_of(kinds)}."
        )
    if not (folder / WEIGHTS_NAME).is_file():
        raise RunError(f"{folder} has no {WEIGHTS_NAME}. Make the run again.")
    return Run(folder, info)


def _problem_of(folder: Path) -> str:
    """Return why a path is not a run."""
    if not folder.exists():
        return "does not exist"
    if (folder / BUNDLE_MANIFEST_NAME).is_file():
        return "is a bundle, not a run"
    return "is not a run folder (it has no run.json)"


def _commands_of(kinds: Sequence[RunKind]) -> str:
    commands = {"teacher": "train", "student": "distill", "calibration": "calibrate"}
    return "edge-msa " + " or ".join(commands[kind] for kind in kinds)


def _validation(info: RunInfo) -> Iterator[str]:
    """Yield the validation error of a training for people, if the run has one."""
    for name in ("validation_metric", "valid_error"):
        value = info.metrics.get(name)
        if isinstance(value, float | int):
            # The published ALMT is trained and validated on complete samples only.
            is_mean = info.model != "almt" or info.recipe.get("robust")
            over = " (mean over subsets)" if is_mean and len(info.spec.dims) > 1 else ""
            yield f"validation {'MAE' if info.spec.task.is_score else 'error'} {value:.3f}{over}"
            return


def find_current_run(output_dir: Path, request: Request) -> Run | None:
    """Return the run in `output_dir` if this request and this code made it, so that its step can be skipped.

    Returns:
        The run, or None if there is none and the step must run.

    Raises:
        RunUsageError: `output_dir` holds something else, or a run of another request that may not be replaced.
    """
    if not is_dry_run():
        restore_folder(output_dir)
        _finish_replacement(output_dir, request.cache_key)
    check_replaceable(output_dir)
    run = _find_run(output_dir, request)
    resumes = _is_unfinished(_work_folder(output_dir), request.cache_key)
    report_lookup(output_dir, request, is_current=run is not None, resumes=resumes)
    return run


def _find_run(output_dir: Path, request: Request) -> Run | None:
    if not (output_dir / INFO_NAME).is_file():
        return None
    existing: Request | None = None
    with contextlib.suppress(RunError):
        info = _load_info(output_dir / INFO_NAME)
        existing = info.request
        if info.cache_key == request.cache_key:
            return load_run(output_dir)
    check_may_replace(output_dir, existing, request)
    return None


def _is_unfinished(work: Path, cache_key: str) -> bool:
    """Return whether a folder contains the progress of an interrupted command with this cache key."""
    marker = work / _CACHE_KEY_NAME
    return marker.is_file() and marker.read_text(encoding="utf-8") == cache_key


def _finish_replacement(output_dir: Path, cache_key: str) -> None:
    """Rename a finished run of this request whose command was killed before it could do so."""
    work = _work_folder(output_dir)
    if not (work / INFO_NAME).is_file():
        return
    with contextlib.suppress(RunError), exclusive(output_dir):
        if load_run(work).info.cache_key == cache_key:
            _publish(work, output_dir)


def _load_info(path: Path) -> RunInfo:
    try:
        return RunInfo.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RunError) as error:
        raise RunError(f"Cannot read {path} ({error}). Make the run again.") from None


@contextmanager
def new_run(output_dir: Path, cache_key: str) -> Iterator[Path]:
    """Yield a folder to write the run into. On success, the folder replaces `output_dir`.

    If the command fails or is killed, the folder stays, including checkpoints, and the next attempt with the same cache
    key continues in it. An attempt with another cache key starts with an empty folder.

    Raises:
        RunUsageError: `output_dir` holds something other than a run, which is never overwritten.
        RunError: Another command is making this run.
    """
    check_replaceable(output_dir)
    with exclusive(output_dir):
        work = _work_folder(output_dir)
        started, resumes = time.monotonic(), _is_unfinished(work, cache_key)
        if not resumes:
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir(parents=True)
            (work / _CACHE_KEY_NAME).write_text(cache_key, encoding="utf-8")
        try:
            yield work
            _publish(work, output_dir)
        except BaseException:
            if not work.is_dir() or [path.name for path in work.iterdir()] != [_CACHE_KEY_NAME]:
                keep_progress(work if work.is_dir() else output_dir)
            else:
                shutil.rmtree(work)
            raise
        keep_progress(output_dir)
        if not resumes:
            info = _load_info(output_dir / INFO_NAME)
            record_seconds(output_dir, info.command, info.recipe, time.monotonic() - started)


def _work_folder(output_dir: Path) -> Path:
    return output_dir.with_name(f".{output_dir.name}.partial")


def _publish(work: Path, output_dir: Path) -> None:
    """Remove checkpoints from a finished run and rename it. If this is killed, `_finish_replacement` completes it."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name.startswith("checkpoint"):
            path.unlink()
    replace_folder(work, output_dir)
    (output_dir / _CACHE_KEY_NAME).unlink(missing_ok=True)


def write_run(
    work: Path, info: RunInfo, weights: Mapping[str, NDArray[np.float32]], log: Sequence[Mapping[str, Any]]
) -> None:
    """Write a run's files into the folder that `new_run` yields. Add versions and the git revision.

    Raises:
        RunError: The weights cannot be written.
    """
    from safetensors.numpy import save

    versioned = dataclasses.replace(info, git_revision=_git_revision(), versions=_versions())
    contiguous = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    try:
        # `save_file` of safetensors makes files that only their owner can read, so it is not used.
        (work / WEIGHTS_NAME).write_bytes(save(contiguous))
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"Cannot write {work / WEIGHTS_NAME} ({reason}). Free some space and try again.") from None
    (work / LOG_NAME).write_text("".join(json.dumps(row) + "\n" for row in log), encoding="utf-8")
    text = json.dumps(versioned.to_json(), indent=1, default=_to_plain)
    write_file(work / INFO_NAME, (text + "\n").encode())  # last: it marks the run as finished


def check_replaceable(output_dir: Path) -> None:
    """Check that `output_dir` is missing, empty or a run.

    Raises:
        RunUsageError: It is a file, or a folder with other content.
    """
    if output_dir.is_file():
        raise RunUsageError(f"{output_dir} is a file. Pass a folder that does not exist yet.")
    if output_dir.is_dir() and any(output_dir.iterdir()) and not (output_dir / INFO_NAME).is_file():
        raise RunUsageError(
            f"{output_dir} holds files that are not a run; nothing was changed. Pass another --output-dir."
        )


def _to_plain(value: object) -> object:
    """Convert values that JSON does not know: NumPy scalars and mappings."""
    if isinstance(value, (np.floating, np.integer)):
        return value.item()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written to run.json")


def _versions() -> dict[str, str]:
    versions = {"edge-msa": __version__, "python": platform.python_version()}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _git_revision() -> str | None:
    """Return the revision of the toolkit's own checkout, not of the folder that the user works in."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None if process.returncode == 0 else None
