"""Run commands one after the other in this process, under an audit hook, and write their exit codes.

Arguments: a JSON file with a list of [program, argument, ...], and the file for the exit codes. The guard library of
`preload.c`, if it is loaded, writes to the same log, the file that GUARD_LOG names.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np

EVENTS = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
LOCAL = ("127.", "::1", "localhost", "0.0.0.0")  # noqa: S104 - nothing is bound


def record(line: str) -> None:
    """Append a line to the log."""
    with Path(os.environ["GUARD_LOG"]).open("a") as file:
        file.write(line + "\n")


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Record a request that would leave the machine, and refuse it."""
    if event not in EVENTS:
        return
    target = arguments[0] if event.startswith("socket.get") else arguments[-1]
    host = str(target[0] if isinstance(target, tuple) else target or "")
    is_unix = isinstance(target, (bytes, str)) and event in {"socket.connect", "socket.sendto", "socket.sendmsg"}
    if host and host != "None" and not is_unix and not host.startswith(LOCAL):
        record(f"{event} {host}")
        raise OSError(f"The guard refuses {event} to {host}.")


def shrink_benchmarks() -> None:
    """Make the benchmarks small: their code runs as usual, with fewer and smaller networks."""
    from edge_msa.benchmark import almt, random_bundles, students, throughput
    from edge_msa.models.almt import AlmtConfig
    from edge_msa.models.student import StudentConfig

    dims, lengths = {"language": 6, "audio": 5, "vision": 3}, {"language": 4, "audio": 6, "vision": 5}
    students.SIZES = ("nano",)  # type: ignore[assignment,attr-defined]
    students.DIMS, students.LENGTHS = dims, lengths
    almt.MOSI = AlmtConfig(dims, lengths)
    shapes = {name: (lengths[name], dims[name]) for name in dims}
    throughput.SHAPES = {"hrlf": shapes, "almt": shapes}
    throughput.measure_throughput = functools.partial(throughput.measure_throughput, seconds=0)
    random_bundles.FRAMES, random_bundles.CONFIG = 8, StudentConfig({"audio": 5}, width=8)


def find_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def use_server(port: int) -> None:
    """Ask a server for its pages and a prediction when it listens, then end it with Ctrl-C."""
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urlopen(address).close()
            break
        except OSError:
            time.sleep(0.1)
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"audio": np.load("audio.npy").tolist()}).encode()
    try:
        with urlopen(Request(f"{address}/predict", body, headers)) as response:  # noqa: S310 - our server
            print(response.read().decode())
    finally:
        os.kill(os.getpid(), signal.SIGINT)


def run_server(arguments: list[str]) -> int:
    """Run the server until it is ended, and return 0 if it exits as after Ctrl-C."""
    from edge_msa_runtime.cli import main

    port = int(arguments[arguments.index("--port") + 1])
    threading.Thread(target=use_server, args=(port,), daemon=True).start()
    code = main(arguments)
    return 0 if code == 128 + signal.SIGINT else code


def push(arguments: list[str]) -> int:
    """Push a bundle to a hub of this machine. The user names the hub, as huggingface.co by default."""
    from edge_msa.cli import run as run_toolkit
    from tests.hub_server import serve_hub

    with serve_hub() as hub:
        os.environ.update(HF_ENDPOINT=hub.address, HF_TOKEN=hub.token)
        return run_toolkit(arguments)


def run(program: str, arguments: list[str]) -> int:
    """Run one command and return its exit code, or -1 if it raised an error."""
    if program == "python":
        exec(arguments[0], {})  # noqa: S102 - the check that the guard sees requests
        return 0
    if arguments[:2] == ["pretrained", "push"]:
        return push(arguments)
    if program == "edge-msa":
        from edge_msa.cli import run as run_toolkit

        return run_toolkit(arguments)
    if "--port" in arguments and arguments[arguments.index("--port") + 1] != "0":
        return run_server(arguments)
    from edge_msa_runtime.cli import main

    return main(arguments)


def drive(commands: list[list[str]]) -> list[int]:
    """Run all commands and return their exit codes."""
    codes = []
    for program, *parts in commands:
        graphs = sorted(Path("bundle").rglob("*.onnx"))
        arguments = [str(graphs[0]) if part == "GRAPH" else part for part in parts]
        arguments = [str(find_port()) if part == "PORT" else part for part in arguments]
        record(f"command {program} {' '.join(arguments)}")
        print("$", program, *arguments, flush=True)
        started = time.process_time()
        try:
            if program == "edge-msa" and arguments[0] == "bench":
                shrink_benchmarks()
            codes.append(run(program, arguments))
        except Exception:  # noqa: BLE001 - reported as a failed command
            traceback.print_exc()
            codes.append(-1)
        print(f"{time.process_time() - started:.1f} s of CPU time, exit code {codes[-1]}", flush=True)
    return codes


if __name__ == "__main__":
    sys.addaudithook(audit)
    Path(sys.argv[2]).write_text(json.dumps(drive(json.loads(Path(sys.argv[1]).read_text()))))
