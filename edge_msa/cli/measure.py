"""`edge-msa evaluate`, `bench`, `report` and `explain`: what models are baseline check and cost, as figures and as pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.options import Json, Keep, Offline, OwnData, RemotePython, SplitOption, SshOption, TaskName

measuring_app = typer.Typer()


@measuring_app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    data: OwnData = None,
    split: SplitOption = "test",
    backend: Annotated[str, typer.Option("--backend", help="For a bundle: which backend.")] = "auto",
    precision: Annotated[str | None, typer.Option("--precision", help="For a bundle: which precision.")] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="For a bundle: a precision to compare with, prediction by prediction."),
    ] = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="Write id, label, subset, score.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Keep the measurement, for edge-msa report.")] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Measure accuracy on every subset of modalities, beside the baselines."""
    from edge_msa.workflows.evaluate import evaluate_path

    evaluate_path(
        path,
        data,
        split,
        backend=backend,
        precision=precision,
        against=against,
        predictions=predictions,
        output=output,
        task=task,
        json=json,
    )


@measuring_app.command()
def bench(
    paths: Annotated[
        list[str],
        typer.Argument(help="Bundles; or `synthetic`, `almt`, `students`, `training`: see README."),
    ],
    backend: Annotated[str, typer.Option("--backend", help="Which backend; auto is the target's first.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, max=256)] = 1,
    num_runs: Annotated[int, typer.Option("--num-runs", min=1, help="Timed calls a subset.")] = 200,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Predictions due a second; else each begins when the last one ends.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="user@device: copied there by ssh, verified, measured, removed.")
    ] = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    output: Annotated[Path | None, typer.Option("--output", help="Keep the measurement, for edge-msa report.")] = None,
    json: Json = False,
) -> None:
    """Measure latency (p50, p90, p99), size, load time and memory, on this machine or on a device."""
    from edge_msa.benchmark.remote import remote_of
    from edge_msa.workflows.bench import bench_paths

    bench_paths(
        paths,
        backend=backend,
        threads=threads,
        num_runs=num_runs,
        rate=rate,
        remote=remote_of(host, ssh_option or (), python, keep=keep, offline=offline),
        output=output,
        json=json,
    )


@measuring_app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="Pipeline folders, or measurements kept by evaluate and bench.")],
    output: Annotated[Path, typer.Option("--output", help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one offline page: trade-offs, Pareto text encoder, robustness by subset."""
    from edge_msa.workflows.report import write_report

    write_report(paths, output)


@measuring_app.command()
def explain(
    run: Annotated[Path, typer.Argument(help="The run of edge-msa train, distill, calibrate or import.")],
    data: OwnData = None,
    output: Annotated[Path, typer.Option("--output", help="The page to write.")] = Path("explain.html"),
    split: Annotated[
        Literal["train", "valid", "test"],
        typer.Option("--split", help="Which split; looking at test is choosing on test."),
    ] = "valid",
    sample: Annotated[
        list[str] | None, typer.Option("--sample", help="An id to show, repeatable; else some along the labels.")
    ] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Write one offline page: what removing modalities does, where attention goes, t-SNE of representations."""
    from edge_msa.workflows.explain import explain_run

    explain_run(run, data, output, split=split, samples=sample or (), task=task, json=json)
