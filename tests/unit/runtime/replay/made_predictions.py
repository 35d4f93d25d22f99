"""Predictions of a replay without a session."""

from __future__ import annotations

from typing import Any

from edge_msa_runtime.prediction import Prediction
from edge_msa_runtime.replay.status import MadePrediction


def make(
    at: float, score: float | None, *, made_at: float | None = None, is_final: bool = False, **fields: Any
) -> MadePrediction:
    """Return a prediction at a time."""
    values: dict[str, Any] = {
        "score": score,
        "label": "positive",
        "probabilities": {},
        "outputs": (score or 0.0,),
        "subset": "lav",
        "backend": "onnxruntime",
        "device": "CPU",
        "precision": "fp32",
        "latency_ms": 0.5,
    }
    return MadePrediction(at, at, at if made_at is None else made_at, is_final, Prediction(**{**values, **fields}))
