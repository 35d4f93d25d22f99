"""`edge-msa bench live`: what prediction from a microphone and a camera costs on this machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edge_msa.arguments import AnyPath, check_count, path_of
from edge_msa.console import print_notes, report_progress
from edge_msa.errors import UsageError
from edge_msa.result_tables import Row, Table
from edge_msa.workflows.api import OnProgress, api
from edge_msa_runtime.backends import check_backend_name
from edge_msa_runtime.benchmark.live import LiveBenchmark, Window
from edge_msa_runtime.benchmark.live import bench_live as measure
from edge_msa_runtime.benchmark.live_report import format_live
from edge_msa_runtime.loading import load


@dataclass(frozen=True, repr=False)
class LiveMeasurement(Table):
    """What each stage of live prediction costs, and the minutes of a run in real time."""

    result: LiveBenchmark
    """What was measured."""

    def __repr__(self) -> str:
        """Return the length of the run."""
        seconds = self.result.windows[-1].seconds if self.result.windows else 0.0
        return f"<LiveMeasurement of {seconds / 60:.1f} min>"

    def __str__(self) -> str:
        """Return the tables for people."""
        return "\n".join(format_live(self.result))

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per minute of the run."""
        return tuple(_row(window) for window in self.result.windows)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with the stages."""
        return self.result.to_json()


def _row(window: Window) -> Row:
    return {
        "seconds": window.seconds,
        "predictions": window.predictions,
        "model_p50_ms": window.model_ms[0],
        "model_p99_ms": window.model_ms[1],
        "late_ms": window.late_ms,
        "word_p50_seconds": window.word_seconds[0],
        "word_max_seconds": window.word_seconds[1],
        "dropped": window.dropped,
        "cores": window.cores,
        "memory_bytes": window.memory_bytes,
    }


@api
def bench_live(
    bundle: AnyPath,
    *,
    media: AnyPath,
    minutes: float = 1.0,
    asr: str | None = None,
    face_model: AnyPath | None = None,
    backend: str = "auto",
    threads: int = 1,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> LiveMeasurement:
    """Measure what live prediction costs on this machine: each stage on one core, then all of them in real time.

    A video takes the place of a camera and a microphone, and is repeated as often as needed. On a device without the
    toolkit, use `edge-msa-run bench BUNDLE --live VIDEO`.

    Args:
        bundle: Bundle whose audio and vision are those of the front ends.
        media: Video with a face and speech.
        minutes: Length of the run in real time.
        asr: Speech recognizer, such as `whisper:FOLDER` (default: no words).
        face_model: Face Landmarker model (default: the one in the folder of `EDGE_MSA_CACHE`).
        backend: Backend of the bundle (default: the first that is available).
        threads: CPU threads of one prediction, and of the recognizer.
        verbose: Whether to print progress.
        on_progress: Called after each minute.

    Returns:
        The stages and the minutes.

    Raises:
        UsageError: An argument is invalid, or the bundle was trained on other features.
        BundleError: The path is no bundle.
        DataError: The video cannot be read.
        BackendUnavailableError: A package or a backend is not installed.

    Examples:
        >>> print(em.bench_live("bundle-talk", media="talk.mp4", minutes=10, asr="whisper:tiny.en"))
    """
    folder, video = path_of(bundle, "bundle", "the path of a bundle"), path_of(media, "media", "the path of a video")
    if backend != "auto":
        check_backend_name(backend)
    check_count(threads, "threads")
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes < math.inf:
        raise UsageError(f"minutes must be a positive number, got {minutes!r:.60}.")
    model = None if face_model is None else path_of(face_model, "face_model", "the path of a model")
    done = 0

    def show(window: Window) -> None:
        nonlocal done
        done += 1
        total = max(done, math.ceil(minutes))
        report_progress("minute", done, total, f"minute {done} of {total}")

    with load(folder, backend=backend, threads=threads) as session:
        result = measure(session, video, asr=asr, face_model=model, minutes=float(minutes), on_window=show)
    print_notes(result.notes)
    return LiveMeasurement(result)
