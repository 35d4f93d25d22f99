"""Every command of `edge-msa`; bodies import what they need, so that --help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.data import data_app, import_app
from edge_msa.cli.language import language_app
from edge_msa.cli.looking import looking_app
from edge_msa.cli.options import (
    Compile,
    Data,
    Device,
    Dla,
    Epochs,
    Json,
    Language,
    Method,
    Output,
    OwnData,
    PrecisionName,
    Recipe,
    Seed,
    SplitOption,
    TaskName,
    TensorBoard,
    TrainingPrecision,
)
from edge_msa.cli.students import students_app
from edge_msa.cli.tuning import tuning_app

app = typer.Typer(
    name="edge-msa",
    help="Multimodal sentiment models for edge devices: train, distil, calibrate, export, run, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")
app.add_typer(import_app, name="import")
app.add_typer(language_app, name="language")


@app.command()
def train(
    output_dir: Output,
    data: Data = "synthetic",
    model: Annotated[Literal["hrlf", "almt"], typer.Option("--model", help="Which teacher.")] = "hrlf",
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    tensorboard: TensorBoard = None,
    task: TaskName = None,
    language: Language = None,
) -> None:
    """Train a teacher: HRLF on complete data, then robust under missing modalities and frames; or ALMT.

    Under torchrun or fabric run the same command trains on all processes that they start.
    """
    from edge_msa.flow.train import train_teacher
    from edge_msa.training.engine import Hardware

    hardware = Hardware(device, precision, compiled, tensorboard)
    train_teacher(
        data,
        output_dir,
        model=model,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        hardware=hardware,
        task=task,
        language=language,
    )


@app.command()
def reproduce(
    model: Annotated[Literal["hrlf", "almt"], typer.Argument(help="Whose paper.")],
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs, reproduce.json and pictures go.")],
    data: Data = "synthetic",
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=100, help="How many trainings, seeds 0, 1, ...")] = 5,
    paper: Annotated[
        Literal["mosi", "mosei", "iemocap", "sims", "none"] | None,
        typer.Option("--paper", help="Whose printed table to show; else the corpus that task and split sizes tell."),
    ] = None,
    ablations: Annotated[bool, typer.Option("--ablations", help="Also train the paper's ablations.")] = False,
    noise: Annotated[bool, typer.Option("--noise", help="Also show robustness to noisy streams.")] = False,
    recipe: Recipe = None,
    epochs: Epochs = None,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Train several seeds and set the paper's table beside ours; goes on where it stopped."""
    from edge_msa.flow.reproduce import reproduce as reproduce_paper
    from edge_msa.training.engine import Hardware

    reproduce_paper(
        model,
        data,
        output_dir,
        seeds=seeds,
        paper=paper,
        ablations=ablations,
        noise=noise,
        recipe=recipe,
        epochs=epochs,
        hardware=Hardware(device, precision, compiled),
        task=task,
        json=json,
    )


app.add_typer(students_app)


@app.command()
def calibrate(
    output_dir: Output,
    model: Annotated[Path, typer.Option("--model", help="The run of edge-msa distill.")],
    data: OwnData = None,
    method: Annotated[Method, typer.Option("--method", help="How ranges follow from the statistics.")] = "mse",
    num_samples: Annotated[int, typer.Option("--num-samples", min=1, help="Training samples to look at.")] = 512,
    task: TaskName = None,
) -> None:
    """Gather the statistics that INT8 needs, and choose its ranges."""
    from edge_msa.flow.calibrate import calibrate_student

    calibrate_student(data, model, output_dir, method=method, num_samples=num_samples, task=task)


app.add_typer(tuning_app)


