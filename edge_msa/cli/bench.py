"""`edge-msa bench`: measure latency, size, memory and training throughput.

`bundle` is the default sub-command: `edge-msa bench BUNDLE` is short for `edge-msa bench bundle BUNDLE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.help import Command, DefaultCommandGroup
from edge_msa.cli.options import Json, Keep, NumRuns, Offline, RemotePython, SshOption, Threads
from edge_msa.cli.paths import FILE, INPUT, Output

Backend = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="Backend to measure. auto measures all that are available.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="HZ",
        help="Start predictions at this fixed rate per second.",
        show_default="start each one when the previous one ends",
    ),
]
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="USER@DEVICE",
        help="Measure on this device over ssh. The bundle is copied there, verified, measured and removed.",
        show_default="measure on this machine",
    ),
]
RecordFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE.json",
        help="File to write with the measurements, for `edge-msa report`.",
        show_default="not written",
    ),
    Output(FILE),
]


class BenchGroup(DefaultCommandGroup):
    """The group `bench`, whose default sub-command is `bundle`."""

    default_command = "bundle"


bench_app = typer.Typer(
    cls=BenchGroup,
    help="Measure latency, size, memory and throughput.\n\n"
    "`edge-msa bench BUNDLE` is short for `edge-msa bench bundle BUNDLE`. If a bundle has the name of a sub-command, "
    "pass it as ./NAME.",
)


@bench_app.command("bundle", cls=Command)
def bench_bundle(
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE", help="Bundles to measure together."), INPUT],
    backend: Backend = "auto",
    threads: Threads = 1,
    num_runs: NumRuns = 200,
    rate: Rate = None,
    host: Host = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    output: RecordFile = None,
    json: Json = False,
) -> None:
    """Measure bundles, here or on a device over ssh.

    Measures latency (p50, p90, p99) per modality subset, size, load time and peak memory, for every backend and
    precision.
    """
    from edge_msa.benchmark.remote import remote_config
    from edge_msa.workflows.bench import bench

    bench(
        bundles,
        backend=backend,
        threads=threads,
        num_runs=num_runs,
        rate=rate,
        remote=remote_config(host, ssh_option or (), python, keep=keep, offline=offline),
        output=output,
        json=json,
    )


@bench_app.command("long-windows", cls=Command)
def bench_long_windows(
    backend: Backend = "auto",
    threads: Threads = 1,
    num_runs: NumRuns = 200,
    rate: Rate = None,
    host: Host = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    output: RecordFile = None,
    json: Json = False,
) -> None:
    """Measure a large untrained student on long windows.

    Windows have 500 frames. At this size, int8 is faster than fp32.
    """
    from edge_msa.benchmark.remote import remote_config
    from edge_msa.workflows.bench import bench_long_windows as run

    run(
        backend=backend,
        threads=threads,
        num_runs=num_runs,
        rate=rate,
        remote=remote_config(host, ssh_option or (), python, keep=keep, offline=offline),
        output=output,
        json=json,
    )


@bench_app.command("runtime", cls=Command)
def bench_runtime(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]", help="Bundle to measure.", show_default="an untrained student of size tiny at fp32"
        ),
        INPUT,
    ] = None,
    threads: Threads = 1,
    num_runs: NumRuns = 2000,
    json: Json = False,
) -> None:
    """Measure what the runtime adds to the calls of a backend.

    Compares a prediction, and a push with a prediction, with the same graphs called directly.
    """
    from edge_msa.workflows.bench import bench_runtime as run

    run(bundle, threads=threads, num_runs=num_runs, json=json)


@bench_app.command("students", cls=Command)
def bench_students(threads: Threads = 1, num_runs: NumRuns = 200, json: Json = False) -> None:
    """Measure untrained students of every size, and ALMT."""
    from edge_msa.workflows.bench import bench_students as run

    run(threads=threads, num_runs=num_runs, json=json)


@bench_app.command("almt", cls=Command)
def bench_almt(threads: Threads = 1, num_runs: NumRuns = 200, json: Json = False) -> None:
    """Measure the speedup of this implementation of ALMT.

    Compares it with the published implementation, which computes all tokens.
    """
    from edge_msa.workflows.bench import bench_almt as run

    run(threads=threads, num_runs=num_runs, json=json)


@bench_app.command("training", cls=Command)
def bench_training(json: Json = False) -> None:
    """Measure the training throughput of both teachers.

    Measures samples per second on the CPU, and on the GPU if there is one.
    """
    from edge_msa.workflows.bench import bench_training as run

    run(json=json)
