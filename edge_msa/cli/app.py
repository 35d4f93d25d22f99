"""Every command of `edge-msa`; bodies import what they need, so that --help answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    name="edge-msa",
    help="Multimodal sentiment models for edge devices: train, distil, calibrate, export, run, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Look at feature files and convert them.", no_args_is_help=True)
app.add_typer(data_app, name="data")
import_app = typer.Typer(help="Make runs of checkpoints that others trained.", no_args_is_help=True)
app.add_typer(import_app, name="import")

Data = Annotated[str, typer.Option("--data", help="A feature file, or `synthetic` for the embedded default.")]
OwnData = Annotated[str | None, typer.Option("--data", help="A feature file; else what the run was made from.")]
Output = Annotated[Path, typer.Option("--output-dir", help="The folder to make, once it is whole.")]
TaskName = Annotated[str | None, typer.Option("--task", help="mosi, sims, emotions, regression; else the file's.")]
Recipe = Annotated[Path | None, typer.Option("--recipe", help="A TOML file of settings.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of each stage; else the recipe's.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Every random choice follows from it.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="End stdout with one line of compact JSON.")]
SplitOption = Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Which split to measure on.")]
Method = Literal["minmax", "percentile", "entropy", "mse"]
PrecisionName = Literal["auto", "fp32", "fp16", "int8"]


@data_app.command("inspect")
def data_inspect(
    file: Annotated[str, typer.Argument(help="A feature file, or `synthetic`.")],
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Show splits, shapes, lengths, missing share, labels, and what was not finite."""
    from edge_msa.flow.data import inspect

    inspect(file, task, json=json)


@data_app.command("convert")
def data_convert(
    file: Annotated[str, typer.Argument(help="A feature file, or `synthetic`.")],
    output: Annotated[Path, typer.Argument(help="The archive to write, ending in .npz.")],
    task: TaskName = None,
) -> None:
    """Write a feature file as this project's own .npz archive."""
    from edge_msa.flow.data import convert

    convert(file, output, task)


@import_app.command("almt")
def import_almt(
    checkpoint: Annotated[Path, typer.Argument(help="A state dict of the authors' code or of MMSA, a .pth file.")],
    output_dir: Output,
    task: Annotated[str, typer.Option("--task", help="What it was trained for: mosi, sims, emotions...")] = "mosi",
) -> None:
    """Read a checkpoint of ALMT, every size off its tensors, as a teacher."""
    from edge_msa.flow.import_almt import import_checkpoint

    import_checkpoint(checkpoint, output_dir, task=task)


@app.command()
def train(
    output_dir: Output,
    data: Data = "synthetic",
    model: Annotated[Literal["hrlf", "almt"], typer.Option("--model", help="Which teacher.")] = "hrlf",
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    task: TaskName = None,
) -> None:
    """Train a teacher: HRLF on complete data, then robust under missing modalities and frames; or ALMT."""
    from edge_msa.flow.train import train_teacher

    train_teacher(data, output_dir, model=model, recipe=recipe, epochs=epochs, seed=seed, device=device, task=task)


@app.command()
def distill(
    output_dir: Output,
    teacher: Annotated[Path, typer.Option("--teacher", help="The run of edge-msa train.")],
    data: OwnData = None,
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    task: TaskName = None,
) -> None:
    """Distil a teacher into the student that devices run."""
    from edge_msa.flow.distill import distill_student

    distill_student(data, teacher, output_dir, recipe=recipe, epochs=epochs, seed=seed, device=device, task=task)


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
    task: TaskName = None,
) -> None:
    """Write the bundle that a device runs, checked, measured and gated."""
    from edge_msa.flow.export import export_model

    export_model(target, output_dir, model=model, data=data, precision=precision, max_drop=max_drop, task=task)


@app.command()
def devices(
    json: Json = False,
) -> None:
    """List the devices that export knows."""
    from edge_msa.flow.devices import list_devices

    list_devices(json=json)


@app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    data: OwnData = None,
    split: SplitOption = "test",
    engine: Annotated[str, typer.Option("--engine", help="For a bundle: which engine.")] = "auto",
    precision: Annotated[str | None, typer.Option("--precision", help="For a bundle: which precision.")] = None,
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
        predictions=predictions,
        output=output,
        task=task,
        json=json,
    )


@app.command()
def bench(
    paths: Annotated[
        list[str], typer.Argument(help="Bundles; or `synthetic`: long windows; or `almt`: its exact saving.")
    ],
    engine: Annotated[str, typer.Option("--engine", help="Which engine; auto is the target's first.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, max=256)] = 1,
    num_runs: Annotated[int, typer.Option("--num-runs", min=1, help="Timed calls a subset.")] = 200,
    output: Annotated[Path | None, typer.Option("--output", help="Keep the measurement, for edge-msa report.")] = None,
    json: Json = False,
) -> None:
    """Measure latency (p50, p90, p99), size, load time and memory on this machine."""
    from edge_msa.flow.bench import bench_paths

    bench_paths(paths, engine=engine, threads=threads, num_runs=num_runs, output=output, json=json)


@app.command()
def report(
    paths: Annotated[list[Path], typer.Argument(help="Pipeline folders, or measurements kept by evaluate and bench.")],
    output: Annotated[Path, typer.Option("--output", help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one offline page: trade-offs, Pareto front, robustness by subset."""
    from edge_msa.flow.report import write_report

    write_report(paths, output)


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