@app.command()
def export(
    target: Annotated[str, typer.Option("--target", help="A device, a family or a TOML file: see edge-msa devices.")],
    output_dir: Annotated[Path | None, typer.Option("--output-dir", help="The bundle; else bundle-TARGET.")] = None,
    model: Annotated[Path | None, typer.Option("--model", help="A run; else the embedded default is made.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="For the gate; else the run's own.")] = None,
    precision: Annotated[PrecisionName, typer.Option("--precision", help="auto measures and chooses.")] = "auto",
    max_drop: Annotated[
        float, typer.Option("--max-drop", min=0, help="Points that a precision may lose on its worst subset.")
    ] = 1.0,
    ir: Annotated[bool, typer.Option("--ir", help="OpenVINO's graphs as its own IR, for other programs.")] = False,
    dla: Dla = False,
    engine: Annotated[
        Literal["torch-tensorrt"] | None,
        typer.Option("--engine", help="In a bundle's place: exported programs of torch, for torch-tensorrt."),
    ] = None,
    task: TaskName = None,
) -> None:
    """Write the bundle that a device runs, checked, measured and gated."""
    if engine is not None:
        from edge_msa.flow.programs import export_programs

        given = {"--ir": ir, "--dla": dla, "--max-drop": max_drop != 1.0}
        unfit = [name for name, is_given in given.items() if is_given]
        export_programs(target, output_dir, model=model, data=data, precision=precision, task=task, unfit=unfit)
        return
    from edge_msa.flow.export import export_model

    export_model(
        target, output_dir, model=model, data=data, precision=precision, max_drop=max_drop, ir=ir, dla=dla, task=task
    )


app.add_typer(looking_app)


@app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    data: OwnData = None,
    split: SplitOption = "test",
    engine: Annotated[str, typer.Option("--engine", help="For a bundle: which engine.")] = "auto",
    precision: Annotated[str | None, typer.Option("--precision", help="For a bundle: which precision.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="For a bundle: a precision to compare with, reading by reading.")
    ] = None,
    predictions: Annotated[Path | None, typer.Option("--predictions", help="Write id, label, subset, score.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Keep the measurement, for edge-msa report.")] = None,
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Measure accuracy on every subset of modalities, beside the floors."""
    from edge_msa.flow.evaluate import evaluate_path

    evaluate_path(
        path,
        data,
        split,
        engine=engine,
        precision=precision,
        against=against,
        predictions=predictions,
        output=output,
        task=task,
        json=json,
    )


@app.command()
def bench(
    paths: Annotated[
        list[str],
        typer.Argument(help="Bundles; or `synthetic`, `almt`, `students`, `training`: see README."),
    ],
    engine: Annotated[str, typer.Option("--engine", help="Which engine; auto is the target's first.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, max=256)] = 1,
    num_runs: Annotated[int, typer.Option("--num-runs", min=1, help="Timed calls a subset.")] = 200,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Readings due a second; else each begins when the last one ends.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="user@device: copied there by ssh, verified, measured, removed.")
    ] = None,
    ssh_option: Annotated[
        list[str] | None, typer.Option("--ssh-option", help="Of ssh's own, as Port=2222; repeatable.")
    ] = None,
    python: Annotated[str, typer.Option("--python", help="With --host: the Python there.")] = "python3",
    keep: Annotated[bool, typer.Option("--keep", help="With --host: leave the folder there.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="With --host: use the engines that are there, install none.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", help="Keep the measurement, for edge-msa report.")] = None,
    json: Json = False,
) -> None:
    """Measure latency (p50, p90, p99), size, load time and memory, on this machine or on a device."""
    from edge_msa.flow.bench import bench_paths
    from edge_msa.flow.host_bench import remote_of

    bench_paths(
        paths,
        engine=engine,
        threads=threads,
        num_runs=num_runs,
        rate=rate,
        remote=remote_of(host, ssh_option or (), python, keep=keep, offline=offline),
        output=output,
        json=json,
    )


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="Pipeline folders, or measurements kept by evaluate and bench.")],
    output: Annotated[Path, typer.Option("--output", help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one offline page: trade-offs, Pareto front, robustness by subset."""
    from edge_msa.flow.report import write_report

    write_report(paths, output)


@app.command()
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
    from edge_msa.flow.explain import explain_run

    explain_run(run, data, output, split=split, samples=sample or (), task=task, json=json)


@app.command()
def pipeline(
    recipe: Annotated[Path | None, typer.Argument(help="A TOML file of settings.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="A feature file; else the recipe's, or synthetic.")] = None,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs, bundles and report go.")] = Path("runs"),
    task: TaskName = None,
    json: Json = False,
) -> None:
    """All of it: train, distil, calibrate, export, measure, report; goes on where it stopped."""
    from edge_msa.flow.pipeline import run_pipeline

    run_pipeline(recipe, data, output_dir, task=task, json=json)
