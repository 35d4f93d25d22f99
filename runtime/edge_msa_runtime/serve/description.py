"""What the page and other programs need to know about the bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_msa_runtime.serve.service import Service


def describe_service(service: Service) -> dict[str, Any]:
    """Return the answer of `GET /bundle` as plain JSON values."""
    session = service.session
    manifest, task = session.manifest, session.manifest.task
    return {
        "name": manifest.name,
        "target": manifest.target,
        "backend": session.backend,
        "precision": session.precision,
        "coverage": session.coverage,
        "has_intervals": session.has_intervals,
        "has_prediction_sets": manifest.class_calibration is not None and manifest.class_calibration.sets is not None,
        "task": {"kind": task.kind, "labels": list(task.labels), "low": task.low, "high": task.high},
        "modalities": {
            name: {"dim": spec.dim, "window": spec.window, "features": spec.features.describe()}
            for name, spec in manifest.modalities.items()
        },
        "accepts_text": manifest.language is not None,
        "needs": {
            "microphone": service.needs_sound,
            "camera": service.needs_pictures,
            "words": list(service.word_sources),
        },
        "picture_rate": service.picture_rate,
    }
