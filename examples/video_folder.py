"""From a folder of video clips and a table of labels to an archive that `edge-msa train` reads.

What you need: edge-msa and ffmpeg, with ffprobe, on PATH. The table is a CSV with the columns `file` and `label` and,
if you have them, `text` (the words), `video` (recording or speaker; default: each clip is a video of its own) and
`split` (train, valid or test; default: at random, 70, 15 and 15 % of the videos).

How to run it: python examples/video_folder.py FOLDER LABELS.csv --output clips.npz
What it prints: one line per clip, and what is in the archive. An existing archive is replaced.

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
    """Return the frames of a clip, {"audio": (T, 40), "vision": (T, 32)}, without a modality that it lacks."""
    streams = run("ffprobe", "-show_entries", "stream=codec_type", "-of", "csv=p=0", str(path)).decode().split()
    frames = {}
    if "audio" in streams:
        samples = run("ffmpeg", "-i", str(path), "-vn", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-")
        frames["audio"] = audio_frames(np.frombuffer(samples, "<f4"))
    if "video" in streams:
        picture = f"fps={VISION_RATE},scale={SIDE}:{SIDE},format=gray"
        pixels = run("ffmpeg", "-i", str(path), "-an", "-vf", picture, "-f", "rawvideo", "-")
        frames["vision"] = vision_frames(np.frombuffer(pixels, np.uint8).reshape(-1, SIDE, SIDE) / 255)
    return {name: values for name, values in frames.items() if len(values)}


def run(program: str, *arguments: str) -> bytes:
    """Return what a program of ffmpeg writes to stdout."""
    if not shutil.which(program):
        raise SystemExit(f"{program} must be on the PATH. Install ffmpeg, for example: sudo apt-get install ffmpeg")
    result = subprocess.run(
        [program, "-v", "error", *arguments], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    if result.returncode:
        reason = (result.stderr.decode(errors="replace").strip().splitlines() or ["unknown error"])[-1]
        raise SystemExit(f"{program} cannot decode the clip: {reason}")
    return result.stdout


def read_labels(table: Path, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the table. Each error names the line."""
    if not table.is_file():
        raise SystemExit(f"The table of labels must be a CSV file, got {table}.")
    with table.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.DictReader(file)
        if missing := {"file", "label"} - set(lines.fieldnames or []):
            raise SystemExit(
                f"{table} must have the columns file and label, found {lines.fieldnames}: no {min(missing)}."
            )
        rows: list[dict[str, Any]] = list(lines)
    splits = {row.get("split") for row in rows}
    if splits != {None} and (wrong := splits - {"train", "valid", "test"}):
        raise SystemExit(f"{table}: split must be train, valid or test in every line, got {wrong}.")
    for number, row in enumerate(rows, 2):
        try:
            row["label"] = float(row["label"])
        except (TypeError, ValueError):
            raise SystemExit(f"{table}, line {number}: label must be a number, got {row['label']!r}.") from None
        if not (folder / row["file"]).is_file():
            raise SystemExit(f"{table}, line {number}: {folder / row['file']} does not exist.")
    return rows


def main(folder: Path, labels: Path, *, output: Path, task: str = "mosi") -> None:
    """Write the archive."""
    import edge_msa as em  # here, because a device imports this file without edge-msa
    from edge_msa_runtime.errors import EdgeMsaError

    if output.suffix != ".npz":
        raise SystemExit(f"The name of the archive must end in .npz, got {output}.")
    by_split: dict[Any, list[em.Utterance]] = {}  # split, or "random"
    rows = read_labels(labels, folder)
    for number, row in enumerate(rows, 1):
        frames = extract(folder / row["file"])
        print(
            f"{number} of {len(rows)}: {row['file']}, " + ", ".join(f"{k} {len(v)} frames" for k, v in frames.items())
        )
        video = row.get("video") or Path(row["file"]).stem
        item = em.Utterance(row["file"], row["label"], text=row.get("text") or None, video=video, **frames)
        by_split.setdefault(row.get("split") or "random", []).append(item)
    try:
        em.save_data(by_split.get("random") or by_split, output=output, task=task, features=FEATURES, overwrite=True)
    except EdgeMsaError as error:
        raise SystemExit(str(error)) from None
    print(em.inspect_data(output))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="Folder with the clips.")
    parser.add_argument("labels", type=Path, help="CSV file with a line per clip.")
    parser.add_argument("--output", type=Path, default=Path("clips.npz"), help="Archive to write.")
    parser.add_argument("--task", default="mosi", help="mosi: labels from -3 to 3; regression: any scale.")
    main(**vars(parser.parse_args()))
