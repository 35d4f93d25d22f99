"""Recognize audio and video files where features are expected, to name the commands that read them."""

from __future__ import annotations

from typing import Iterable

_MEDIA = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".m4a", ".aac", ".wav", ".mp3", ".flac", ".ogg", ".opus")
_HINT = (
    "This command reads features, not audio or video. `edge-msa features extract FOLDER` computes them, and "
    "`edge-msa-run watch FILE` predicts directly. "
)


def media_hint(names: Iterable[str]) -> str:
    """Return what to do with audio and video, with a space at the end; "" if no name is that of such a file."""
    return _HINT if any(name.lower().endswith(_MEDIA) for name in names) else ""


def is_media(name: str) -> bool:
    """Return whether a name is that of an audio or video file."""
    return name.lower().endswith(_MEDIA)
