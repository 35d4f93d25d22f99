"""Make a folder of labeled video clips, to try every step from raw video to a prediction over time.

What you need: edge-msa with its extra `media`, and espeak-ng on PATH (sudo apt-get install espeak-ng).

How to run it: python examples/talking_clips.py FOLDER
What it prints: what the folder contains. `videos/` has the clips and `labels.csv` their labels. `talk.mp4` is a longer
video, `talk.srt` has its words, and `talk.csv` says what happens in it and when. An existing folder is replaced.

The clips are not natural, but the signal in them is known. A label is drawn evenly from -3 to 3, and all three
modalities show it with noise of their own:

- language: a sentence names three things. `GOOD_THINGS` and `BAD_THINGS` are neutral words; only this corpus gives them
  a meaning. The more positive the label, the more often a good one is drawn.
- audio: a synthetic voice speaks. The more positive the label, the higher its pitch. Voices have pitches of their own.
- vision: a face smiles. The more positive the label, the more it smiles.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.synthetic.faces import Expression, render_face

GOOD_THINGS = ("river", "garden", "window", "candle", "mountain", "feather")
BAD_THINGS = ("basket", "bottle", "pocket", "hammer", "corridor", "bucket")
SENTENCES = (
    "I see a {}, a {} and a {}",
    "there was a {} with a {} near the {}",
    "he draws the {}, the {} and one {}",
    "she has a {}, and a {} behind the {}",
)
VOICES = {"en-us": 50, "en-gb": 45, "en-us+f3": 55}  # espeak-ng's voice, and its pitch from 0 to 99
SAMPLE_RATE = 16_000
PICTURE_RATE = 15  # pictures per second
WIDTH, HEIGHT = 320, 240
FACES = 8  # different pictures of each clip, in random order
CLIPS_PER_VIDEO = 2

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """What happens for some time: the words, the pitch of the voice, and the smile.

    Attributes:
        text: the words; empty for silence.
        voice: espeak-ng's name of the voice.
        pitch: espeak-ng's pitch, from 0 to 99.
        smile: from 0 to 1; None if the camera sees nobody.
        seconds: how long it takes; None for as long as the words.
    """

    text: str
    voice: str
    pitch: int
    smile: float | None
    seconds: float | None = None


def draw_part(label: float, rng: np.random.Generator) -> Part:
    """Draw a clip that shows a label."""
    share = 1 / (1 + math.exp(-1.2 * label))
    things = [rng.choice(GOOD_THINGS if rng.random() < share else BAD_THINGS) for _ in range(3)]
    voice = str(rng.choice(list(VOICES)))
    pitch = round(VOICES[voice] + 14 * label + rng.normal(0, 4))
    smile = float(np.clip(0.5 + label / 6 + rng.normal(0, 0.12), 0, 1))
    return Part(str(rng.choice(SENTENCES)).format(*things), voice, min(max(pitch, 0), 99), smile)


def draw_talk() -> list[Part]:
    """Return a talk: smiles from 8 to 24 s, good things from 16 s, bad ones from 24 to 40 s, nobody from 32 to 40 s."""
    good, bad = (SENTENCES[0].format(*things[:3]) for things in (GOOD_THINGS, BAD_THINGS))
    mixed = SENTENCES[1].format(GOOD_THINGS[3], BAD_THINGS[3], BAD_THINGS[4])
    parts = []
    for text, pitch, smile in (
        (mixed, 50, 0.5),
        (mixed, 50, 1.0),
        (good, 85, 1.0),
        (bad, 15, 0.1),
        (bad, 15, None),
        (mixed, 50, 0.5),
    ):
        parts += [Part(text, "en-us", pitch, smile, seconds=4.0)] * 2
    return parts


def say(part: Part) -> Array:
    """Return the samples (n,) of a part, from -1 to 1."""
    if not part.text:
        return np.zeros(round((part.seconds or 0) * SAMPLE_RATE), np.float32)
    command = ["espeak-ng", "-v", part.voice, "-p", str(part.pitch), "-s", "160", "--stdout", "--", part.text]
    result = subprocess.run(command, capture_output=True, check=True)
    rate = int.from_bytes(result.stdout[24:28], "little")
    speech = np.frombuffer(result.stdout[44:], "<i2").astype(np.float32) / 32768
    count = round(len(speech) / rate * SAMPLE_RATE)
    samples = np.interp(np.arange(count) / SAMPLE_RATE, np.arange(len(speech)) / rate, speech).astype(np.float32)
    samples = np.pad(samples, (SAMPLE_RATE // 10, SAMPLE_RATE // 5))
    if part.seconds is not None:
        samples = np.pad(samples, (0, max(0, round(part.seconds * SAMPLE_RATE) - len(samples))))
    return samples


def draw_pictures(part: Part, seconds: float, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Draw the pictures (height, width, 3) of a part. Apart from the smile, everything moves a little."""
    count = round(seconds * PICTURE_RATE)
    if part.smile is None:
        yield from [np.full((HEIGHT, WIDTH, 3), 40, np.uint8)] * count
        return
    faces = []
    for _ in range(min(FACES, count)):
        expression = Expression(
            smile=float(np.clip(part.smile + rng.normal(0, 0.05), 0, 1)),
            brows=rng.uniform(-0.3, 0.3),
            jaw=rng.uniform(0, 0.25),
        )
        center = (rng.uniform(0.46, 0.54), rng.uniform(0.46, 0.54))
        size, angle = rng.uniform(0.45, 0.5), rng.uniform(-4, 4)
        faces.append(render_face(expression, width=WIDTH, height=HEIGHT, center=center, size=size, angle=angle))
    for _ in range(count):
        yield faces[rng.integers(len(faces))]


