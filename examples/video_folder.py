"""From a folder of video clips and a table of labels to an archive that `edge-msa train` reads.

What you need: edge-msa and ffmpeg, with ffprobe, on PATH. The table is a CSV with the columns `file` and `label` and,
if you have them, `text` (the words), `video` (recording or speaker; default: each clip is a video of its own) and
`split` (train, valid or test; default: at random, 70, 15 and 15 % of the videos).

How to run it: python examples/video_folder.py FOLDER LABELS.csv --output clips.npz
What it prints: one line per clip, and what is in the archive. An existing archive is replaced. Clips without sound and
sound files without a picture work too. All errors in the table are reported before the first clip is decoded.

The features are placeholders. Audio: log-mel energies, 40 numbers 25 times a second. Vision: brightness and motion of
the picture on a grid of 4 x 4, 32 numbers 5 times a second; they know nothing about faces. They show that the steps fit
together. For good models, replace `audio_frames` and `vision_frames`. The device imports this file for `extract`: it
needs NumPy and ffmpeg there, but not edge-msa.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SAMPLE_RATE, AUDIO_RATE, BANDS = 16_000, 25, 40
BLOCK = SAMPLE_RATE // AUDIO_RATE  # samples per audio frame; frames do not overlap
VISION_RATE, SIDE, GRID = 5, 32, 4  # pictures per second, their size in pixels, cells per side
FEATURES = {
    "audio": {"extractor": "video_folder.py log-mel", "version": "1", "rate_hz": AUDIO_RATE},
    "vision": {"extractor": "video_folder.py brightness and motion", "version": "1", "rate_hz": VISION_RATE},
}
SPLITS = ("train", "valid", "test")


class ClipError(Exception):
    """A clip, the table or an option cannot be used. The message is one line."""


def mel_filters() -> np.ndarray:
    """Return the weight of each frequency in each band, (BANDS, frequencies)."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.fft.rfftfreq(BLOCK, 1 / SAMPLE_RATE)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(rising, falling))


FILTERS, WINDOW = mel_filters(), np.hanning(BLOCK)


def audio_frames(samples: np.ndarray) -> np.ndarray:
    """Return frames (T, 40) of samples (n,) from -1 to 1. An incomplete block at the end is left out."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].reshape(-1, BLOCK)
    power = np.abs(np.fft.rfft(blocks * WINDOW)) ** 2
    return np.asarray(np.log(power @ FILTERS.T + 1e-6), np.float32)


def vision_frames(pictures: np.ndarray) -> np.ndarray:
    """Return frames (T, 32) of gray pictures (T, 32, 32) from 0 to 1: brightness and motion of each cell."""
    motion = np.abs(np.diff(pictures, axis=0, prepend=pictures[:1]))
    cells = [part.reshape(-1, GRID, SIDE // GRID, GRID, SIDE // GRID).mean((2, 4)) for part in (pictures, motion)]
    return np.concatenate([part.reshape(-1, GRID * GRID) for part in cells], axis=1).astype(np.float32)


def extract(path: Path | str) -> dict[str, np.ndarray]:
    """Return the frames of a clip, {"audio": (T, 40), "vision": (T, 32)}, without a modality that it lacks.

    Raises:
        ClipError: The clip cannot be decoded, or ffmpeg is not installed.
    """
    streams = run("ffprobe", path, "-show_entries", "stream=codec_type", "-of", "csv=p=0").decode().split()
    frames = {}
    if "audio" in streams:
        samples = run("ffmpeg", path, "-vn", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-")
        frames["audio"] = audio_frames(np.frombuffer(samples, "<f4"))
    if "video" in streams:
        picture = f"fps={VISION_RATE},scale={SIDE}:{SIDE},format=gray"
        pixels = run("ffmpeg", path, "-an", "-vf", picture, "-f", "rawvideo", "-")
        frames["vision"] = vision_frames(np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE) / 255)
    return {name: values for name, values in frames.items() if len(values)}


def run(program: str, clip: Path | str, *arguments: str) -> bytes:
    """Return what ffmpeg or ffprobe writes to stdout for a clip."""
    check_program(program)
    result = subprocess.run(
        [program, "-v", "error", "-i", str(clip), *arguments],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if result.returncode:
        reason = (result.stderr.decode(errors="replace").strip().splitlines() or ["unknown error"])[-1]
        raise ClipError(f"{program} cannot decode {clip}: {reason.replace(f'{clip}: ', '')}.")
    return result.stdout


def check_program(program: str) -> None:
    """Check that ffmpeg or ffprobe is installed."""
    if not shutil.which(program):
        raise ClipError(f"{program} must be on the PATH. Install ffmpeg, for example: sudo apt-get install ffmpeg")


def read_labels(table: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the table, with their `line`. Each error names the line."""
    if not table.is_file():
        raise ClipError(f"The table of labels must be a CSV file, got {table}.")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file)
            columns = list(lines.fieldnames or [])
            rows: list[dict[str, Any]] = [{**row, "line": lines.line_num} for row in lines]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ClipError(f"{table} must be a CSV file in UTF-8 ({error}).") from None
    for column in ("file", "label"):
        if column not in columns:
            raise ClipError(f"{table} must have the columns file and label, got {', '.join(columns) or 'no columns'}.")
    if not rows:
        raise ClipError(f"{table} must have a line per clip, got none.")
    for row in rows:
        where = f"{table}, line {row['line']}"
        try:
            row["label"] = float(row["label"])
        except (TypeError, ValueError):
            raise ClipError(f"{where}: label must be a number, got {row['label']!r}.") from None
        if not row["file"] or not (folder / row["file"]).is_file():
            raise ClipError(f"{where}: {folder / row['file'] if row['file'] else 'the file'} does not exist.")
        if "split" in columns and row["split"] not in SPLITS:
            raise ClipError(f"{where}: split must be train, valid or test in every line, got {row['split']!r}.")
    return rows


