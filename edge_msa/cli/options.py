"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[str, typer.Option("--data", help="A feature file, or `synthetic` for the embedded default.")]
OwnData = Annotated[str | None, typer.Option("--data", help="A feature file; else what the run was made from.")]
Output = Annotated[Path, typer.Option("--output-dir", help="The folder to make, once it is whole.")]
TaskName = Annotated[str | None, typer.Option("--task", help="mosi, sims, emotions, regression; else the file's.")]
Transcripts = Annotated[
    list[str], typer.Option("--transcripts", help="A CSV or feature file with what was said; repeat it, yours last.")
]
Layers = Annotated[int | None, typer.Option("--layers", min=1, help="First layers of the encoder to keep; else all.")]
Language = Annotated[
    Path | None,
    typer.Option("--language", help="A language run: words, as its text encoder sees them, are the language."),
]
Recipe = Annotated[Path | None, typer.Option("--recipe", help="A TOML file of settings.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs of each stage; else the recipe's.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Every random choice follows from it.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Compile = Annotated[bool, typer.Option("--compile", help="Through torch.compile; `bench training` says if it pays.")]
TensorBoard = Annotated[Path | None, typer.Option("--tensorboard", help="Folder for TensorBoard's event files.")]
Json = Annotated[bool, typer.Option("--json", help="End stdout with one line of compact JSON.")]
Dla = Annotated[bool, typer.Option("--dla", help="Hold graphs against the rules of the target's DLA too.")]
SshOption = Annotated[
    list[str] | None, typer.Option("--ssh-option", help="With --host: of ssh's own, as Port=2222; repeatable.")
]
RemotePython = Annotated[str, typer.Option("--python", help="With --host: the Python there.")]
Keep = Annotated[bool, typer.Option("--keep", help="With --host: leave the folder there.")]
Offline = Annotated[bool, typer.Option("--offline", help="With --host: use the backends that are there, install none.")]
SplitOption = Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Which split to measure on.")]
Method = Literal["minmax", "percentile", "entropy", "mse"]
PrecisionName = Literal["auto", "fp32", "fp16", "int8"]
TrainingPrecision = Annotated[
    Literal["auto", "32", "bf16"], typer.Option("--precision", help="auto is bf16 on a GPU that has it, else 32.")
]
