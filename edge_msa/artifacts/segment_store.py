"""Keep the result of each segment in a hidden folder beside the output, so that an interrupted command resumes.

Each result is a file whose name is the SHA-256 of everything that it depends on (`Recipe.key`), written atomically.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from edge_msa.artifacts.files import write_bytes, write_text
from edge_msa.artifacts.requests import Request
from edge_msa.data.extraction.segment_job import SegmentResult
from edge_msa.data.extraction.settings import digest_file

_REQUEST = "request.json"
_SUFFIX = ".npz"


@dataclass(frozen=True)
class StoredRequest:
    """What is known about an archive that was written."""

    request: Request
    """What it was requested with."""
    archive: str
    """Its SHA-256."""
    state: str
    """SHA-256 of the keys of its results; nothing if segments are missing in it."""

    def is_current(self, request: Request, state: str, archive: Path) -> bool:
        """Return whether the same request with the same files would write the archive that is there."""
        same = not self.request.list_differences(request) and self.state == state
        return same and digest_file(archive) == self.archive


class ResultStore:
    """The results of the segments of one archive, and what the archive was requested with."""

    def __init__(self, output: Path) -> None:
        """Name the folder. It is made with the first result.

        Args:
            output: The archive.
        """
        self.folder = output.with_name(f".{output.name}.segments")

    def load(self, key: str) -> SegmentResult | None:
        """Return a result; None if it is not there, or damaged."""
        try:
            return SegmentResult.from_bytes(self._path(key).read_bytes())
        except Exception:  # noqa: BLE001 - how a damaged file fails depends on the damage
            return None

    def save(self, key: str, content: bytes) -> None:
        """Keep a result.

        Raises:
            EdgeMsaError: It cannot be written.
        """
        write_bytes(self._path(key), content)

    def prune(self, used: Collection[str]) -> None:
        """Remove all other results, and what killed commands left."""
        names = {f"{key}{_SUFFIX}" for key in used} | {_REQUEST}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name not in names:
                    path.unlink()

    def request(self) -> StoredRequest | None:
        """Return what is recorded about the archive; None if nothing is."""
        try:
            stored = json.loads((self.folder / _REQUEST).read_text(encoding="utf-8"))
            request = Request.from_json(stored)
            return None if request is None else StoredRequest(request, str(stored["archive"]), str(stored["state"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_request(self, stored: StoredRequest) -> None:
        """Record what the archive was requested with."""
        fields = {**stored.request.to_json(), "archive": stored.archive, "state": stored.state}
        write_text(self.folder / _REQUEST, json.dumps(fields, indent=1) + "\n")

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"
