"""How segments become frames and words, and everything that this depends on."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_msa.errors import BackendUnavailableError
from edge_msa_runtime.features import FeatureSource, features_to_json

MODALITIES = ("audio", "vision")
"""What is computed from files. Language comes from the words."""
_CODE = (
    "edge_msa.data.extraction",
    "edge_msa_runtime.audio",
    "edge_msa_runtime.media",
    "edge_msa_runtime.speech",
    "edge_msa_runtime.vision",
)
_PACKAGES = {
    "": ("numpy", "av"),
    "audio": ("kaldi-native-fbank",),
    "vision": ("ai-edge-litert",),
    "asr": ("faster-whisper", "ctranslate2"),
}
"""Packages that can change a result: always, with a modality, and with a recognizer."""
_KEY_DIGITS = 40


@dataclass(frozen=True)
class Settings:
    """What every segment of a dataset is computed with. Workers on other machines get it too."""

    modalities: tuple[str, ...]
    """`audio`, `vision` or both."""
    face_model: str | None = None
    """Absolute path of the Face Landmarker; None for the one in the cache folder."""
    picture_rate: float = 15.0
    """Pictures per second."""
    face: tuple[float, float] | None = None
    """Point, in shares of width and height, to which the face of a picture is nearest; None for the largest face."""
    recognizer: str | None = None
    """What recognizes the words of segments without words, as `whisper:FOLDER`; None for nothing."""
    language: str = "en"
    """The language that the recognizer hears."""
    max_seconds: float = 60.0
    """Longer segments end there."""
    versions: tuple[tuple[str, str], ...] = ()
    """Versions of the code and packages that can change a result."""


@dataclass(frozen=True)
class Recipe:
    """The settings and what they mean here: everything that a result depends on besides the segment."""

    settings: Settings
    features: Mapping[str, FeatureSource]
    """What computes the frames of each modality."""
    recognizer_version: str = ""
    """Versions of the recognizer and its model; nothing without a recognizer."""

    def key(self, content: str, start: float, end: float | None, *, recognize: bool) -> str:
        """Return the name under which the result of a segment is kept.

        Args:
            content: SHA-256 of the file.
            start: Start of the segment in seconds.
            end: Its end.
            recognize: Whether its words are recognized.
        """
        settings = self.to_json()
        if not recognize:
            settings = {**settings, "recognizer": None, "language": "", "recognizer_version": ""}
        parts = {"content": content, "start": start, "end": end, "settings": settings}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_KEY_DIGITS]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values. Where the face model is does not matter: the features have its digest."""
        return {
            **asdict(self.settings),
            "face_model": None,
            "features": features_to_json(self.features),
            "recognizer_version": self.recognizer_version,
        }


def find_versions(modalities: tuple[str, ...], recognizer: str | None) -> tuple[tuple[str, str], ...]:
    """Return the versions of the code and of the packages that compute segments with these settings."""
    names = [*_PACKAGES[""], *(name for modality in modalities for name in _PACKAGES[modality])]
    names += _PACKAGES["asr"] if recognizer else ()
    return (("edge-msa", _code_digest()[:12]), *((name, _version(name)) for name in names))


def check_versions(settings: Settings) -> None:
    """Check that this process would compute the same as the one that made the settings.

    Raises:
        BackendUnavailableError: A package has another version here.
    """
    here = dict(find_versions(settings.modalities, settings.recognizer))
    for name, version in settings.versions:
        if here[name] != version:
            raise BackendUnavailableError(
                f"All workers must have {name} {version}, as the machine that runs the command has, got "
                f"{here[name] or 'none'}. Install the same versions of edge-msa and its packages on all machines."
            )


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _code_digest() -> str:
    """Return the SHA-256 of the code that turns files into results."""
    digest = hashlib.sha256()
    for package in _CODE:
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in spec.submodule_search_locations or () if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}".encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
