"""Folders that tests read: the repository and, where it exists, real data kept outside of it."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
"""Real feature files and golden outputs; tests that need them skip where the folder is absent."""
