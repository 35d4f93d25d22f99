"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.paths import CONTAINER, FOLDER, INPUT, Output

Data = Annotated[
    str,
    typer.Option("--data", metavar="FILE", help="Feature file, or `synthetic` for the built-in synthetic data."),
    INPUT,
]
RunData = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="Feature file, or `synthetic` for the built-in synthetic data.",
        show_default="the data that the run was trained on",
    ),
    INPUT,
]
OutputDir = Annotated[
    Path,
    typer.Option("--output-dir", metavar="DIR", help="Folder to create. It appears only when it is complete."),
    Output(FOLDER),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help="What the labels mean: mosi, sims, emotions or regression.",
        show_default="the task that the file states",
    ),
]
ScoreTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help="What the scores mean: mosi, sims or regression.",
        show_default="the task that the last file states, or mosi if its scores fit nothing else",
    ),
]
ClipLabels = Annotated[
    bool | None,
    typer.Option(
        "--clip-labels/--no-clip-labels",
        help="Clip labels that exceed the task's scale by up to 25 %.",
        show_default="on for mosi and sims",
    ),
]
Transcripts = Annotated[
    list[str],
    typer.Option(
        "--transcripts",
        metavar="FILE",
        help="CSV or feature file with transcripts. Repeat the option for several files, the target corpus last.",
    ),
    INPUT,
]
Encoder = Annotated[
    str,
    typer.Option("--encoder", metavar="NAME", help="BERT-like encoder: a folder or a name on the Hugging Face Hub."),
    INPUT,
]
EncoderLayers = Annotated[
    int | None,
    typer.Option(
        "--layers", metavar="N", min=1, help="Number of encoder layers to keep, from the first.", show_default="all"
    ),
]
TextModel = Annotated[
    Path | None,
    typer.Option(
        "--text-model",
        metavar="RUN",
        help="Run of `edge-msa text`. Its text encoder turns the transcripts into the language features.",
        show_default="the language features of the file",
    ),
    INPUT,
]
Recipe = Annotated[
    Path | None,
    typer.Option(
        "--recipe", metavar="FILE.toml", help="TOML file with settings.", show_default="the preset for the data"
    ),
    INPUT,
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs", metavar="N", min=1, help="Number of epochs of each training stage.", show_default="the recipe's"
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Seed of every random choice.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="Device to train on: auto, cpu or cuda.")]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network with torch.compile. `edge-msa bench training` measures whether it is faster.",
    ),
]
TrainingPrecision = Annotated[
    Literal["auto", "32", "bf16"],
    typer.Option("--precision", help="Training precision. auto uses bf16 on GPUs that support it, and 32 elsewhere."),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard", metavar="DIR", help="Folder for TensorBoard event files.", show_default="no event files"
    ),
    Output(CONTAINER),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON at the end of stdout.")]
Target = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="NAME",
        help="Device, device family, or TOML file with a device profile. `edge-msa devices` lists the names.",
    ),
]
Dla = Annotated[
    bool, typer.Option("--dla", help="Check the graphs for the deep learning accelerator (DLA) of the target as well.")
]
MaxDrop = Annotated[
    float,
    typer.Option(
        "--max-drop",
        metavar="POINTS",
        min=0,
        help="Accuracy gate: largest loss, in percentage points, that a precision may have on its worst subset.",
    ),
]
Split = Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Split to measure on.")]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, max=256, help="CPU threads of one prediction.")]
NumRuns = Annotated[
    int, typer.Option("--num-runs", metavar="N", min=1, help="Timed calls of each graph or modality subset.")
]
SshOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ssh-option",
        metavar="NAME=VALUE",
        help="With --host: option for ssh, for example Port=2222. Repeat it for several options.",
        show_default="none",
    ),
]
RemotePython = Annotated[
    str, typer.Option("--python", metavar="NAME", help="With --host: Python interpreter on the device.")
]
Keep = Annotated[bool, typer.Option("--keep", help="With --host: keep the temporary folder on the device.")]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="With --host: install nothing, and use the backends that the device already has."),
]
BundleBackend = Annotated[
    str, typer.Option("--backend", metavar="NAME", help="Backend of a bundle. auto uses its first available one.")
]
BundlePrecision = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="NAME", help="Precision of a bundle.", show_default="the one that export chose"
    ),
]
BackendPrecision = Literal["auto", "fp32", "fp16", "int8"]
CalibrationMethod = Literal["minmax", "percentile", "entropy", "mse"]