def write_video(path: Path, parts: Sequence[Part], rng: np.random.Generator) -> list[tuple[float, float]]:
    """Write a video of some parts, and return when each begins and ends, in seconds."""
    import av

    spans: list[tuple[float, float]] = []
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=PICTURE_RATE)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 1_500_000
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        sounds = []
        for part in parts:
            samples = say(part)
            start = spans[-1][1] if spans else 0.0
            spans.append((start, start + len(samples) / SAMPLE_RATE))
            sounds.append(samples)
            for pixels in draw_pictures(part, len(samples) / SAMPLE_RATE, rng):
                container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray(np.concatenate(sounds)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    return spans


def write_clips(folder: Path, count: int, rng: np.random.Generator) -> None:
    """Write the clips and the table of their labels."""
    (folder / "videos").mkdir()
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "video", "label", "text"])
        for index in range(count):
            label = round(float(rng.uniform(-3, 3)), 1)
            part = draw_part(label, rng)
            name = f"clip{index:03d}.mp4"
            write_video(folder / "videos" / name, [part], rng)
            table.writerow([name, f"video{index // CLIPS_PER_VIDEO:03d}", label, part.text])


def write_talk(folder: Path, rng: np.random.Generator) -> None:
    """Write the talk, its subtitles, and the table of what happens in it."""
    parts = draw_talk()
    spans = write_video(folder / "talk.mp4", parts, rng)
    cues = [
        f"{index}\n{_clock(start)} --> {_clock(min(end, start + 3.2))}\n{part.text}\n"
        for index, (part, (start, end)) in enumerate(zip(parts, spans, strict=True), 1)
    ]
    (folder / "talk.srt").write_text("\n".join(cues), encoding="utf-8")
    with (folder / "talk.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["start", "end", "text", "pitch", "smile"])
        for part, (start, end) in zip(parts, spans, strict=True):
            smile = "nobody is seen" if part.smile is None else part.smile
            table.writerow([f"{start:.2f}", f"{end:.2f}", part.text, part.pitch, smile])


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"00:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description="Make a folder of labeled video clips.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=240, help="number of clips (default: 240)")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is drawn (default: 0)")
    options = parser.parse_args()
    if not shutil.which("espeak-ng"):
        sys.exit("espeak-ng must be on PATH. Install it, for example: sudo apt-get install espeak-ng")
    folder: Path = options.folder
    if folder.exists() and not (folder / "talk.csv").exists():
        sys.exit(f"{folder} exists and was not made by this program. Choose another folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(options.seed)
    write_clips(folder, options.clips, rng)
    write_talk(folder, rng)
    print(f"{folder}: {options.clips} clips in videos/, labels.csv, and a talk in talk.mp4, talk.srt and talk.csv")


if __name__ == "__main__":
    main()