def by_split(rows: list[dict[str, Any]], clips: list[Any], table: Path) -> Any:
    """Return the clips of each split, or all clips if the table does not state their splits."""
    if "split" not in rows[0]:
        videos = len({clip.video for clip in clips})
        if videos < len(SPLITS):
            raise ClipError(
                f"{table}: clips must be from at least 3 videos, one per split, got {videos}. Add a column `split` "
                "with train, valid or test in every line, or correct the column `video`."
            )
        return clips
    splits = {name: [clip for row, clip in zip(rows, clips, strict=True) if row["split"] == name] for name in SPLITS}
    if splits["train"] and not splits["valid"]:
        raise ClipError(f"{table}: no line has the split valid, which training needs. Change some lines from train.")
    return {name: items for name, items in splits.items() if items}


def main(folder: Path, labels: Path, *, output: Path, task: str = "mosi") -> None:
    """Write the archive. Everything that can be checked without decoding is checked first."""
    import edge_msa as em  # here, because a device imports this file without edge-msa

    for program in ("ffprobe", "ffmpeg"):
        check_program(program)
    rows = read_labels(labels, folder)

    def save(frames: list[dict[str, Any]], archive: Path, features: dict[str, Any] | None = None) -> None:
        clips = [
            em.Utterance(
                row["file"],
                row["label"],
                text=row.get("text") or None,
                video=row.get("video") or Path(row["file"]).stem,
                **item,
            )
            for row, item in zip(rows, frames, strict=True)
        ]
        em.save_data(by_split(rows, clips, labels), output=archive, task=task, features=features, overwrite=True)

    if output.suffix != ".npz":
        raise ClipError(f"The name of the archive must end in .npz, got {output}.")
    if not output.parent.is_dir():
        raise ClipError(f"{output.parent} must be an existing folder. Create it, or pass another --output.")
    with tempfile.TemporaryDirectory() as scratch:  # finds errors in labels, splits and the task
        save([{"audio": np.zeros((1, 1))}] * len(rows), Path(scratch) / output.name)
    frames, errors, wrong_lines = [], [], []
    for number, row in enumerate(rows, 1):
        try:
            item = extract(folder / row["file"])
        except ClipError as error:
            errors.append(f"{labels}, line {row['line']}: {error}")
            wrong_lines.append(str(row["line"]))
            print(f"{number} of {len(rows)}: {row['file']} cannot be decoded")
            continue
        parts = ", ".join(f"{name} {len(values)} frames" for name, values in item.items()) or "no frames"
        print(f"{number} of {len(rows)}: {row['file']}, {parts}")
        frames.append(item)
    if errors:
        others = f" Nor can the clips in these lines: {', '.join(wrong_lines[1:])}." if errors[1:] else ""
        raise ClipError(f"{errors[0]}{others} Replace the clip, or remove the line.")
    save(frames, output, {name: FEATURES[name] for name in FEATURES if any(name in item for item in frames)})
    print(em.inspect_data(output))


def command() -> None:
    """Run `main` with the arguments of the command line. An error is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder with the clips.")
    parser.add_argument("labels", type=Path, help="CSV file with a line per clip.")
    parser.add_argument("--output", type=Path, default=Path("clips.npz"), help="Archive to write.")
    parser.add_argument(
        "--task",
        choices=("mosi", "sims", "regression"),
        default="mosi",
        help="mosi: labels from -3 to 3; sims: from -1 to 1; regression: any scale.",
    )
    arguments = parser.parse_args()
    from edge_msa.errors import EdgeMsaError

    try:
        main(**vars(arguments))
    except (ClipError, EdgeMsaError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    command()
