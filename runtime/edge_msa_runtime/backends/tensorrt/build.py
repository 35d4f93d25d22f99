"""Has a plan built by a process of its own: a crash or a kill for want of memory there is one line here."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any, Mapping, cast

from edge_msa_runtime.backends.tensorrt.build_process import PLAN_NAME, TIMING_NAME, Order
from edge_msa_runtime.backends.tensorrt.cuda import Cuda
from edge_msa_runtime.backends.tensorrt.plan_cache import PlanKey, not_writable, work_folder
from edge_msa_runtime.errors import BackendUnavailableError, BuildError

_MEBIBYTE = 1 << 20
# Beside the workspace: the vendor's own log has some hundred MiB for the builder's kernels alone (MemUsageChange).
_LEAST_FREE = 512 * _MEBIBYTE
_MOST_WORKSPACE = 1024 * _MEBIBYTE
_FEW_MEBIBYTES = "close other programs or give a smaller --workspace"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One plan that was built, not yet kept, and what was measured with it."""

    plan: bytes
    built: Mapping[str, Any]


def build_candidate(
    cuda: Cuda, key: PlanKey, graph: Path, folder: Path, *, workspace_mib: int | None, shares_timings: bool
) -> Candidate:
    """Build one plan in a process of its own; the cache gets nothing but the timings.

    Args:
        cuda: the device to build for.
        key: what the plan is for.
        graph: the ONNX file.
        folder: the cache.
        workspace_mib: what a layer may use; None: half of what is free, 1024 at most.
        shares_timings: use and keep the timings of earlier builds, so that equal layers are measured once.

    Raises:
        BackendUnavailableError: there is too little memory, TensorRT refused, or the process was killed or crashed.
        BuildError: the process failed in another way.
        CacheError: the cache cannot be written.
    """
    workspace = _workspace(cuda, graph.name, workspace_mib)
    work = work_folder(folder)
    timing = str(folder / key.timing_name) if shares_timings else ""
    try:
        told = _run(Order(str(graph), key.precision, cuda.index, workspace, str(work), timing), folder)
        plan = (work / PLAN_NAME).read_bytes()
        if told["on"] != [key.tensorrt, key.sm, key.device] or told["sha256"] != hashlib.sha256(plan).hexdigest():
            raise BuildError(
                f"the plan of {graph.name} came back from another device or changed: built on {told['on']}, "
                f"wanted for {[key.tensorrt, key.sm, key.device]}; build it again"
            )
        if shares_timings:
            (work / TIMING_NAME).replace(timing)
    except OSError as error:
        raise not_writable(folder, error) from error
    finally:
        shutil.rmtree(str(work), ignore_errors=True)
    return Candidate(plan, {name: value for name, value in told.items() if name not in ("on", "sha256")})


def _workspace(cuda: Cuda, name: str, wanted_mib: int | None) -> int:
    """Bytes that a layer may use, after a look at what is free."""
    free = cuda.free_bytes()
    workspace = min(_MOST_WORKSPACE, free // 2) if wanted_mib is None else wanted_mib * _MEBIBYTE
    needed = _LEAST_FREE + (0 if wanted_mib is None else workspace)
    if free < needed:
        raise BackendUnavailableError(
            f"building {name} needs {needed // _MEBIBYTE} MiB, {free // _MEBIBYTE} MiB are free: {_FEW_MEBIBYTES}"
        )
    return workspace


def _run(order: Order, folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            _command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
        )
        try:
            answer = _converse(process, order)
        finally:
            # stdin stays open until here: its end tells the child that nobody waits any more.
            process.kill()
            code = process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    cast("IO[bytes]", pipe).close()
        if not answer:
            raise _ended(order, code, _last_line(said))
    told: dict[str, Any] = json.loads(answer)
    if "error" not in told:
        return told
    if "errno" in told:
        raise not_writable(folder, OSError(told["errno"], told["strerror"]))
    raise (BackendUnavailableError if told["exit_code"] == BackendUnavailableError.exit_code else BuildError)(
        told["error"]
    )


def _converse(process: subprocess.Popen[bytes], order: Order) -> str:
    """Give the order and wait for the answer, which is empty where the process ended without one."""
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    # A pipe that is broken: the process ended before it read; how, its exit code tells.
    with contextlib.suppress(BrokenPipeError):
        stdin.write(json.dumps(dataclasses.asdict(order)).encode("utf-8") + b"\n")
        stdin.flush()
    answer = stdout.readline().decode("utf-8", "replace")
    if not answer:
        process.wait()
    return answer


def _command() -> list[str]:
    """This very interpreter, looking for modules exactly where this one does."""
    if not sys.executable:
        raise BuildError("plans are built by another process of this Python, whose path sys.executable lacks")
    folders = [str(folder) for folder in sys.path]
    code = f"import sys; sys.path[:] = {folders!r}; from {Order.__module__} import main; main()"
    return [sys.executable, "-c", code]


def _ended(order: Order, code: int, last_line: str) -> BackendUnavailableError:
    """What to say of a process that ended without an answer."""
    name, workspace = Path(order.graph).name, order.workspace // _MEBIBYTE
    if code >= 0:
        how = f"ended with code {code} ({last_line}); use another --precision, or --backend onnxruntime"
    elif code == -signal.SIGKILL:
        how = f"was killed, as the system does when memory runs out (workspace {workspace} MiB): {_FEW_MEBIBYTES}"
    else:
        how = f"crashed with {signal.Signals(-code).name}; use another --precision, or --backend onnxruntime"
    return BackendUnavailableError(f"the process that builds {name} at {order.precision} {how}")


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "without a word")
