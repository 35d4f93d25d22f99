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
Compile = Annotated[bool, typer.Option("--compile", help="Through torch.compile; `bench training` says if it pays.")]
TensorBoard = Annotated[Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard's event files.")]
Json = Annotated[bool, typer.Option("--json", help="End stdout with one line of compact JSON.")]
SplitOption = Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Which split to measure on.")]
Method = Literal["minmax", "percentile", "entropy", "mse"]
PrecisionName = Literal["auto", "fp32", "fp16", "int8"]
TrainingPrecision = Annotated[
    Literal["auto", "32", "bf16"], typer.Option("--precision", help="auto is bf16 on a GPU that has it, else 32.")
]


@data_app.command("inspect")
def data_inspect(
    file: Annotated[str, typer.Argument(help="A feature file, or `synthetic`.")],
    task: TaskName = None,
    json: Json = False,
) -> None:
    """Show splits, shapes, lengths, missing share, labels, and what was not finite."""
    from edge_msa.flow.data import inspect

    inspect(file, task, json=json)


@data_app.command("encode")
def data_encode(
    file: Annotated[str, typer.Argument(help="A feature file that tells what was said.")],
    output: Annotated[Path, typer.Argument(help="The archive to write, ending in .npz.")],
    encoder: Annotated[str, typer.Option("--encoder", help="A BERT-like model: a folder, or a name on the hub.")],
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longer utterances lose their end.")] = 64,
    layers: Annotated[int | None, typer.Option("--layers", help="Its first layers to keep; else all.")] = None,
    device: Device = "auto",
    task: TaskName = None,
) -> None:
    """Replace the language stream by a frozen encoder's token features of the raw text."""
    from edge_msa.flow.encode import encode_language

    encode_language(file, output, encoder, max_tokens=max_tokens, layers=layers, device=device, task_name=task)


@data_app.command("convert")
def data_convert(
    file: Annotated[str, typer.Argument(help="A feature file, or `synthetic`.")],
    output: Annotated[Path, typer.Argument(help="The archive to write, ending in .npz.")],
    samples: Annotated[str | None, typer.Option("--samples", help="Of training, as in 0:2000; else all.")] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Training samples alone, no labels.")] = False,
    task: TaskName = None,
) -> None:
    """Write a feature file as this project's own .npz archive."""
    from edge_msa.flow.data import convert

    convert(file, output, task, samples=samples, unlabelled=unlabelled)


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
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    tensorboard: TensorBoard = None,
    task: TaskName = None,
) -> None:
    """Train a teacher: HRLF on complete data, then robust under missing modalities and frames; or ALMT.

    Under torchrun or fabric run the same command trains on all processes that they start.
    """
    from edge_msa.flow.train import train_teacher
    from edge_msa.training.engine import Hardware

    hardware = Hardware(device, precision, compiled, tensorboard)
    train_teacher(data, output_dir, model=model, recipe=recipe, epochs=epochs, seed=seed, hardware=hardware, task=task)


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
        list[str],
        typer.Argument(help="Bundles; or `synthetic`, `almt`, `students`, `training`: see README."),
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
