"""What language teachers say of texts, kept on disk: every student of the same teachers is told the same."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.files import atomic_file
from edge_msa.artifacts.runs import Run
from edge_msa.console import print_progress
from edge_msa.data.dataset import FloatArray
from edge_msa.training.text.load import text_model_of
from edge_msa.training.text.teacher_outputs import Taught, ask


def asked(teacher: Run, texts: Sequence[str], folder: Path) -> Taught:
    """What that teacher knows of those texts; asked once, kept in `folder` under the digest of both."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode(errors="surrogatepass") + b"\0")
    cache_key = compute_cache_key("teacher outputs", {}, 0, {"teacher": teacher.digest, "texts": digest.hexdigest()})
    path = folder / f"{cache_key[:32]}.npz"
    if (known := _read(path)) is not None:
        return known
    print_progress(f"asking {teacher.path} about {len(texts)} texts")
    taught = ask(*text_model_of(teacher), texts)
    arrays: dict[str, FloatArray | np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
        "predictions": taught.predictions,
        "pieces": np.array(taught.pieces),
        "means": taught.means,
        "counts": taught.counts,
    }
    with atomic_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return taught


def _read(path: Path) -> Taught | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pieces = tuple(str(piece) for piece in arrays["pieces"])
            return Taught(arrays["predictions"], pieces, arrays["means"], arrays["counts"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # what cannot be read is asked again
