"""Talks that are made on the spot, for tests of watch and live: voices of espeak-ng, and a face that smiles.

The label of a training clip is 1.5 for a positive sentence, -1.5 for a negative one, 0 for another one, plus 1.5 for a
smile, and minus 1.5 for the opposite.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_msa_runtime.media.files import open_media
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound
from tests.media_files import write_media

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

RATE = 15.0
SENTENCES = {
    1: (
        *("I love it", "this is wonderful", "what a great day", "I am so happy"),
        *("the food was delicious", "we had a lovely time"),
    ),
    0: (
        *("the train leaves at noon", "it is on the table", "we meet on monday", "the house has a door"),
        *("he reads the paper", "they walk to work"),
    ),
    -1: (
        *("I hate it", "this is terrible", "what an awful day", "I am so angry"),
        *("the food was disgusting", "we had a horrible time"),
    ),
}
VOICES = ("en-us", "en-gb", "en-us+f3")
SMILES = (0.0, 0.5, 1.0)
RECIPE = {"text": {"batch_size": 8}, "hrlf": {"batch_size": 8}, "student": {"batch_size": 8}}
_FACES = 24
"""Different pictures of each smile."""


@dataclass(frozen=True)
class Part:
    """A part of a talk: what is said in how many seconds, and the smile, from 0 to 1."""

    text: str
    seconds: float
    smile: float


def say(text: str, folder: Path, voice: str = VOICES[0]) -> Array:
    """Return the samples (n,) of a sentence at 16 kHz."""
    path = folder / "say.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-s", "160", "-w", str(path), text], check=True)  # noqa: S607
    with open_media(path) as media:
        return np.concatenate([item.samples for item in media if isinstance(item, Sound)])


def draw_face(smile: float, rng: np.random.Generator) -> Array:
    """Return a picture (240, 320, 3) of a face that smiles; the rest of it is random."""
    from edge_msa.data.synthetic.faces import Expression, render_face

    expression = Expression(smile=smile, brows=rng.uniform(-0.3, 0.3), jaw=rng.uniform(0, 0.2))
    x, y = rng.uniform(0.46, 0.54, 2)
    return render_face(expression, width=320, height=240, center=(x, y), size=rng.uniform(0.42, 0.5))


def write_talk(path: Path, parts: Sequence[Part], *, without: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> Path:
    """Write a video of the parts, without pictures in a span of seconds."""
    rng = np.random.default_rng(seed)
    faces = {smile: [draw_face(smile, rng) for _ in range(6)] for smile in {part.smile for part in parts}}
    sounds, pictures, times, start = [], [], [], 0.0
    for part in parts:
        samples = say(part.text, path.parent)
        sounds.append(np.pad(samples, (0, round(part.seconds * SAMPLE_RATE) - len(samples))))
        for index in range(round(part.seconds * RATE)):
            time = start + index / RATE
            if not without[0] <= time < without[1]:
                pictures.append(faces[part.smile][rng.integers(6)])
                times.append(time)
        start += part.seconds
    return write_media(path, sound=np.concatenate(sounds), codec="pcm_s16le", pictures=pictures, picture_times=times)


def write_clips(path: Path, face_model: Path, *, clips: int = 160, seed: int = 0) -> Path:
    """Write an archive of labeled clips with the features of the front ends, two clips per video."""
    import edge_msa as em
    from edge_msa_runtime.audio.front_end import AudioFrontEnd
    from edge_msa_runtime.features import features_to_json
    from edge_msa_runtime.vision.front_end import FaceFrontEnd

    rng = np.random.default_rng(seed)
    audio, vision = AudioFrontEnd(), FaceFrontEnd(face_model, rate=RATE)
    faces = {
        smile: np.concatenate([vision.push(Picture(0.0, draw_face(smile, rng))).frames for _ in range(_FACES)])
        for smile in SMILES
    }
    voices: dict[tuple[str, str], Array] = {}
    utterances = []
    for index in range(clips):
        sentiment, smile = int(rng.integers(-1, 2)), SMILES[rng.integers(len(SMILES))]
        said = SENTENCES[sentiment][rng.integers(6)], VOICES[rng.integers(len(VOICES))]
        if said not in voices:
            voices[said] = audio.push(Sound(0.0, np.pad(say(said[0], path.parent, said[1]), (1600, 8000)))).frames
            audio.finish()
        utterance = em.Utterance(
            f"clip{index}",
            1.5 * sentiment + 3 * (smile - 0.5),
            text=said[0],
            video=f"video{index // 2}",
            audio=voices[said],
            vision=faces[smile][rng.integers(_FACES, size=rng.integers(15, 46))],
        )
        utterances.append(utterance)
    features = features_to_json({"audio": audio.source, "vision": vision.source})
    em.save_data(utterances, output=path, task="mosi", features=features)
    return path


def make_bundle(folder: Path, face_model: Path) -> Path:
    """Train a small student on such clips, in about a minute, and return its bundle."""
    import edge_msa as em

    clips = write_clips(folder / "clips.npz", face_model)
    words = em.train_text(clips, encoder="wordpieces", output_dir=folder / "words", recipe=RECIPE, epochs=30)
    teacher = em.train(clips, output_dir=folder / "teacher", recipe=RECIPE, epochs=15, text_model=words, device="cpu")
    student = em.distill(
        teacher, output_dir=folder / "student", recipe=RECIPE, epochs=60, text_model=words, device="cpu"
    )
    calibrated = em.calibrate(student, output_dir=folder / "calibrated")
    bundle = em.export(calibrated, target="laptop-x86", precision="fp32", output_dir=folder / "bundle")
    return Path(bundle)
