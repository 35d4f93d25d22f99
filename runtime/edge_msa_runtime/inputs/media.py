"""Recognize audio and video files, which nothing here reads, to say so."""

from __future__ import annotations

from typing import Iterable

_MEDIA = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".m4a", ".aac", ".wav", ".mp3", ".flac", ".ogg", ".opus")
_HINT = "edge-msa reads features, not audio or video. The guide docs/how-to/own-video.md shows how to compute them. "


def media_hint(names: Iterable[str]) -> str:
    """Return what to do with audio and video, with a space at the end; "" if no name is that of such a file."""
    return _HINT if any(name.lower().endswith(_MEDIA) for name in names) else ""
