"""What a bundle needs from sound and pictures, and the front ends that compute it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_msa_runtime.bundle.manifest import Manifest, ModalitySpec
    from edge_msa_runtime.front_ends import FrontEnd


PICTURE_RATE = 15.0
"""Pictures per second if a bundle does not state them."""


@dataclasses.dataclass(frozen=True)
class FrontEnds:
    """The front ends of a bundle.

    Attributes:
        audio: None if sound is not used.
        vision: None if pictures are not used.
        notes: what is not known about the bundle's features, one line each.
    """

    audio: FrontEnd | None
    vision: FrontEnd | None
    notes: tuple[str, ...]


def takes_words(manifest: Manifest) -> bool:
    """Return whether a bundle predicts from words."""
    return manifest.language is not None


def picture_rate(manifest: Manifest) -> float:
    """Return the pictures per second that a bundle was trained on, or the default."""
    spec = manifest.modalities.get("vision")
    return (spec.features.rate_hz if spec is not None else None) or PICTURE_RATE


def check_media_bundle(manifest: Manifest) -> None:
    """Check that a bundle predicts from anything that sound, pictures and words become.

    Raises:
        UsageError: it has neither audio nor vision nor a text encoder.
    """
    if not ({"audio", "vision"} & set(manifest.modalities) or takes_words(manifest)):
        raise UsageError(
            f"The bundle {manifest.name} takes language frames only, and has no text encoder for words. Export one "
            "with audio, vision, or a text model."
        )


def open_front_ends(
    manifest: Manifest,
    *,
    sound: bool = True,
    pictures: bool = True,
    face_model: Path | None = None,
    face: str | tuple[float, float] = "largest",
) -> FrontEnds:
    """Open the front ends that compute the features of a bundle. A modality that it does not have is not computed.

    Args:
        manifest: of the bundle.
        sound: whether there is sound.
        pictures: whether there are pictures.
        face_model: file of the Face Landmarker; None for the one in the cache folder.
        face: which face of a picture: the `largest` one, or the one nearest to a point (x, y) from 0 to 1.

    Raises:
        UsageError: the bundle was trained on other features, or the face model cannot be used.
        PackageImportError: a package that a front end needs is not installed.
    """
    notes: list[str] = []
    audio = vision = None
    if sound and "audio" in manifest.modalities:
        from edge_msa_runtime.audio.front_end import AudioFrontEnd

        audio = AudioFrontEnd()
        notes += check_features(manifest, audio)
    if pictures and "vision" in manifest.modalities:
        from edge_msa_runtime.vision.front_end import FaceFrontEnd
        from edge_msa_runtime.vision.task_file import default_model_path

        path = default_model_path() if face_model is None else face_model
        vision = FaceFrontEnd(path, rate=picture_rate(manifest), face=face)
        notes += check_features(manifest, vision)
    return FrontEnds(audio, vision, tuple(notes))


def check_features(manifest: Manifest, front_end: FrontEnd) -> list[str]:
    """Return a note if the bundle does not state what computed the features of a modality.

    Raises:
        UsageError: it was trained on other features than the front end computes.
    """
    name = front_end.modality
    spec: ModalitySpec = manifest.modalities[name]
    stated, computed = spec.features, front_end.source
    differences = stated.differences(computed)
    if computed.names and len(computed.names) != spec.dim:
        differences = differences or [f"{len(computed.names)} features instead of {spec.dim}"]
    if differences:
        raise UsageError(
            f"The bundle {manifest.name} was trained on {name} features of {stated.title}, but this command computes "
            f"{computed.title}: {', '.join(differences)}. Train with features of `edge-msa features extract`."
        )
    if not stated.extractor:
        return [f"the bundle does not state what computed its {name} features; {computed.title} is assumed"]
    return []
