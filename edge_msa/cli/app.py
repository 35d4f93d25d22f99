"""Every command of `edge-msa`; bodies import what they need, so that --help answers at once."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.data import data_app, import_app
from edge_msa.cli.distill import students_app
from edge_msa.cli.measure import measuring_app
from edge_msa.cli.options import (
    Compile,
    Data,
    Device,
    Dla,
    Epochs,
    Json,
    Keep,
    Language,
    Method,
    Offline,
    Output,
    OwnData,
    PrecisionName,
    Recipe,
    RemotePython,
    Seed,
    SshOption,
    TaskName,
    TensorBoard,
    TrainingPrecision,
)
from edge_msa.cli.search import tuning_app
from edge_msa.cli.targets import looking_app
from edge_msa.cli.text import text_app

app = typer.Typer(
    name="edge-msa",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"edge-msa {metadata.version('edge-msa')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which this is.")
    ] = False,
) -> None:
    """Multimodal sentiment models for edge devices: train, distill, calibrate, export, run, report."""


app.add_typer(data_app, name="data")
app.add_typer(import_app, name="import")
app.add_typer(text_app, name="language")


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
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.train import train_teacher

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
    from edge_msa.training.context import Hardware
    from edge_msa.workflows.reproduce import reproduce as reproduce_paper

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
    from edge_msa.workflows.calibrate import calibrate_student

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
    backend: Annotated[
        Literal["torch-tensorrt"] | None,
        typer.Option("--backend", help="In a bundle's place: exported programs of torch, for torch-tensorrt."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="user@device: the target itself, by ssh; auto's precisions are timed there."),
    ] = None,
    ssh_option: SshOption = None,
    python: RemotePython = "python3",
    keep: Keep = False,
    offline: Offline = False,
    task: TaskName = None,
) -> None:
    """Write the bundle that a device runs, checked, measured and gated."""
    from edge_msa.benchmark.remote import remote_of

    remote = remote_of(host, ssh_option or (), python, keep=keep, offline=offline)
    if backend is not None:
        from edge_msa.workflows.export_programs import export_programs

        given = {"--ir": ir, "--dla": dla, "--max-drop": max_drop != 1.0, "--host": remote is not None}
        unfit = [name for name, is_given in given.items() if is_given]
        export_programs(target, output_dir, model=model, data=data, precision=precision, task=task, unfit=unfit)
        return
    from edge_msa.workflows.export import export_model

    export_model(
        target,
        output_dir,
        model=model,
        data=data,
        precision=precision,
        max_drop=max_drop,
        ir=ir,
        dla=dla,
        remote=remote,
        task=task,
    )


app.add_typer(looking_app)
app.add_typer(measuring_app)


@app.command()
def pipeline(
    recipe: Annotated[Path | None, typer.Argument(help="A TOML file of settings.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="A feature file; else the recipe's, or synthetic.")] = None,
    output_dir: Annotated[Path, typer.Option("--output-dir", help="Where runs, bundles and report go.")] = Path("runs"),
    task: TaskName = None,
    json: Json = False,
) -> None:
    """All of it: train, distill, calibrate, export, measure, report; goes on where it stopped."""
    from edge_msa.workflows.pipeline import run_pipeline

    run_pipeline(recipe, data, output_dir, task=task, json=json)
