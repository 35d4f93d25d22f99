"""The results of `edge-msa explain` as JSON: every figure that the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_msa.data.dataset import Split
from edge_msa.evaluation.metrics import Interval
from edge_msa.reporting.explain.importance import ModalityCells, SampleExplanation
from edge_msa.reporting.explain.interventions import Intervention
from edge_msa.reporting.explain.noise import NoiseAtPlace, NoiseEffect
from edge_msa.reporting.explain.removal import Predictions, Removal
from edge_msa.reporting.explain.samples import Rows
from edge_msa_runtime.modalities import Subset


def removal_record(removals: Sequence[Removal]) -> dict[str, Any]:
    """Return the effect of removing each modality."""
    return {
        item.modality: {
            "samples": item.samples,
            "mean_change": item.change.value,
            "error": item.error,
            "error_without": item.error_without,
            "difference": (
                None
                if item.error_increase is None
                else [item.error_increase.value, item.error_increase.low, item.error_increase.high]
            ),
        }
        for item in removals
    }


def predictions_record(split: Split, rows: Rows, predictions: Predictions) -> dict[str, Any]:
    """Return the predictions of the samples from each subset."""
    return {split.ids[row]: {subset.value: predictions[subset][row].tolist() for subset in Subset} for row in rows}


def interventions_record(interventions: Sequence[Intervention]) -> list[dict[str, Any]]:
    """Return the interventions in their order."""
    return [
        {
            "modality": item.modality,
            "name": item.name,
            "kind": item.kind,
            "features": item.features,
            "prediction_change": _interval(item.shift),
            "error_change": None if item.error_increase is None else _interval(item.error_increase),
        }
        for item in interventions
    ]


def noise_record(effects: Sequence[NoiseEffect]) -> dict[str, Any]:
    """Return the noise experiment by modality."""
    return {
        item.modality: {
            "samples": item.samples,
            **{place: _place(result) for place, result in item.places.items()},
            "after_difference": _interval(item.after_difference),
            "prediction_difference": _interval(item.prediction_difference),
            "error_change": None if item.error_increase is None else _interval(item.error_increase),
        }
        for item in effects
    }


def sample_record(sample: SampleExplanation) -> dict[str, Any]:
    """Return words, attention, noise and effects of one sample. Frames are counted from 1, segments include both."""
    return {
        "id": sample.name,
        "text": sample.text,
        "output": sample.output,
        "label": list(sample.label),
        "prediction": list(sample.prediction),
        "modalities": {name: _cells(cells) for name, cells in sample.modalities.items()},
    }


def _cells(cells: ModalityCells) -> Mapping[str, Any]:
    return {
        "frames": cells.frames,
        "segments": [[first + 1, last] for first, last in cells.segments],
        "words": list(cells.words),
        "attention": list(cells.attention),
        "effect": list(cells.effect),
        "noise": (
            None
            if cells.noise is None
            else {
                "cell": cells.noise.cell,
                "frame": cells.noise.frame,
                "attention": list(cells.noise.attention),
                "prediction": cells.noise.prediction,
            }
        ),
    }


def _place(result: NoiseAtPlace) -> dict[str, Any]:
    return {
        "before": _interval(result.before),
        "after": _interval(result.after),
        "attention_change": _interval(result.attention_change),
        "prediction_change": _interval(result.prediction_change),
    }


def _interval(item: Interval) -> dict[str, float]:
    return {"value": item.value, "low": item.low, "high": item.high}
