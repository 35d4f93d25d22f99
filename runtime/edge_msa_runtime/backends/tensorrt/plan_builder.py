"""Build a plan in a separate process, so that a crash or an out-of-memory kill becomes a one-line error."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, cast

from edge_msa_runtime.backends.cache import cache_write_error, create_work_folder
from edge_msa_runtime.backends.tensorrt.build_process import PLAN_NAME, TIMING_NAME, BuildRequest
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.backends.tensorrt.plan_cache import BuildInfo, Plan, PlanKey
from edge_msa_runtime.child_process import child_command
from edge_msa_runtime.errors import BackendUnavailableError, BuildError

_MEBIBYTE = 1 << 20
# In addition to the workspace: TensorRT's log reports several hundred MiB for the builder's kernels (MemUsageChange).
_MIN_FREE = 512 * _MEBIBYTE
_MAX_DEFAULT_WORKSPACE = 1024 * _MEBIBYTE
_FREE_MEMORY = "Close other programs or use a smaller --workspace."
_OTHER_BACKEND = "Use another --precision, or --backend onnxruntime."


def build_candidate(
    cuda: Cuda, key: PlanKey, graph: Path, folder: Path, *, workspace_mib: int | None, use_timing_cache: bool
) -> Plan:
    """Build one plan in a separate process. Only the timing cache is written to the cache folder.

    Args:
        cuda: device to build for.
        key: key of the plan.
        graph: ONNX file.
        folder: cache folder.
        workspace_mib: memory that a layer may use, in MiB. None: half of the free memory, at most 1024 MiB.
        use_timing_cache: load and store the timings of earlier builds, so that equal layers are measured once.

    Raises:
        BackendUnavailableError: there is too little memory, TensorRT rejected the graph, or the process was killed or
            crashed.
        BuildError: the process failed in another way.
        CacheError: the cache cannot be written.
    """
    workspace = _workspace_bytes(cuda, graph.name, workspace_mib)
    work = create_work_folder(folder)
    timing = str(folder / key.timing_cache_name) if use_timing_cache else ""
    try:
        response = _run(BuildRequest(str(graph), key.precision, cuda.index, workspace, str(work), timing), folder)
        content = (work / PLAN_NAME).read_bytes()
        expected = [key.tensorrt, key.sm, key.device]
        if response["built_on"] != expected:
            raise BuildError(
                f"The plan of {graph.name} must be built on {expected}, got {response['built_on']}. Build it again."
            )
        if response["sha256"] != hashlib.sha256(content).hexdigest():
            raise BuildError(f"The plan of {graph.name} changed after it was built. Build it again.")
        if use_timing_cache:
            (work / TIMING_NAME).replace(timing)
    except OSError as error:
        raise cache_write_error(folder, error) from error
    finally:
        shutil.rmtree(str(work), ignore_errors=True)
    return Plan(content, BuildInfo.from_json(response["build"]))


def _workspace_bytes(cuda: Cuda, name: str, requested_mib: int | None) -> int:
    """Return the memory that a layer may use, after checking that enough is free."""
    free = cuda.free_bytes()
    workspace = min(_MAX_DEFAULT_WORKSPACE, free // 2) if requested_mib is None else requested_mib * _MEBIBYTE
    needed = _MIN_FREE + (0 if requested_mib is None else workspace)
    if free < needed:
        raise BackendUnavailableError(
            f"Building {name} needs {needed // _MEBIBYTE} MiB, but {free // _MEBIBYTE} MiB are free. {_FREE_MEMORY}"
        )
    return workspace


def _run(request: BuildRequest, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            child_command(BuildRequest.__module__),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
        try:
            line = _exchange(process, request)
        finally:
            # stdin stays open until now. If the caller dies, it closes, and the build process exits.
            process.kill()
            code = process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    cast("IO[bytes]", pipe).close()
        if not line:
            raise _exit_error(request, code, _last_line(stderr))
    response: dict[str, Any] = json.loads(line)
    if "error" not in response:
        return response
    if "errno" in response:
        raise cache_write_error(folder, OSError(response["errno"], response["strerror"]))
    raise (BackendUnavailableError if response["exit_code"] == BackendUnavailableError.exit_code else BuildError)(
        response["error"]
    )


def _exchange(process: subprocess.Popen[bytes], request: BuildRequest) -> str:
    """Send the request and return the response, which is empty if the process ended without one."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    # A broken pipe means that the process ended before it received the request. Its exit code says how.
    with contextlib.suppress(BrokenPipeError):
        stdin.write(json.dumps(dataclasses.asdict(request)).encode("utf-8") + b"\n")
        stdin.flush()
    response = stdout.readline().decode("utf-8", "replace")
    if not response:
        process.wait()
    return response


def _exit_error(request: BuildRequest, code: int, last_line: str) -> BackendUnavailableError:
    """Return the error for a process that ended without a response."""
    name, workspace = Path(request.graph).name, request.workspace // _MEBIBYTE
    if code >= 0:
        problem = f"exited with code {code} ({last_line}). {_OTHER_BACKEND}"
    elif code == -signal.SIGKILL:
        problem = f"was killed, probably because memory ran out (workspace {workspace} MiB). {_FREE_MEMORY}"
    else:
        problem = f"crashed with {signal.Signals(-code).name}. {_OTHER_BACKEND}"
    return BackendUnavailableError(f"The process that builds {name} at {request.precision} {problem}")


def _last_line(stderr: IO[bytes]) -> str:
    stderr.seek(0)
    lines = [line.strip() for line in stderr.read().decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "no output")
