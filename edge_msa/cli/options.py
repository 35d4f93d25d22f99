"""Options that several commands share. An option of one name has one meaning: a test compares all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_msa.cli.completion import complete_target
from edge_msa.cli.paths import CONTAINER, FILE, FOLDER, INPUT, Output
from edge_msa_runtime.inputs.conversations import MAX_CONTEXT

HARDWARE, REMOTE, ADVANCED, GENERAL = "Hardware", "Remote device", "Advanced", "General"
"""Sections of a help page, besides "Options"."""

DATA_HELP = "Feature file, or `synthetic` for the built-in synthetic data."
RUN_DATA = "the data that the run was trained on"
TARGET_HELP = "Device, device family, or TOML file with a device profile. `edge-msa devices` lists the names."
SEEDS_HELP = "Number of trainings of each model, with seeds 0 to N-1."
SPLIT_HELP = "Split to use: train, valid or test."
TASK_HELP = (
    "What the labels mean: mosi, sims, emotions, regression or classes. classes:NAME,NAME states the classes in order; "
    "classes:LABEL=NAME,LABEL=NAME also states the label of each in the data."
)
TEACHER_HELP = "Run of a teacher. Repeat the option for several teachers."
OUTPUT_DIR_HELP = "Folder to write."

Data = Annotated[str, typer.Option("--data", metavar="FILE", help=DATA_HELP), INPUT]
RunData = Annotated[str | None, typer.Option("--data", metavar="FILE", help=DATA_HELP, show_default=RUN_DATA), INPUT]
OutputDir = Annotated[
    Path,
    typer.Option("--output-dir", metavar="DIR", help=f"{OUTPUT_DIR_HELP} It appears only when it is complete."),
    Output(FOLDER),
]
ResultsDir = Annotated[
    Path,
    typer.Option("--output-dir", metavar="DIR", help=f"{OUTPUT_DIR_HELP} An interrupted command resumes there."),
    Output(CONTAINER),
]
Archive = Annotated[
    Path, typer.Option("--output", metavar="FILE", help="File to write: an .npz archive."), Output(FILE)
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help=TASK_HELP,
        show_default="the task that the file states",
        rich_help_panel=ADVANCED,
    ),
]
ScoreTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        metavar="NAME",
        help=TASK_HELP,
        show_default="the task that the last file states, or mosi if its scores fit nothing else",
        rich_help_panel=ADVANCED,
    ),
]
ClipLabels = Annotated[
    bool | None,
    typer.Option(
        "--clip-labels/--no-clip-labels",
        help="Clip labels that exceed the task's scale by up to 25 %.",
        show_default="on for mosi and sims",
        rich_help_panel=ADVANCED,
    ),
]
Transcripts = Annotated[
    list[str],
    typer.Option(
        "--transcripts",
        metavar="FILE",
        help="File with transcripts: CSV or features. Repeat the option for several files, the target corpus last.",
    ),
    INPUT,
]
ENCODER_HELP = "BERT-like encoder: a folder or a name on the Hugging Face Hub."
Encoder = Annotated[str, typer.Option("--encoder", metavar="NAME", help=ENCODER_HELP), INPUT]
LAYERS_HELP = "Encoder layers to keep: a number, such as 3 for the first three, or indices from 0, such as 0,4,8."
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        min=0,
        max=MAX_CONTEXT,
        metavar="N",
        help="Number of earlier utterances of the same video that the encoder reads with each text.",
        show_default="the recipe's, 0",
    ),
]
EncoderLayers = Annotated[str | None, typer.Option("--layers", metavar="LAYERS", help=LAYERS_HELP, show_default="all")]
TextModel = Annotated[
    Path | None,
    typer.Option(
        "--text-model",
        metavar="RUN",
        help="Run of `edge-msa text`. Its text encoder turns the transcripts into the language features.",
        show_default="the language features of the file",
        rich_help_panel=ADVANCED,
    ),
    INPUT,
]
Features = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="FILE",
        help="TOML file that states what computed the features: a table per modality with extractor, version, rate_hz, "
        "names, units, parameters and model_sha256.",
        show_default="what the data states",
        rich_help_panel=ADVANCED,
    ),
    INPUT,
]
RECIPE_HELP = "Recipe: a TOML file with settings. `edge-msa config show` prints one."
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="FILE", help=RECIPE_HELP, show_default="the preset for the data"),
    INPUT,
]
Teacher = Annotated[
    Literal["hrlf", "almt"], typer.Option("--model", metavar="NAME", help="Architecture of the teacher: hrlf or almt.")
]
Teachers = Annotated[list[Path], typer.Option("--teacher", metavar="RUN", help=TEACHER_HELP), INPUT]
TeacherData = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="FILE", help=DATA_HELP, show_default="the data that the first teacher was trained on"
    ),
    INPUT,
]
Transfer = Annotated[
    list[str] | None,
    typer.Option(
        "--transfer",
        metavar="FILE",
        help="Feature file with more training samples, labeled or not. Repeat the option for several files.",
        show_default="none",
    ),
    INPUT,
]
EPOCHS_HELP = (
    "Number of epochs of every training stage: it replaces epochs and robust_epochs of [hrlf], epochs of [almt], "
    "epochs and qat_epochs of [student], and the epochs of both stages of [text]."
)
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", min=1, help=EPOCHS_HELP, show_default="the recipe's"),
]
AllowWorse = Annotated[
    bool,
    typer.Option(
        "--allow-worse-than-constant",
        help="Export a model even if it does not beat a constant on validation.",
        rich_help_panel=ADVANCED,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Seed of all random choices.")]
Seeds = Annotated[int, typer.Option("--seeds", metavar="N", min=1, max=100, help=SEEDS_HELP)]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="Device that torch uses: auto, cpu or cuda.", rich_help_panel=HARDWARE
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network with torch.compile. `edge-msa bench training` measures whether it is faster.",
        rich_help_panel=HARDWARE,
    ),
]
TrainingPrecision = Annotated[
    Literal["auto", "32", "bf16"],
    typer.Option(
        "--training-precision",
        metavar="NAME",
        help="Precision of training: 32, bf16, or auto for bf16 on GPUs that support it and 32 elsewhere.",
        rich_help_panel=HARDWARE,
    ),
]
TensorBoard = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Folder for TensorBoard event files.",
        show_default="no event files",
        rich_help_panel=ADVANCED,
    ),
    Output(CONTAINER),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one line of JSON on stdout, and everything else on stderr."),
]
Target = Annotated[str, typer.Option("--target", metavar="NAME", help=TARGET_HELP, autocompletion=complete_target)]
BundleTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help=TARGET_HELP,
        show_default="the target of the bundle",
        autocompletion=complete_target,
    ),
]
Dla = Annotated[
    bool,
    typer.Option(
        "--dla",
        help="Check the graphs for the deep learning accelerator (DLA) of the target as well.",
        rich_help_panel=ADVANCED,
    ),
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
MaxDistance = Annotated[
    float,
    typer.Option(
        "--max-distance",
        metavar="X",
        min=0,
        help="Accuracy gate: largest mean distance from the fp32 predictions, in standard deviations of those.",
    ),
]
Split = Annotated[Literal["train", "valid", "test"], typer.Option("--split", metavar="NAME", help=SPLIT_HELP)]
FaceModel = Annotated[
    Path | None,
    typer.Option(
        "--face-model",
        metavar="FILE",
        help="MediaPipe's face_landmarker.task.",
        show_default="face_landmarker.task in the cache folder",
    ),
    INPUT,
]
Threads = Annotated[int, typer.Option("--threads", metavar="N", min=1, max=256, help="CPU threads of one prediction.")]
Repeats = Annotated[
    int, typer.Option("--repeats", metavar="N", min=1, help="Total timed calls of each graph or modality subset.")
]
HOST_HELP = "Measure on this device over ssh. The bundle is copied there, verified, measured and removed."
Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="USER@DEVICE",
        help=HOST_HELP,
        show_default="measure on this machine",
        rich_help_panel=REMOTE,
    ),
]
SshOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ssh-option",
        metavar="NAME=VALUE",
        help="With --host: option for ssh, for example Port=2222. Repeat it for several options.",
        show_default="none",
        rich_help_panel=REMOTE,
    ),
]
RemotePython = Annotated[
    str,
    typer.Option(
        "--python", metavar="NAME", help="With --host: Python interpreter on the device.", rich_help_panel=REMOTE
    ),
]
Keep = Annotated[
    bool,
    typer.Option("--keep", help="With --host: keep the temporary folder on the device.", rich_help_panel=REMOTE),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="With --host: install nothing, and use the backends that the device already has.",
        rich_help_panel=REMOTE,
    ),
]
BACKEND_HELP = "Backend of the bundle: onnxruntime, openvino, tensorrt or auto."
BundleBackend = Annotated[
    str,
    typer.Option("--backend", metavar="NAME", help=BACKEND_HELP, show_default="auto, the first that is available"),
]
ProfiledBackend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Backend of the bundle: onnxruntime, openvino or auto.",
        show_default="auto, the first of these that is available",
    ),
]
BenchBackend = Annotated[
    str,
    typer.Option("--backend", metavar="NAME", help=BACKEND_HELP, show_default="auto, all that are available"),
]
PRECISION_HELP = "Precision of the bundle: fp32, fp16, int8 or int4."
BundlePrecision = Annotated[
    str | None,
    typer.Option("--precision", metavar="NAME", help=PRECISION_HELP, show_default="the one that export chose"),
]
Record = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="File to write: the results as JSON, for `edge-msa report`.",
        show_default="not written",
    ),
    Output(FILE),
]
Page = Annotated[
    Path,
    typer.Option("--output", metavar="FILE", help="File to write: an HTML page."),
    Output(FILE, replaceable="*.html"),
]
CalibrationMethod = Literal["minmax", "percentile", "entropy", "mse"]
