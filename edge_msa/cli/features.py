"""`edge-msa features`: compute features from audio and video files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_msa.cli.help import Group, SlowCommand
from edge_msa.cli.options import ADVANCED, HARDWARE, TASK_HELP, ClipLabels, FaceModel, Json, Seed
from edge_msa.cli.paths import FILE, INPUT, Output

features_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Compute features from audio and video files.\n\n"
    "Example:\n    edge-msa features extract videos --labels labels.csv --output clips.npz",
)


@features_app.command("extract", cls=SlowCommand)
def features_extract(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with audio and video files."), INPUT],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="CSV file with a line per segment: file, and optionally start, end, label, text, video, speaker and "
            "split.",
        ),
        INPUT,
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            metavar="FILE",
            help="File to write: an .npz archive. An interrupted command resumes.",
        ),
        Output(FILE, replaceable="*.npz"),
    ],
    transcripts: Annotated[
        str | None,
        typer.Option(
            "--transcripts",
            metavar="FILE",
            help="File with transcripts: CSV with file, text, and optionally start and end.",
            show_default="the words in --labels",
        ),
        INPUT,
    ] = None,
    asr: Annotated[
        str | None,
        typer.Option(
            "--asr",
            metavar="NAME",
            help="Recognizer: whisper:FOLDER, or whisper:NAME of a model in the local cache. It recognizes words "
            "of segments that have none.",
            show_default="none",
        ),
    ] = None,
    language: Annotated[
        str, typer.Option("--language", metavar="CODE", help="Language of the speech.", rich_help_panel=ADVANCED)
    ] = "en",
    modalities: Annotated[
        str,
        typer.Option("--modalities", metavar="NAMES", help="Modalities to compute: audio, vision, or audio,vision."),
    ] = "audio,vision",
    face_model: FaceModel = None,
    face: Annotated[
        str,
        typer.Option(
            "--face",
            metavar="NAME",
            help="Face of a picture: largest, or X,Y for the one nearest to this point. X and Y are shares of the "
            "width and the height, from the upper left corner.",
        ),
    ] = "largest",
    picture_rate: Annotated[
        float,
        typer.Option(
            "--picture-rate", metavar="HZ", help="Number of pictures per second to use.", rich_help_panel=ADVANCED
        ),
    ] = 15.0,
    max_seconds: Annotated[
        float,
        typer.Option(
            "--max-seconds",
            metavar="SECONDS",
            help="Number of seconds after which a segment is truncated.",
            rich_help_panel=ADVANCED,
        ),
    ] = 60.0,
    draw_splits: Annotated[
        bool,
        typer.Option(
            "--draw-splits",
            help="If valid or test is missing, draw it at random: 15 % of the training videos for each.",
        ),
    ] = False,
    seed: Seed = 0,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help=TASK_HELP,
            show_default="mosi, if the scores fit only this task",
            rich_help_panel=ADVANCED,
        ),
    ] = None,
    clip_labels: ClipLabels = None,
    workers: Annotated[
        int,
        typer.Option("--workers", metavar="N", min=1, max=1024, help="Number of processes.", rich_help_panel=HARDWARE),
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Address of a dask scheduler whose workers compute, such as tcp://10.0.0.1:8786.",
            show_default="this machine",
            rich_help_panel=HARDWARE,
        ),
    ] = None,
    json: Json = False,
) -> None:
    r"""Compute the features and words of audio and video files.

    Files that cannot be decoded do not stop the command. They are listed at the end, and the exit code is 1. After an
    interruption, run the same command again: it keeps the results, and computes only what is missing or has changed.

    Example:
        edge-msa features extract videos --labels labels.csv --draw-splits \
          --output clips.npz
    """
    from edge_msa.console import print_json
    from edge_msa.errors import DataError
    from edge_msa.workflows.features import extract_features
    from edge_msa_runtime.vision.front_end import parse_face
    from edge_msa_runtime.wording import format_part

    extraction = extract_features(
        folder,
        labels=labels,
        output=output,
        transcripts=transcripts,
        asr=asr,
        language=language,
        modalities=[name.strip() for name in modalities.split(",") if name.strip()],
        face_model=face_model,
        face=parse_face(face),
        picture_rate=picture_rate,
        max_seconds=max_seconds,
        draw_splits=draw_splits,
        seed=seed,
        task=task,
        clip_labels=clip_labels,
        workers=workers,
        scheduler=scheduler,
    )
    if json:
        print_json(extraction.to_json())
    if extraction.failed:
        raise DataError(
            f"{format_part(len(extraction.failed), extraction.total, 'segment', 'is', 'are')} not in {output}. Replace "
            "their files and run the same command again: it computes only what is missing. Or remove their lines from "
            f"{labels}, and pass --overwrite."
        )
